import type { WireTrade } from '../../simulators/exchange/wire.ts'
import { type ComparisonResult, compare, type ObservedCandle, type Replica, type ReplicaGaps } from './compare.ts'
import type { TestEnvironment } from './environment.ts'
import { candleKey, formatScaled, parseScaled } from './fold.ts'
import type { Plan } from './plan.ts'
import type { Viewer } from './viewer.ts'

type Row = {
  product_id: string
  granularity: string
  start: number
  open: string
  high: string
  low: string
  close: string
  volume: string
  is_complete: boolean
  coverage: string
  rev: number
}

function candlesByKey(rows: Iterable<Row>): Map<string, Map<string, ObservedCandle>> {
  const places = new Map<string, Map<string, ObservedCandle>>()
  for (const row of rows) {
    const ofProduct = places.get(row.product_id) ?? new Map<string, ObservedCandle>()
    places.set(row.product_id, ofProduct)
    const exact = (text: string) => formatScaled(parseScaled(text))
    ofProduct.set(candleKey(row.granularity, row.start), {
      open: exact(row.open),
      high: exact(row.high),
      low: exact(row.low),
      close: exact(row.close),
      volume: exact(row.volume),
      complete: row.is_complete,
      coverage: row.coverage,
      rev: row.rev,
    })
  }
  return places
}

type ObjectState = { candles: (Omit<Row, 'start'> & { timestamp: number })[]; gaps: [number, number][] }

/**
 * Reads the candles of all places with starts from `from` on and ends up to `to`, unix seconds.
 * @throws Error when the Worker or Postgres is unavailable
 */
export async function observe(
  stage: TestEnvironment,
  plan: Plan,
  viewers: readonly Viewer[],
  from: number,
  to: number,
): Promise<ComparisonResult> {
  const products = plan.products.map(({ id }) => id)
  const { admin } = stage.database
  const rows = await admin<Row[]>`
    SELECT product_id, granularity::text, extract(epoch FROM timestamp)::int AS start, open::text, high::text,
      low::text, close::text, volume::text, is_complete, coverage, rev
    FROM live_candles WHERE timestamp >= to_timestamp(${from})`
  const gapRows = await admin<{ product_id: string; start: number; end: number }[]>`
    SELECT product_id, extract(epoch FROM started_at)::int AS start, extract(epoch FROM ended_at)::int AS end
    FROM candle_gaps`
  const trades = new Map<string, WireTrade[]>()
  const held: Row[] = []
  const heldGaps = new Map<string, [number, number][]>()
  const taken = new Map<string, Set<number>>()
  for (const product of products) {
    trades.set(product, stage.exchange.sent(product, (from - 3_600) * 1000, stage.exchange.now() + 1))
    const answer = (await (await stage.call(`${product}/held?start=${from}`)).json()) as ObjectState
    for (const { timestamp, ...candle } of answer.candles) held.push({ ...candle, start: timestamp })
    heldGaps.set(product, answer.gaps)
    if (plan.faults.includes('rest-refused'))
      taken.set(product, new Set((await (await stage.call(`${product}/brought`)).json()) as number[]))
  }
  const empty = () => new Map(products.map((product) => [product, new Map<string, ObservedCandle>()]))
  const places: Replica[] = [
    { name: 'object', granularity: null, candles: new Map([...empty(), ...candlesByKey(held)]) },
    { name: 'postgres', granularity: null, candles: new Map([...empty(), ...candlesByKey(rows)]) },
    ...viewers.map((viewer) => ({
      name: viewer.name,
      granularity: viewer.granularity,
      candles: viewer.candles(),
    })),
  ]
  const storedGaps = new Map<string, [number, number][]>()
  for (const { product_id, start, end } of gapRows)
    storedGaps.set(product_id, [...(storedGaps.get(product_id) ?? []), [start, end]])
  const gapPlaces: ReplicaGaps[] = [
    { name: 'object', gaps: heldGaps },
    { name: 'postgres', gaps: storedGaps },
  ]
  return compare({ trades, from, to, places, gapPlaces, taken: taken.size > 0 ? taken : null })
}
