import { manualProduct, PRODUCTS, type ProductSpec } from '../exchange/products.ts'
import { generator, mix } from '../exchange/random.ts'
import type { ManualTrade } from '../exchange/server.ts'
import { STEPS, type Step } from './steps.ts'

/** Every fault that there is, by the name that `--fault` takes. */
export const FAULTS = [
  'socket-closed',
  'half-open',
  'frames-lost',
  'frames-repeated',
  'frames-disordered',
  'late-trade',
  'malformed',
  'rest-429',
  'rest-500',
  'rest-timeout',
  'rest-wrong',
  'rest-refused',
  'object-killed',
  'process-killed',
  'postgres-stopped',
  'postgres-slow',
  'postgres-full',
  'deploy',
  'clock-step',
  'never-read',
  'crowd',
] as const
export type FaultName = (typeof FAULTS)[number]

/** What is done at `at` milliseconds after the start of the market. `ms` is how long it lasts; all market time. */
export type FaultEvent = { at: number } & (
  | { fault: 'socket-closed'; code: number; product?: string; ms: number }
  | { fault: 'half-open'; product?: string; ms: number }
  | {
      fault: 'frames-lost' | 'frames-repeated'
      product?: string
      frames: number
      channel: 'market_trades' | 'heartbeats'
    }
  | { fault: 'frames-disordered'; product?: string; frames: number; how: 'swap' | 'shuffle' | 'delay'; ms: number }
  | { fault: 'late-trade'; how: 'frame' | 'trade'; product: string; ms: number }
  | { fault: 'malformed'; product?: string; frames: number }
  | { fault: 'rest-429' | 'rest-500' | 'rest-timeout' | 'rest-wrong'; ms: number; frames: number }
  | { fault: 'rest-refused'; answer: '429' | '500'; frames: number[] }
  | { fault: 'object-killed'; product: string; step: Step; times: number }
  | { fault: 'process-killed' | 'deploy' }
  | { fault: 'postgres-stopped' | 'postgres-slow' | 'postgres-full'; ms: number }
  | { fault: 'clock-step'; ms: number }
  | { fault: 'never-read'; product: string; viewers: number }
  | { fault: 'crowd'; product: string; viewers: number }
)

/** One viewer: of one product's own socket, or of all products joined (`product` null). `drops`: when it loses it. */
export type ViewerPlan = { product: string | null; acks: boolean; drops: number[] }

/** All that a run does, drawn from its seed alone. Times are milliseconds after `start` (unix ms), market time. */
export type Plan = {
  seed: number
  faults: FaultName[]
  start: number
  products: ProductSpec[]
  /** The product whose trades are made here, so that they can be late, and those trades. */
  manual: { product: string; trades: { at: number; trade: ManualTrade }[] }
  viewers: ViewerPlan[]
  events: FaultEvent[]
  /** When the faults are over, and how many minutes of the market are compared at least. */
  end: number
  minutes: number
}

const SECOND = 1_000
const MINUTE = 60_000

/** What the others must be left alone with: nothing may die whose memory is the record of what the socket brought. */
const BESIDE_REFUSAL: readonly FaultName[] = ['socket-closed', 'half-open', 'frames-lost', 'frames-repeated']

export type Draw = ReturnType<typeof openDraw>

function openDraw(seed: number) {
  const next = generator(seed)
  const between = (from: number, to: number) => from + Math.floor(next() * (to - from))
  const one = <T>(list: readonly T[]): T => list[between(0, list.length)] as T
  return { next, between, one, chance: (part: number) => next() < part }
}

/** The seeds of `runs` runs: the first is the given one, so that a printed seed repeats its run. */
export function seedsOf(seed: number, runs: number): number[] {
  const next = generator(mix(seed, 0xfa17))
  return Array.from({ length: runs }, (_, i) => (i === 0 ? seed : Math.floor(next() * 4_294_967_296)))
}

/**
 * Draws a run.
 * @param only this fault alone; without it one to four at once.
 * @param minutes how long the faults go on, market time.
 */
export function planRun(seed: number, only: FaultName | null, minutes: number): Plan {
  const draw = openDraw(mix(seed, 0x9a))
  const end = minutes * MINUTE
  const start = startOf(draw)
  const products = productsOf(draw)
  const manual = 'LATE-USD'
  const ids = products.map(({ id }) => id)
  const faults = only ? [only] : someFaults(draw)
  const events = faults
    .flatMap((fault) => eventsOf(fault, draw, { ids, quiet: ids.at(-2) as string, manual, start, end }))
    .sort((a, b) => a.at - b.at)
  return {
    seed,
    faults,
    start,
    products,
    manual: { product: manual, trades: manualTrades(draw, manual, start, end) },
    viewers: Array.from({ length: 5 }, (_, i) => ({
      product: i < 2 ? null : (ids[(i - 2) % ids.length] as string),
      acks: draw.chance(0.5),
      drops: Array.from({ length: draw.between(0, 3) }, () => draw.between(MINUTE, end)),
    })),
    events,
    end,
    minutes,
  }
}

/** Some runs cross an hour, some a month; the first seconds are for getting up. */
function startOf(draw: Draw): number {
  const sort = draw.next()
  if (sort < 0.15) return Date.UTC(2026, 2, 31, 23, 50, draw.between(0, 60))
  if (sort < 0.5) return Date.UTC(2026, 2, 31, draw.between(0, 4), draw.between(50, 58), draw.between(0, 60))
  return Date.UTC(2026, 3, 1, draw.between(0, 4), draw.between(0, 60), draw.between(0, 60))
}

/** Four busy products, a quiet one, and one whose trades we make. */
function productsOf(draw: Draw): ProductSpec[] {
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

/** A walk of prices and sizes with up to eight decimals. They go on past the end: a product must be heard to be healed. */
function manualTrades(draw: Draw, product: string, start: number, end: number): Plan['manual']['trades'] {
  const decimals = draw.between(2, 9)
  const unit = 10 ** -decimals
  let price = draw.between(10, 1000)
  const trades: Plan['manual']['trades'] = []
  for (let at = -5 * MINUTE; at < end + 120 * MINUTE; at += draw.between(0, 10 * SECOND)) {
    price = Math.max(unit, price + (draw.next() - 0.5) * price * 0.001)
    const size = draw.chance(0.2) ? draw.between(1, 1000) : draw.next() * 10 + 1e-8
    trades.push({ at, trade: { product, price: price.toFixed(decimals), size: size.toFixed(8), time: start + at } })
  }
  return trades
}

function someFaults(draw: Draw): FaultName[] {
  const faults = new Set<FaultName>()
  const wanted = draw.one([1, 1, 2, 2, 3, 4])
  while (faults.size < wanted) faults.add(draw.one(FAULTS))
  if (!faults.has('rest-refused')) return [...faults]
  return ['rest-refused', ...[...faults].filter((fault) => BESIDE_REFUSAL.includes(fault))]
}

type Ground = { ids: readonly string[]; quiet: string; manual: string; start: number; end: number }

/** A moment of the time of faults, one in three at the end of a minute, around its close. */
function moment(draw: Draw, { start, end }: Ground): number {
  const at = draw.between(1.5 * MINUTE, end - 2 * MINUTE)
  if (!draw.chance(0.35)) return at
  const boundary = Math.ceil((start + at) / MINUTE) * MINUTE - start
  return boundary + draw.between(-2 * SECOND, 18 * SECOND)
}

function eventsOf(fault: FaultName, draw: Draw, ground: Ground): FaultEvent[] {
  const several = (most: number, make: (at: number) => FaultEvent): FaultEvent[] =>
    Array.from({ length: draw.between(1, most + 1) }, () => make(moment(draw, ground)))
  const { ids, quiet, manual } = ground
  const product = (): string | undefined => (draw.chance(0.6) ? draw.one(ids) : undefined)
  const lasting = (from: number, to: number) => draw.between(from * SECOND, to * SECOND)
  switch (fault) {
    case 'socket-closed':
      return several(3, (at) => ({
        at,
        fault,
        code: draw.one([1006, 1000, 1001, 1011, 1012]),
        product: product(),
        ms: draw.chance(0.5) ? lasting(5, 180) : 0,
      }))
    case 'half-open':
      return several(3, (at) => ({ at, fault, product: product(), ms: lasting(5, 120) }))
    case 'frames-lost':
    case 'frames-repeated':
      return several(5, (at) => ({
        at,
        fault,
        product: product(),
        frames: draw.between(1, 8),
        channel: draw.chance(0.85) ? 'market_trades' : 'heartbeats',
      }))
    case 'frames-disordered':
      return several(5, (at) => ({
        at,
        fault,
        product: product(),
        frames: draw.between(1, 6),
        how: draw.one(['swap', 'shuffle', 'delay']),
        ms: lasting(1, 30),
      }))
    case 'late-trade':
      return several(4, (at) => {
        const how = draw.one(['frame', 'trade'] as const)
        return { at, fault, how, product: how === 'trade' ? manual : draw.one(ids), ms: lasting(60, 300) }
      })
    case 'malformed':
      return several(4, (at) => ({ at, fault, product: product(), frames: draw.between(1, 40) }))
    case 'rest-429':
    case 'rest-500':
    case 'rest-timeout':
    case 'rest-wrong':
      return several(2, (at) => ({ at, fault, ms: lasting(20, 150), frames: draw.between(1, 4) }))
    case 'rest-refused':
      return [
        {
          at: 1.5 * MINUTE,
          fault,
          answer: draw.one(['429', '500']),
          frames: Array.from({ length: draw.between(1, 4) }, () => moment(draw, ground)),
        },
      ]
    case 'object-killed':
      return several(4, (at) => ({
        at,
        fault,
        product: draw.one(ids),
        step: draw.one(STEPS),
        times: draw.between(1, 12),
      }))
    case 'process-killed':
    case 'deploy':
      return several(2, (at) => ({ at, fault }))
    case 'postgres-stopped':
      return [{ at: moment(draw, ground), fault, ms: lasting(10, 180) }]
    case 'postgres-slow':
    case 'postgres-full':
      return several(2, (at) => ({ at, fault, ms: lasting(20, 180) }))
    case 'clock-step':
      return several(2, (at) => ({ at, fault, ms: draw.between(-20, 21) * SECOND + draw.between(0, 1000) }))
    case 'never-read':
      return [{ at: moment(draw, ground), fault, product: draw.one(ids), viewers: 20 }]
    case 'crowd':
      return [{ at: moment(draw, ground), fault, product: quiet, viewers: 500 }]
  }
}
