/** `2026-10-05 14:07` of unix seconds, or the date alone for candles of a day (`size` in seconds). All times are UTC. */
export function timeText(t: number, size: number): string {
  const text = new Date(t * 1000).toISOString()
  return size >= 86_400 ? text.slice(0, 10) : `${text.slice(0, 10)} ${text.slice(11, 16)}`
}

/** `10-05 14:07`, or the date with its year for candles of a day: for a column of times near each other. */
export const shortTimeText = (t: number, size: number): string =>
  size >= 86_400 ? timeText(t, size) : timeText(t, size).slice(5)
