import { html, raw } from 'hono/html'
import { type Decimal, divideRounded, formatDecimal, parseDecimal } from '../../portfolio/decimal.ts'
import { type DayInterval, startOfPeriod } from '../../pricing/history-range.ts'
import { HISTORY_RANGES, type HistoryRange } from '../../protocol/price-history.ts'
import type { ValueHistory } from '../../protocol/value-history.ts'
import { INTERVAL_TEXT, RANGE_TEXT } from '../assets/asset.ts'
import { figure } from '../site/figure.ts'
import type { Html } from '../site/layout.ts'

type Point = ValueHistory['data'][number]

/** What the portfolio was worth over a range; null: it cannot be read at the moment. */
export function valueCard(range: HistoryRange, history: ValueHistory | null): Html {
  return html`<section class="card chart-card value-card" aria-labelledby="value-title">
  <h2 id="value-title">Value over time</h2>
  <nav class="granularities ranges" aria-label="Range of the history">
${HISTORY_RANGES.map((each) => rangeLink(each, each === range))}
  </nav>
  ${history === null ? html`<p class="coverage"><strong class="down">The history cannot be read at the moment.</strong></p>` : historyChart(history)}
</section>`
}

const rangeLink = (range: HistoryRange, current: boolean): Html =>
  html`<a href="/user?range=${range}" ${current ? raw('aria-current="true"') : ''}><span aria-hidden="true">${range}</span><span class="hidden">${RANGE_TEXT[range]}</span></a>\n`

function historyChart(history: ValueHistory): Html {
  const { interval, currency, data } = history
  const { bars, seconds } = INTERVAL_TEXT[interval]
  const incomplete = data.filter((point) => point.incomplete).length
  return html`<div id="history" class="history" data-label="Value of the portfolio in ${currency}, steps of ${bars}" data-size="${seconds}" data-bars="${chartBars(history)}" data-gaps="[]"></div>
<p class="coverage">Steps of ${bars}, in ${currency}${incomplete === 0 ? '' : `; a price or a rate is missing in ${incomplete} of ${data.length}, which tell what is known`}</p>
<details class="points">
  <summary>The same as numbers</summary>
  <div class="scroll tall" tabindex="0" role="group" aria-labelledby="value-title">
  <table class="figures">
    <caption class="hidden">Value and what was put in, in ${currency}, the latest first</caption>
    <thead><tr><th scope="col" class="head">Date</th><th scope="col" class="head number">Value</th><th scope="col" class="head number">Put in</th></tr></thead>
    <tbody>
${data.toReversed().map((point) => pointRow(point, currency))}
    </tbody>
  </table>
  </div>
</details>`
}

const pointRow = ({ date, value, net_deposits, incomplete }: Point, currency: string): Html => html`<tr>
  <th scope="row"><time datetime="${date}">${date.slice(0, 16).replace('T', ' ')}</time>${incomplete ? html`<span class="below old">not all is known</span>` : ''}</th>
  <td class="number">${figure('money', '', value, currency)}</td>
  <td class="number">${figure('money', '', net_deposits, currency)}</td>
</tr>
`

/** The chart's axis has as many places as its values. */
const CHART_DECIMALS = 2

/** Bars from each value to the next, as the chart's script takes them; the last one still moves. */
function chartBars({ interval, data }: ValueHistory): string {
  const size = INTERVAL_TEXT[interval].seconds
  const start = (date: string, last: boolean): number => {
    const t = Math.floor(Date.parse(date) / 1_000)
    if (!last) return t
    if (size < 86_400) return Math.floor(t / size) * size
    return Date.parse(startOfPeriod(date.slice(0, 10), interval as DayInterval)) / 1_000
  }
  const values = data.map(({ value }) => divideRounded(parseDecimal(value), parseDecimal('1'), CHART_DECIMALS))
  const bars = data.map(({ date }, i) => {
    const value = values[i] as Decimal
    const before = values[i - 1] ?? value
    const [high, low] = value.gt(before) ? [value, before] : [before, value]
    const last = i === data.length - 1
    return {
      t: start(date, last),
      amounts: `"o":${formatDecimal(before)},"h":${formatDecimal(high)},"l":${formatDecimal(low)},"c":${formatDecimal(value)},"v":0,"complete":${!last}`,
    }
  })
  // What is of now goes on from the last step where both are of one.
  const steps = bars.filter(({ t }, i) => bars[i + 1]?.t !== t)
  return `[${steps.map(({ t, amounts }) => `{"t":${t},${amounts}}`).join(',')}]`
}
