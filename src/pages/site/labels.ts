import type { Granularity } from '../../protocol/granularity.ts'

/** Names of the granularities: short on a chart's switch, long for screen readers. */
export const GRANULARITY_TEXT: Readonly<Record<Granularity, { short: string; long: string }>> = {
  ONE_MINUTE: { short: '1m', long: '1 minute' },
  FIVE_MINUTES: { short: '5m', long: '5 minutes' },
  FIFTEEN_MINUTES: { short: '15m', long: '15 minutes' },
  THIRTY_MINUTES: { short: '30m', long: '30 minutes' },
  ONE_HOUR: { short: '1h', long: '1 hour' },
  TWO_HOURS: { short: '2h', long: '2 hours' },
  SIX_HOURS: { short: '6h', long: '6 hours' },
  ONE_DAY: { short: '1d', long: '1 day' },
}

/** Unix milliseconds as `2026-10-05 14:07:31 UTC`. */
export const utcText = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`

const DAY = { day: 'numeric', month: 'short', timeZone: 'UTC' } as const
const dayFormat = new Intl.DateTimeFormat('en-GB', { ...DAY, year: 'numeric' })
const minuteFormat = new Intl.DateTimeFormat('en-GB', { ...DAY, hour: '2-digit', minute: '2-digit' })

/** The UTC day of a time as `30 Nov 2026`. */
export const dayText = (time: string): string => dayFormat.format(new Date(time))

/** The range of two times: of days `30 Oct – 30 Nov 2026`, or of minutes `29 Nov, 18:05 – 30 Nov, 18:00` (UTC). */
export const rangeText = (first: string, last: string, unit: 'day' | 'minute'): string =>
  (unit === 'day' ? dayFormat : minuteFormat).formatRange(new Date(first), new Date(last))

/** A count with its noun: `1 row`, `2 rows`. */
export const pluralize = (count: number, one: string, many = `${one}s`): string =>
  `${count} ${count === 1 ? one : many}`
