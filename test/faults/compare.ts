import type { WireTrade } from '../../simulators/exchange/wire.ts'
import { type CandleNumbers, foldCandles, GRANULARITY_SECONDS, startOfMinute } from './fold.ts'

/** A candle as one place has it. */
export type ObservedCandle = CandleNumbers & { complete: boolean; coverage: string; rev: number }

/**
 * One of the places that must agree: the objects, Postgres, a viewer. `candles` by product and key; of one `granularity`
 * alone, or of all (null).
 */
export type Replica = {
  name: string
  granularity: string | null
  candles: ReadonlyMap<string, ReadonlyMap<string, ObservedCandle>>
}

/** The missing trades as one source reports them, by product: [from, to) in unix seconds. */
export type ReplicaGaps = { name: string; gaps: ReadonlyMap<string, readonly (readonly [number, number])[]> }

export type ComparisonInput = {
  /** All trades, by product. */
  trades: ReadonlyMap<string, readonly WireTrade[]>
  /** Candles with starts from `from` on and ends up to `to` are compared, unix seconds. */
  from: number
  to: number
  places: readonly Replica[]
  gapPlaces: readonly ReplicaGaps[]
  /** The trade ids received by socket, by product, where REST refuses for good; null: no trade may be missing. */
  taken: ReadonlyMap<string, ReadonlySet<number>> | null
}

/** A candle that is lost or wrong: where, and why. */
export type Finding = { product: string; key: string; place: string; reason: string }

/** The number of compared closed candles, and the candles that are lost or wrong in any place. */
export type ComparisonResult = { compared: number; lost: Finding[]; wrong: Finding[] }

/** The candles of findings, each once, by product and key. */
export const candlesOf = (findings: readonly Finding[]): Set<string> =>
  new Set(findings.map(({ product, key }) => `${product} ${key}`))

/** The number of distinct candles in findings. */
export const countCandles = (findings: readonly Finding[]): number => candlesOf(findings).size

const COMPARED_FIELDS = ['open', 'high', 'low', 'close', 'volume'] as const

/** Minutes [from, to] (unix seconds) between two received trades, and the missing trades between them. */
type MissingRange = { from: number; to: number; minutes: ReadonlySet<number> }

function findMissing(trades: readonly WireTrade[], taken: ReadonlySet<number>): MissingRange[] {
  const ordered = [...trades].sort((a, b) => Number(a.trade_id) - Number(b.trade_id))
  const missing: MissingRange[] = []
  let before: WireTrade | null = null
  let between: WireTrade[] = []
  for (const trade of ordered) {
    if (!taken.has(Number(trade.trade_id))) {
      if (before) between.push(trade)
      continue
    }
    if (before && between.length > 0) {
      const ends = [startOfMinute(before), startOfMinute(trade)]
      const minutes = new Set(between.map(startOfMinute))
      missing.push({ from: Math.min(...ends, ...minutes), to: Math.max(...ends, ...minutes), minutes })
    }
    before = trade
    between = []
  }
  return missing
}

const parseInterval = (key: string): [number, number] => {
  const [granularity = '', start = ''] = key.split('/')
  return [Number(start), Number(start) + (GRANULARITY_SECONDS[granularity] as number)]
}

/** Compares every place with the fold of the trades. */
export function compare(input: ComparisonInput): ComparisonResult {
  const verdict: ComparisonResult = { compared: 0, lost: [], wrong: [] }
  for (const [product, trades] of input.trades) compareProduct(input, product, trades, verdict)
  return verdict
}

function compareProduct(
  input: ComparisonInput,
  product: string,
  trades: readonly WireTrade[],
  verdict: ComparisonResult,
): void {
  const { from, to, places, gapPlaces, taken } = input
  const expected = foldCandles(trades, from, to)
  verdict.compared += expected.size
  const missing = taken ? findMissing(trades, taken.get(product) ?? new Set()) : []
  /** `surely`: trades are missing inside for good. `perhaps`: they may be reported as missing. */
  const lacking = ([start, end]: [number, number]) => ({
    surely: missing.some(({ minutes }) => [...minutes].some((minute) => minute >= start && minute < end)),
    perhaps: missing.some((hole) => hole.from < end && hole.to >= start),
  })
  for (const place of places) {
    const seen = place.candles.get(product)
    if (!seen) continue
    const lost = (key: string, reason: string) => verdict.lost.push({ product, key, place: place.name, reason })
    const wrong = (key: string, reason: string) => verdict.wrong.push({ product, key, place: place.name, reason })
    for (const [key, numbers] of expected) {
      if (place.granularity !== null && !key.startsWith(`${place.granularity}/`)) continue
      const candle = seen.get(key)
      const { surely, perhaps } = lacking(parseInterval(key))
      if (!candle) {
        if (!surely) lost(key, 'is not there')
        continue
      }
      if (!candle.complete) lost(key, 'is not complete')
      if (surely) {
        if (candle.coverage === 'full') wrong(key, 'is called full and is not')
        continue
      }
      if (candle.coverage !== 'full' && !perhaps) {
        if (taken) wrong(key, `is called ${candle.coverage} and nothing is missing`)
        else lost(key, `is called ${candle.coverage}`)
      }
      const off = COMPARED_FIELDS.filter((name) => candle[name] !== numbers[name])
      if (off.length > 0)
        wrong(key, off.map((name) => `${name} is ${candle[name]} and should be ${numbers[name]}`).join(', '))
    }
    for (const key of seen.keys()) {
      const [start, end] = parseInterval(key)
      if (start >= from && end <= to && !expected.has(key)) wrong(key, 'is there without a trade')
    }
  }
  for (const { name, gaps } of gapPlaces) {
    const reported = gaps.get(product) ?? []
    for (let minute = from; minute < to; minute += 60) {
      const { surely, perhaps } = lacking([minute, minute + 60])
      const gap = reported.some(([start, end]) => start <= minute && end > minute)
      const finding = { product, key: `ONE_MINUTE/${minute}`, place: name }
      if (surely && !gap) verdict.wrong.push({ ...finding, reason: 'is not among the gaps' })
      else if (gap && !perhaps) (taken ? verdict.wrong : verdict.lost).push({ ...finding, reason: 'is among the gaps' })
    }
  }
}
