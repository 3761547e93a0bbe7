/** Lengths of time, in seconds and in milliseconds. */
export const MINUTE_S = 60
export const HOUR_S = 3_600
export const DAY_S = 86_400
export const MINUTE_MS = 60_000
export const HOUR_MS = 3_600_000
export const DAY_MS = 86_400_000

/** The UTC date of a moment (unix milliseconds or a `Date`) as `YYYY-MM-DD`. */
export const formatDate = (at: number | Date): string => new Date(at).toISOString().slice(0, 10)
