import { html } from 'hono/html'
import { type Decimal, divideRounded, formatDecimal, parseDecimal } from '../../portfolio/decimal.ts'
import { type DayInterval, startOfPeriod } from '../../pricing/history-range.ts'
import type { HistoryRange } from '../../protocol/price-history.ts'
import type { ValueHistory } from '../../protocol/value-history.ts'
import { DAY_S } from '../../time.ts'
import { figure } from '../site/figure.ts'
import type { Html } from '../site/layout.ts'
import { INTERVALS, rangeNav } from '../site/ranges.ts'
import { figuresTable } from '../site/table.ts'

/** The value of the portfolio over a range; null if it cannot be read now. */
export const valueCard = (range: HistoryRange, history: ValueHistory | null): Html =>
  html`<section class="card chart-card value-card" aria-labelledby="value-title">
  <h2 id="value-title">Value over time</h2>
  ${rangeNav('/user', range)}
  ${history === null ? html`<p class="coverage"><strong class="down">Price history is unavailable right now.</strong></p>` : historyChart(history)}
</section>`

function historyChart(history: ValueHistory): Html {
  const { interval, currency, data } = history
  const { label, seconds } = INTERVALS[interval]
  const incomplete = data.filter((point) => point.incomplete).length
  return html`<div id="history" class="history" data-label="Value of the portfolio in ${currency}, ${label}" data-size="${seconds}" data-bars="${chartBars(history)}" data-gaps="[]"></div>
<p class="coverage">${label.charAt(0).toUpperCase()}${label.slice(1)}, in ${currency}${incomplete === 0 ? '' : ` · incomplete for ${incomplete} of ${data.length} values`}</p>
<details class="points">
  <summary>Show as table</summary>
  ${figuresTable({
    labelledBy: 'value-title',
    caption: `Value and net deposits in ${currency}, newest first`,
    columns: { before: ['Date'], numbers: ['Value', 'Net deposits'] },
    rows: data.toReversed().map((point) => pointRow(point, currency)),
    tall: true,
  })}
</details>`
}

const pointRow = (
  { date, value, net_deposits, incomplete }: ValueHistory['data'][number],
  currency: string,
) => html`<tr>
  <th scope="row"><time datetime="${date}">${date.slice(0, 16).replace('T', ' ')}</time>${incomplete ? html`<span class="below old">incomplete</span>` : ''}</th>
  <td class="number">${figure('money', '', value, currency)}</td>
  <td class="number">${figure('money', '', net_deposits, currency)}</td>
</tr>
`

/** Decimal places of the chart's values, and so of its axis. */
const CHART_DECIMALS = 2

/** A bar from each value to the next, for the chart's script, which moves the last one. */
function chartBars({ interval, data }: ValueHistory): string {
  const { seconds } = INTERVALS[interval]
  const start = (date: string, isLast: boolean): number => {
    const t = Math.floor(Date.parse(date) / 1_000)
    if (!isLast) return t
    if (seconds < DAY_S) return Math.floor(t / seconds) * seconds
    return Date.parse(startOfPeriod(date.slice(0, 10), interval as DayInterval)) / 1_000
  }
  const values = data.map(({ value }) => divideRounded(parseDecimal(value), parseDecimal('1'), CHART_DECIMALS))
  const bars = data.map(({ date }, i) => {
    const value = values[i] as Decimal
    const before = values[i - 1] ?? value
    const [high, low] = value.gt(before) ? [value, before] : [before, value]
    const isLast = i === data.length - 1
    const [o, h, l, c] = [before, high, low, value].map(formatDecimal)
    const t = start(date, isLast)
    return { t, text: `{"t":${t},"o":${o},"h":${h},"l":${l},"c":${c},"v":0,"complete":${!isLast}}` }
  })
  // The current value replaces the last step if both start at the same time.
  const steps = bars.filter(({ t }, i) => bars[i + 1]?.t !== t)
  return `[${steps.map(({ text }) => text).join(',')}]`
}
