import type { WireTrade } from '../../simulators/exchange/wire.ts'

/** Seconds of each granularity. This file shares no line with the fold under test. */
export const GRANULARITY_SECONDS: Readonly<Record<string, number>> = {
  ONE_MINUTE: 60,
  FIVE_MINUTES: 300,
  FIFTEEN_MINUTES: 900,
  THIRTY_MINUTES: 1_800,
  ONE_HOUR: 3_600,
  TWO_HOURS: 7_200,
  SIX_HOURS: 21_600,
  ONE_DAY: 86_400,
}

/** The expected text of an amount: plain decimals without needless zeros. */
export type CandleNumbers = { open: string; high: string; low: string; close: string; volume: string }

/** Digits after the point of amounts here: more than any product has. */
const DECIMAL_PLACES = 24

/** Decimal text as an integer of 10^-24. @throws RangeError for text that is no plain decimal. */
export function parseScaled(text: string): bigint {
  const match = /^(\d+)(?:\.(\d+))?$/.exec(text)
  if (!match) throw new RangeError(`${text} is no decimal`)
  return BigInt((match[1] as string) + (match[2] ?? '').padEnd(DECIMAL_PLACES, '0').slice(0, DECIMAL_PLACES))
}

export function formatScaled(value: bigint): string {
  const digits = value.toString().padStart(DECIMAL_PLACES + 1, '0')
  return `${digits.slice(0, -DECIMAL_PLACES)}.${digits.slice(-DECIMAL_PLACES)}`.replace(/\.?0+$/, '')
}

/** Key of a candle within its product. `start` is unix seconds. */
export const candleKey = (granularity: string, start: number): string => `${granularity}/${start}`

/** Start of the minute of a trade, unix seconds. */
export const startOfMinute = (trade: WireTrade): number => Math.floor(Date.parse(trade.time) / 60_000) * 60

/**
 * The candles of one product's trades with starts from `from` on and ends up to `to` (unix seconds), by key. Trades
 * are ordered by minute, then by id.
 */
export function foldCandles(trades: readonly WireTrade[], from: number, to: number): Map<string, CandleNumbers> {
  const ordered = trades
    .map((trade) => ({ trade, minute: startOfMinute(trade) }))
    .sort((a, b) => a.minute - b.minute || Number(a.trade.trade_id) - Number(b.trade.trade_id))
  const candles = new Map<string, { open: bigint; high: bigint; low: bigint; close: bigint; volume: bigint }>()
  for (const { trade, minute } of ordered) {
    const price = parseScaled(trade.price)
    for (const [granularity, length] of Object.entries(GRANULARITY_SECONDS)) {
      const start = minute - (minute % length)
      if (start < from || start + length > to) continue
      const key = candleKey(granularity, start)
      const candle = candles.get(key) ?? { open: price, high: price, low: price, close: price, volume: 0n }
      candles.set(key, {
        open: candle.open,
        high: price > candle.high ? price : candle.high,
        low: price < candle.low ? price : candle.low,
        close: price,
        volume: candle.volume + parseScaled(trade.size),
      })
    }
  }
  return new Map(
    [...candles].map(([key, { open, high, low, close, volume }]) => [
      key,
      {
        open: formatScaled(open),
        high: formatScaled(high),
        low: formatScaled(low),
        close: formatScaled(close),
        volume: formatScaled(volume),
      },
    ]),
  )
}
