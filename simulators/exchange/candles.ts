import { isManual, isSeeded, type MarketTrade, ORIGIN_MS, type SeededTape, type Tape } from './market.ts'

/**
 * The exchange's own candles. This fold shares no line with the one under test, so that agreement between the two says
 * something. Prices and volume are in units of the product's last decimal, `start` is in unix seconds.
 */
export type ExchangeCandle = { start: number; open: bigint; high: bigint; low: bigint; close: bigint; volume: bigint }

/** Granularities of Advanced Trade REST and their length in seconds. */
export const REST_GRANULARITIES: Readonly<Record<string, number>> = {
  ONE_MINUTE: 60,
  FIVE_MINUTE: 300,
  FIFTEEN_MINUTE: 900,
  THIRTY_MINUTE: 1_800,
  ONE_HOUR: 3_600,
  TWO_HOUR: 7_200,
  FOUR_HOUR: 14_400,
  SIX_HOUR: 21_600,
  ONE_DAY: 86_400,
}

/** Past minutes do not change, so they are folded once. Three days of them are cached per product. */
const MAX_CACHED_MINUTES = 3 * 1_440

const DAY_S = 86_400

/** Candles reach this far back, in seconds: a seeded market's past is made when it is asked for, 40 ms a busy day. */
const HISTORY_S = 30 * DAY_S

/** Days are folded from all their trades this far back; an older one comes from a few of them. Seconds. */
const EXACT_DAYS_S = 8 * DAY_S

/** How far apart an old day's level is looked at, to find where it was highest and lowest, seconds. */
const LEVEL_SAMPLE_S = 900

function foldTrades(trades: readonly MarketTrade[], seconds: number): ExchangeCandle[] {
  const candles = new Map<number, ExchangeCandle>()
  for (const { time, price, size } of trades) {
    const start = Math.floor(time / 1_000_000 / seconds) * seconds
    const candle = candles.get(start)
    if (!candle) {
      candles.set(start, { start, open: price, high: price, low: price, close: price, volume: size })
      continue
    }
    if (price > candle.high) candle.high = price
    if (price < candle.low) candle.low = price
    candle.close = price
    candle.volume += size
  }
  return [...candles.values()].sort((a, b) => a.start - b.start)
}

function foldMinutes(minutes: readonly ExchangeCandle[], seconds: number): ExchangeCandle[] {
  const candles: ExchangeCandle[] = []
  for (const minute of minutes) {
    const start = minute.start - (minute.start % seconds)
    const last = candles.at(-1)
    if (last?.start !== start) {
      candles.push({ ...minute, start })
      continue
    }
    if (minute.high > last.high) last.high = minute.high
    if (minute.low < last.low) last.low = minute.low
    last.close = minute.close
    last.volume += minute.volume
  }
  return candles
}

/**
 * A day that is too old to be folded from its trades. It opens and closes with its own first and last trade, so that it joins the days
 * beside it; high and low are of trades about where its level was highest and lowest, and the volume is estimated from
 * those that were read. A candle may so change once, when its day gets old: Coinbase revises old candles, too.
 */
function estimateDay(tape: SeededTape, day: number, now: number): ExchangeCandle | null {
  let [highAt, lowAt] = [day, day]
  let [high, low] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]
  for (let at = day; at < day + DAY_S; at += LEVEL_SAMPLE_S) {
    const level = tape.level(at * 1000)
    if (level > high) [high, highAt] = [level, at]
    if (level < low) [low, lowAt] = [level, at]
  }
  const block = tape.blockSeconds
  const blocks = new Set([day, highAt - (highAt % block), lowAt - (lowAt % block), day + DAY_S - block])
  const starts = [...blocks].sort((a, b) => a - b)
  const trades = starts.flatMap((start) => tape.byTime(start * 1_000_000, (start + block) * 1_000_000, now))
  const candle = foldTrades(trades, DAY_S)[0]
  if (!candle) return null
  return { ...candle, volume: (candle.volume * BigInt(DAY_S / block)) / BigInt(starts.length) }
}

/**
 * Reads candles off a tape. `read(seconds, from, to, now)`: buckets with starts in [from, to), ascending, none empty. Those
 * of a seeded market go back `REACH`, whole days to its origin.
 */
export function candleReader(tape: Tape) {
  const kept = new Map<number, ExchangeCandle | null>()
  const oldDays = new Map<number, ExchangeCandle | null>()

  /** A seeded tape's past minutes, in whole stretches that are not cached yet; the current minute from its trades. */
  const minutes = (from: number, to: number, now: number): ExchangeCandle[] => {
    const found: ExchangeCandle[] = []
    const running = Math.floor(now / 60_000_000) * 60
    const over = Math.min(to, running)
    const step = tape.product.trades.kind === 'seeded' ? tape.product.trades.blockSeconds : 60
    for (let minute = from; minute < over; minute += 60) {
      if (!kept.has(minute)) {
        const stretch = minute - (minute % step)
        const end = Math.min(stretch + step, running)
        for (let m = stretch; m < end; m += 60) kept.set(m, null)
        for (const candle of foldTrades(tape.byTime(stretch * 1_000_000, end * 1_000_000, now), 60))
          kept.set(candle.start, candle)
      }
      const candle = kept.get(minute)
      if (candle) found.push(candle)
    }
    if (to > running && from <= running)
      found.push(...foldTrades(tape.byTime(running * 1_000_000, (running + 60) * 1_000_000, now), 60))
    for (const minute of kept.keys()) {
      if (kept.size <= MAX_CACHED_MINUTES) break
      kept.delete(minute)
    }
    return found
  }

  return {
    read(seconds: number, from: number, to: number, now: number): ExchangeCandle[] {
      if (isManual(tape)) return foldTrades(tape.byTime(from * 1_000_000, to * 1_000_000, now), seconds)
      const days = seconds === DAY_S && isSeeded(tape)
      const oldest = Math.ceil((now / 1_000_000 - (days ? EXACT_DAYS_S : HISTORY_S)) / seconds) * seconds
      const found: ExchangeCandle[] = []
      if (days)
        for (let day = Math.max(from, ORIGIN_MS / 1000); day < Math.min(to, oldest); day += DAY_S) {
          let candle = oldDays.get(day)
          if (candle === undefined) {
            candle = estimateDay(tape, day, now)
            oldDays.set(day, candle)
          }
          if (candle) found.push({ ...candle })
        }
      for (const candle of foldMinutes(minutes(Math.max(from, oldest), to, now), seconds)) found.push(candle)
      return found
    },
  }
}

export type CandleReader = ReturnType<typeof candleReader>
