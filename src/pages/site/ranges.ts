import { html, raw } from 'hono/html'
import { CodedError } from '../../protocol/errors.ts'
import { HISTORY_RANGES, type HistoryInterval, type HistoryRange } from '../../protocol/price-history.ts'
import { DAY_S, MINUTE_S } from '../../time.ts'
import type { Html } from './layout.ts'

/** Ranges as words. */
export const RANGE_TEXT: Readonly<Record<HistoryRange, string>> = {
  '1d': '1 day',
  '7d': '7 days',
  '1m': '1 month',
  '3m': '3 months',
  '6m': '6 months',
  '1y': '1 year',
  '3y': '3 years',
  '5y': '5 years',
  '10y': '10 years',
  all: 'all time',
}

/** The length of a bar as a word, and its approximate seconds. */
export const INTERVALS: Readonly<Record<HistoryInterval, { label: string; seconds: number }>> = {
  FIVE_MINUTES: { label: '5-minute', seconds: 5 * MINUTE_S },
  THIRTY_MINUTES: { label: '30-minute', seconds: 30 * MINUTE_S },
  ONE_DAY: { label: 'daily', seconds: DAY_S },
  ONE_WEEK: { label: 'weekly', seconds: 7 * DAY_S },
  ONE_MONTH: { label: 'monthly', seconds: 30 * DAY_S },
}

/** The range in a URL. @throws CodedError `unknown_range` */
export function parseRange(text = '1m'): HistoryRange {
  const range = HISTORY_RANGES.find((known) => known === text)
  if (!range) throw new CodedError('unknown_range', `The range must be one of ${HISTORY_RANGES.join(', ')}.`)
  return range
}

/** Links to all ranges of the history on the page at `path`. */
export const rangeNav = (path: string, current: HistoryRange): Html =>
  html`<nav class="granularities ranges" aria-label="Time range">
${HISTORY_RANGES.map((range) => html`<a href="${path}?range=${range}" ${range === current ? raw('aria-current="true"') : ''}><span aria-hidden="true">${range}</span><span class="hidden">${RANGE_TEXT[range]}</span></a>\n`)}
</nav>`
