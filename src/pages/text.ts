import type { Granularity } from '../protocol/granularity.ts'

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

/** Decimal text for reading: `67412.1` is `67,412.10`. No digit is lost; two stand after the point at least. */
export function decimalText(text: string): string {
  const [whole = '0', fraction = ''] = text.split('.')
  return `${whole.replace(/\B(?=(\d{3})+(?!\d))/g, ',')}.${fraction.padEnd(2, '0')}`
}

/** Per cent as text with its sign: `1.234` is `+1.23%`. Null stays unknown, a dash, and is never 0. */
export function percentText(percent: string | null): string {
  const value = percent === null ? Number.NaN : Number(percent)
  if (!Number.isFinite(value)) return '–'
  const digits = Math.abs(value).toFixed(2)
  return `${value < 0 && digits !== '0.00' ? '−' : '+'}${digits}%`
}

/** Where a change points: `up`, `down`, or `flat` where it is 0 or unknown. */
export function direction(percent: string | null): 'up' | 'down' | 'flat' {
  const value = Number(percent ?? 0)
  return value > 0 ? 'up' : value < 0 ? 'down' : 'flat'
}

/** How long ago, in the largest whole unit: `8 s`, `3 min`, `5 h`, `2 d`. A time that is still to come counts as now. */
export function ageText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

/** The same as a time before now: `8 s ago`, or `just now`. */
export const agoText = (ms: number): string => (ms < 1_000 ? 'just now' : `${ageText(ms)} ago`)

/** `2026-10-05 14:07:31 UTC` of unix milliseconds. */
export const utcText = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`
