/** `T` with the numbers of these keys as the texts in which they were written. */
export type Exact<T, K extends keyof T> = {
  [P in keyof T]: P extends K ? Exclude<T[P], number> | string : T[P]
}

/**
 * Reads JSON with the numbers of these keys as their own texts, so that no digit of an amount is lost. A browser that does
 * not tell the text gives what its float holds, written out.
 * @throws SyntaxError
 */
export function parseExact(text: string, amounts: ReadonlySet<string>): unknown {
  const read = (key: string, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' && amounts.has(key) ? (context?.source ?? decimalText(value)) : value
  return JSON.parse(text, read as (key: string, value: unknown) => unknown)
}

const decimalText = (value: number): string =>
  value.toLocaleString('en-US', { useGrouping: false, maximumFractionDigits: 20 })
