import type { ProductSpec } from './products.ts'
import { hashText, lattice, mix, seededRandom } from './random.ts'

/** The maker's side, as Coinbase sends it. */
type Side = 'BUY' | 'SELL'

/** A trade in integers: `time` in unix microseconds, price and size in units of the product's last decimal. */
export type MarketTrade = { tradeId: number; time: number; price: bigint; size: bigint; side: Side }

/**
 * The trades of a product's market. Ids are dense: none is missing. `now` and all other times are unix microseconds;
 * a trade is public from its own time on (a manual one from the moment it is appended).
 */
export type Tape = {
  product: ProductSpec
  /** The newest public id; one less than the first id if there is none yet. */
  newestId(now: number): number
  firstId: number
  /** Trades with ids in [from, to], ascending. The caller keeps `to` at or below the newest public id. */
  byId(from: number, to: number): MarketTrade[]
  /** Public trades with times in [from, to), ascending by id. */
  byTime(from: number, to: number, now: number): MarketTrade[]
}

/** Trades begin here; a time before it has none. Blocks are counted from it, so it must never move. */
export const ORIGIN_MS = Date.UTC(2020, 0, 1)

/** Cached blocks per product: the last minutes are read repeatedly, the past once (its candles are cached instead). */
const MAX_CACHED_BLOCKS = 300

/** Waves of the price: period in ms and amplitude as a part of the level. Together they stay within a fifth of it. */
const OCTAVES = [
  { period: 30 * 86_400_000, amplitude: 0.08 },
  { period: 6 * 86_400_000, amplitude: 0.04 },
  { period: 86_400_000, amplitude: 0.02 },
  { period: 4 * 3_600_000, amplitude: 0.008 },
  { period: 3_600_000, amplitude: 0.004 },
  { period: 600_000, amplitude: 0.0015 },
  { period: 120_000, amplitude: 0.0006 },
  { period: 20_000, amplitude: 0.0002 },
] as const

/** Value noise: random heights at the multiples of each period, smoothed between. Pure in seed and time. */
function priceNoise(seed: number, ms: number): number {
  let sum = 0
  for (let i = 0; i < OCTAVES.length; i++) {
    const octave = OCTAVES[i] as (typeof OCTAVES)[number]
    const x = ms / octave.period
    const index = Math.floor(x)
    const f = x - index
    const own = mix(seed, i)
    const from = lattice(own, index)
    sum += octave.amplitude * (from + (lattice(own, index + 1) - from) * f * f * (3 - 2 * f))
  }
  return sum
}

/** The seed of one product's waves and trades in the market of `seedText`. */
export const productSeed = (seedText: string, id: string): number => mix(hashText(seedText), hashText(id))

/** The price around which a seeded product trades at `ms`: its price and the waves of its seed. */
export const levelAt = (
  seed: number,
  { price, liveliness }: { price: number; liveliness: number },
  ms: number,
): number => price * (1 + liveliness * priceNoise(seed, ms))

/** The trades of one block: bursts around random moments, so that a quiet product has empty minutes. */
function blockTrades(product: ProductSpec, seed: number, block: number): MarketTrade[] {
  if (product.trades.kind !== 'seeded') return []
  const { blockSeconds, perBlock, medianSize } = product.trades
  const length = blockSeconds * 1_000_000
  const start = (ORIGIN_MS / 1000 + block * blockSeconds) * 1_000_000
  const random = seededRandom(mix(seed, block))
  const bursts = Array.from({ length: Math.max(1, Math.round(perBlock / 4)) }, () => ({
    at: Math.floor(random() * length),
    side: (random() < 0.5 ? 'BUY' : 'SELL') as Side,
  }))
  const moments = Array.from({ length: perBlock }, () => {
    const burst = bursts[Math.floor(random() * bursts.length)] as (typeof bursts)[number]
    const u = random()
    const lag = random() < 0.4 ? 0 : u * u * 3_000_000
    return { at: Math.floor(burst.at + lag) % length, side: burst.side }
  }).sort((a, b) => a.at - b.at)
  const priceUnit = 10 ** product.priceDecimals
  const sizeUnit = 10 ** product.sizeDecimals
  return moments.map(({ at, side }, k) => {
    const time = start + at
    const level = levelAt(seed, product, time / 1000)
    const ticks = Math.round(level * priceUnit) + (side === 'SELL' ? 1 : 0) * (1 + Math.floor(random() * random() * 4))
    const u = random()
    // u / (1 - u) has median 1 and a heavy tail; the 1.002 keeps it below 500 times the median.
    const size = Math.max(1, Math.round(((medianSize * u) / (1.002 - u)) * sizeUnit))
    return {
      tradeId: block * perBlock + k + 1,
      time,
      price: BigInt(Math.max(1, ticks)),
      size: BigInt(random() < 0.15 ? roundSize(size) : size),
      side,
    }
  })
}

/** People like round sizes: two significant digits. */
function roundSize(size: number): number {
  let step = 1
  while (size / step >= 100) step *= 10
  return Math.round(size / step) * step
}

/** Its trades come in blocks of `blockSeconds`, none empty, around `level` (unix milliseconds). */
export type SeededTape = Tape & { blockSeconds: number; level(ms: number): number }

/** A market that follows from the seed and the time alone: it goes on by itself, and the same after a restart. */
function seededTape(product: ProductSpec, seedText: string): SeededTape {
  if (product.trades.kind !== 'seeded') throw new Error(`${product.id} is not seeded`)
  const { blockSeconds, perBlock } = product.trades
  const seed = productSeed(seedText, product.id)
  const origin = ORIGIN_MS * 1000
  const length = blockSeconds * 1_000_000
  const kept = new Map<number, MarketTrade[]>()
  const trades = (block: number): MarketTrade[] => {
    if (block < 0) return []
    const known = kept.get(block)
    if (known) return known
    const made = blockTrades(product, seed, block)
    kept.set(block, made)
    if (kept.size > MAX_CACHED_BLOCKS) kept.delete(kept.keys().next().value as number)
    return made
  }
  return {
    product,
    firstId: 1,
    blockSeconds,
    level: (ms) => levelAt(seed, product, ms),
    newestId(now) {
      const block = Math.floor((now - origin) / length)
      if (block < 0) return 0
      let count = 0
      for (const trade of trades(block)) if (trade.time <= now) count++
      return block * perBlock + count
    },
    byId(from, to) {
      const found: MarketTrade[] = []
      for (let id = Math.max(1, from); id <= to; ) {
        const block = Math.floor((id - 1) / perBlock)
        const first = block * perBlock + 1
        const part = trades(block).slice(id - first, to - first + 1)
        for (const trade of part) found.push(trade)
        id = first + perBlock
      }
      return found
    },
    byTime(from, to, now) {
      const end = Math.min(to, now + 1)
      const found: MarketTrade[] = []
      const last = Math.floor((end - 1 - origin) / length)
      for (let block = Math.max(0, Math.floor((from - origin) / length)); block <= last; block++)
        for (const trade of trades(block)) if (trade.time >= from && trade.time < end) found.push(trade)
      return found
    },
  }
}

/** A market that has only what was appended to it, public at once whatever its time says. */
export type ManualTape = Tape & { append(trade: Omit<MarketTrade, 'tradeId'>): MarketTrade }

function manualTape(product: ProductSpec): ManualTape {
  const firstId = product.trades.kind === 'manual' ? product.trades.firstId : 1
  const all: MarketTrade[] = []
  return {
    product,
    firstId,
    append(trade) {
      const appended = { tradeId: firstId + all.length, ...trade }
      all.push(appended)
      return appended
    },
    newestId: () => firstId + all.length - 1,
    byId: (from, to) => all.slice(Math.max(0, from - firstId), Math.max(0, to - firstId + 1)),
    byTime: (from, to) => all.filter((trade) => trade.time >= from && trade.time < to),
  }
}

/** The tapes of a market, by product id. */
export const openMarket = (products: readonly ProductSpec[], seed: string): Map<string, Tape | ManualTape> =>
  new Map(products.map((p) => [p.id, p.trades.kind === 'seeded' ? seededTape(p, seed) : manualTape(p)]))

export const isSeeded = (tape: Tape): tape is SeededTape => 'level' in tape

export const isManual = (tape: Tape | ManualTape): tape is ManualTape => 'append' in tape
