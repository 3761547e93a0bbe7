/** Numbers as JSON has them in `T`, as the text in which they were written. */
export type Exact<T> = T extends number
  ? string
  : T extends (infer U)[]
    ? Exact<U>[]
    : T extends object
      ? { [K in keyof T]: Exact<T[K]> }
      : T

/**
 * Reads JSON with every number as its own text, so that no digit of an amount is lost. A browser that does not tell the
 * text gives what its float holds, written out.
 * @throws SyntaxError
 */
export function parseExact(text: string): unknown {
  const read = (_key: string, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' ? (context?.source ?? plain(value)) : value
  return JSON.parse(text, read as (key: string, value: unknown) => unknown)
}

const plain = (value: number): string =>
  value.toLocaleString('en-US', { useGrouping: false, maximumFractionDigits: 20 })
