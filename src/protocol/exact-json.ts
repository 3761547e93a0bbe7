/** `T` with the numbers of these keys as text. */
export type Exact<T, K extends keyof T> = {
  [P in keyof T]: P extends K ? Exclude<T[P], number> | string : T[P]
}

export type CandleAmount = 'open' | 'high' | 'low' | 'close' | 'volume'
/** The keys of a candle whose numbers are decimals. */
export const CANDLE_AMOUNTS: ReadonlySet<string> = new Set<CandleAmount>(['open', 'high', 'low', 'close', 'volume'])

/**
 * Parses JSON without passing its numbers through floats. An engine that does not support `context.source` of JSON.parse
 * gives the digits of its float.
 * @param read returns what a number becomes: `source` is its text, `key` that of its object
 * @throws SyntaxError
 */
export function parseNumbers(text: string, read: (source: string, key: string) => unknown): unknown {
  const revive = (key: string, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' ? read(context?.source ?? decimalText(value), key) : value
  return JSON.parse(text, revive as (key: string, value: unknown) => unknown)
}

/** Parses JSON with the numbers of these keys as text and all others as numbers. @throws SyntaxError */
export const parseExact = (text: string, amounts: ReadonlySet<string>): unknown =>
  parseNumbers(text, (source, key) => (amounts.has(key) ? source : Number(source)))

const decimalText = (value: number): string =>
  value.toLocaleString('en-US', { useGrouping: false, maximumFractionDigits: 20 })
