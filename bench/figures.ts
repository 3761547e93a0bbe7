/** The middle value; the mean of the two middle ones of an even count. NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const high = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? Number.NaN) + high) / 2
}

/** The smallest value that `share` (0 to 1) of all values do not exceed. NaN of nothing. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

/** Rounded to three significant digits and more: the precision of a bench. */
export const rounded = (value: number): number => Number(value.toPrecision(4))

/** One bench's answer: ratios named in the README, and whatever figures lie behind them. */
export type Figures = { ratios: Record<string, number> } & Record<string, unknown>

/** `quick` takes seconds and shows that a bench still runs: its figures say nothing. */
export type Size = 'full' | 'quick'

/** @throws Error naming the figures that are not finite numbers: what should have been measured was not. */
export function checkFigures({ ratios, ...rest }: Figures): void {
  const numbers = Object.entries({ ...ratios, ...rest }).filter(([, value]) => typeof value === 'number')
  const unmeasured = numbers.filter(([, value]) => !Number.isFinite(value)).map(([name]) => name)
  if (unmeasured.length > 0) throw new Error(`not measured: ${unmeasured.join(', ')}`)
}
