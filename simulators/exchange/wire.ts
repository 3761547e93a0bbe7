import type { MarketTrade } from './market.ts'
import type { ProductSpec } from './products.ts'

/** A trade as the socket and Advanced Trade REST write it: all text, trailing zeros trimmed. */
export type WireTrade = {
  product_id: string
  trade_id: string
  price: string
  size: string
  time: string
  side: string
}

/** `1234500n` with 4 decimals is `123.45`. */
export function formatUnits(units: bigint, decimals: number): string {
  const text = formatPaddedUnits(units, decimals)
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text
}

/** `1234500n` with 4 decimals, padded to 8, is `123.45000000`. */
export function formatPaddedUnits(units: bigint, decimals: number, padded = decimals): string {
  const digits = (units < 0n ? -units : units).toString().padStart(decimals + 1, '0')
  const whole = digits.slice(0, digits.length - decimals)
  const fraction = digits.slice(digits.length - decimals).padEnd(padded, '0')
  return `${units < 0n ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}`
}

/** The reverse of `decimalText`. @throws RangeError for text that is no decimal or has more decimals than the product. */
export function parseUnits(text: string, decimals: number): bigint {
  const match = /^(\d+)(?:\.(\d+))?$/.exec(text)
  const fraction = match?.[2] ?? ''
  if (!match || fraction.length > decimals) throw new RangeError(`${text} is no decimal of at most ${decimals} places`)
  return BigInt(match[1] + fraction.padEnd(decimals, '0'))
}

/** RFC 3339 with six decimals, as Exchange REST writes it. `time` in unix microseconds. */
export function formatMicroseconds(time: number): string {
  const seconds = Math.floor(time / 1_000_000)
  const micros = String(time - seconds * 1_000_000).padStart(6, '0')
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${micros}Z`
}

/** RFC 3339 with up to six decimals, in UTC, as unix microseconds. @throws RangeError for another text. */
export function parseMicroseconds(time: string): number {
  const match = /^(.*?)(?:\.(\d{1,6})\d*)?Z$/.exec(time)
  const seconds = Date.parse(`${match?.[1]}Z`)
  if (!match || Number.isNaN(seconds)) throw new RangeError(`${time} is no time in UTC`)
  return seconds * 1000 + Number((match[2] ?? '').padEnd(6, '0'))
}

const trimTime = (text: string): string => text.replace(/\.?0+Z$/, 'Z')

export const toWireTrade = (product: ProductSpec, trade: MarketTrade): WireTrade => ({
  product_id: product.id,
  trade_id: String(trade.tradeId),
  price: formatUnits(trade.price, product.priceDecimals),
  size: formatUnits(trade.size, product.sizeDecimals),
  time: trimTime(formatMicroseconds(trade.time)),
  side: trade.side,
})

/** The envelope's time: nanoseconds, zeros trimmed. `nanos` (0 to 999,999) are what the clock's milliseconds lack. */
export function formatEnvelopeTime(ms: number, nanos: number): string {
  const text = new Date(ms).toISOString().slice(0, 23) + String(nanos).padStart(6, '0')
  return `${text.replace(/\.?0+$/, '')}Z`
}

/** Go's time text, as heartbeats carry it: `2026-08-09 21:05:48.85 +0000 UTC m=+41691.26`. */
export function formatGoTime(ms: number, nanos: number, upMs: number): string {
  const time = formatEnvelopeTime(ms, nanos).replace('T', ' ').replace('Z', '')
  return `${time} +0000 UTC m=+${(upMs / 1000).toFixed(3)}${String(nanos).padStart(6, '0')}`
}
