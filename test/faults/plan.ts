import type { ManualTrade } from '../../simulators/exchange/exchange.ts'
import { manualProduct, PRODUCTS, type ProductSpec } from '../../simulators/exchange/products.ts'
import { mix, seededRandom } from '../../simulators/exchange/random.ts'
import { drawEvents, FAULTS, type FaultEvent, type FaultName } from './events.ts'
import { createRandom, MINUTE_MS, type Random, SECOND_MS } from './random.ts'

/** One viewer: of one product's own socket, or of all products joined (`product` null). `drops`: when it loses it. */
type ViewerPlan = { product: string | null; acks: boolean; drops: number[] }

/** A plan of a run, drawn from its seed alone. Times are milliseconds after `start` (unix ms), market time. */
export type Plan = {
  seed: number
  faults: FaultName[]
  start: number
  products: ProductSpec[]
  /** The product whose trades the plan makes, so that they can be late, and its trades. */
  manual: { product: string; trades: { at: number; trade: ManualTrade }[] }
  viewers: ViewerPlan[]
  events: FaultEvent[]
  /** The end of the faults, and the least minutes of the market to compare. */
  end: number
  minutes: number
}

/** Faults that may accompany a REST that refuses for good. None kills an object, whose memory records the received trades. */
const COMPATIBLE_WITH_REST_REFUSED: readonly FaultName[] = [
  'socket-closed',
  'half-open',
  'frames-lost',
  'frames-repeated',
]

/** The seeds of `runs` runs: the first is the given one, so that a printed seed repeats its run. */
export function runSeeds(seed: number, runs: number): number[] {
  const next = seededRandom(mix(seed, 0xfa17))
  return Array.from({ length: runs }, (_, i) => (i === 0 ? seed : Math.floor(next() * 4_294_967_296)))
}

/**
 * Draws a run.
 * @param only this fault alone; without it one to four at once.
 * @param minutes how long the faults go on, market time.
 */
export function planRun(seed: number, only: FaultName | null, minutes: number): Plan {
  const draw = createRandom(mix(seed, 0x9a))
  const end = minutes * MINUTE_MS
  const start = drawStart(draw)
  const products = drawProducts(draw)
  const manual = 'LATE-USD'
  const ids = products.map(({ id }) => id)
  const faults = only ? [only] : drawFaults(draw)
  const events = faults
    .flatMap((fault) => drawEvents(fault, draw, { ids, quiet: ids.at(-2) as string, manual, start, end }))
    .sort((a, b) => a.at - b.at)
  return {
    seed,
    faults,
    start,
    products,
    manual: { product: manual, trades: drawManualTrades(draw, manual, start, end) },
    viewers: Array.from({ length: 5 }, (_, i) => ({
      product: i < 2 ? null : (ids[(i - 2) % ids.length] as string),
      acks: draw.chance(0.5),
      drops: Array.from({ length: draw.between(0, 3) }, () => draw.between(MINUTE_MS, end)),
    })),
    events,
    end,
    minutes,
  }
}

/** Some runs cross an hour, some a month; the first seconds are for the start of the servers. */
function drawStart(draw: Random): number {
  const sort = draw.next()
  if (sort < 0.15) return Date.UTC(2026, 2, 31, 23, 50, draw.between(0, 60))
  if (sort < 0.5) return Date.UTC(2026, 2, 31, draw.between(0, 4), draw.between(50, 58), draw.between(0, 60))
  return Date.UTC(2026, 3, 1, draw.between(0, 4), draw.between(0, 60), draw.between(0, 60))
}

/** Four busy products, a quiet one, and one whose trades the plan makes. */
function drawProducts(draw: Random): ProductSpec[] {
  const left = draw.between(0, 5)
  const busy = PRODUCTS.slice(0, 5).filter((_, i) => i !== left)
  const quiet = PRODUCTS.find(({ id }) => id === 'LTC-USD') as ProductSpec
  const seeded = (blockSeconds: number, perBlock: number, product: ProductSpec): ProductSpec => ({
    ...product,
    trades: { kind: 'seeded', blockSeconds, perBlock, medianSize: 10 ** -draw.between(0, 4) },
  })
  return [
    ...busy.map((product) => seeded(60, draw.between(8, 30), product)),
    seeded(600, draw.between(10, 40), quiet),
    manualProduct('LATE-USD', { trades: { kind: 'manual', firstId: draw.between(1, 100_000) } }),
  ]
}

/** A walk of prices and sizes with up to eight decimals. They continue past the end: a product heals only with new trades. */
function drawManualTrades(draw: Random, product: string, start: number, end: number): Plan['manual']['trades'] {
  const decimals = draw.between(2, 9)
  const unit = 10 ** -decimals
  let price = draw.between(10, 1000)
  const trades: Plan['manual']['trades'] = []
  for (let at = -5 * MINUTE_MS; at < end + 120 * MINUTE_MS; at += draw.between(0, 10 * SECOND_MS)) {
    price = Math.max(unit, price + (draw.next() - 0.5) * price * 0.001)
    const size = draw.chance(0.2) ? draw.between(1, 1000) : draw.next() * 10 + 1e-8
    trades.push({ at, trade: { product, price: price.toFixed(decimals), size: size.toFixed(8), time: start + at } })
  }
  return trades
}

function drawFaults(draw: Random): FaultName[] {
  const faults = new Set<FaultName>()
  const wanted = draw.one([1, 1, 2, 2, 3, 4])
  while (faults.size < wanted) faults.add(draw.one(FAULTS))
  if (!faults.has('rest-refused')) return [...faults]
  return ['rest-refused', ...[...faults].filter((fault) => COMPATIBLE_WITH_REST_REFUSED.includes(fault))]
}
