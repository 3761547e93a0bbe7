import { DAY_S } from '../../time.ts'

/**
 * The UTC start of a candle as `2026-10-05 14:07`, or as the date alone for candles of a day.
 * @param t unix seconds
 * @param sizeS seconds of one candle
 */
export function timeText(t: number, sizeS: number): string {
  const text = new Date(t * 1000).toISOString()
  return sizeS >= DAY_S ? text.slice(0, 10) : `${text.slice(0, 10)} ${text.slice(11, 16)}`
}

/** As `timeText`, but without the year: `10-05 14:07`. Candles of a day have the whole date. */
export const shortTimeText = (t: number, sizeS: number): string =>
  sizeS >= DAY_S ? timeText(t, sizeS) : timeText(t, sizeS).slice(5)
