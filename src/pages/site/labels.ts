import type { Granularity } from '../../protocol/granularity.ts'

/** Short names of the granularities, as they stand on a chart's switch, and long ones to read aloud. */
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

/** `2026-10-05 14:07:31 UTC` of unix milliseconds. */
export const utcText = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`
