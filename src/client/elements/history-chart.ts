import type { Gap } from '../../protocol/candle.ts'
import { type ChartTheme, type ChartView, createChartView } from './chart-view.ts'
import { drawLegend } from './legend.ts'
import { type Bar, mergeBars, priceDigits, type Series } from './series.ts'

type HistoryBar = Pick<Bar, 't' | 'o' | 'h' | 'l' | 'c' | 'v' | 'complete'>

let series: Series = { bars: [], gaps: [] }
let view: ChartView | null = null
/** True once the chart follows changes of the colour scheme. */
let followsTheme = false
let showLegend: (t: number | null) => void = () => {}

/** Draws the bars of the page's `#history` in place of an earlier chart. A page without `#history` has no chart. */
export function drawHistory(): void {
  view?.remove()
  view = null
  series = { bars: [], gaps: [] }
  const element = document.getElementById('history')
  if (!element) return
  const { bars = '[]', gaps = '[]', size = '86400', label = '' } = element.dataset
  series = {
    bars: (JSON.parse(bars) as HistoryBar[]).map((bar) => ({ ...bar, coverage: 'full' as const, rev: 0 })),
    gaps: JSON.parse(gaps) as Gap[],
  }
  const legend = Object.assign(document.createElement('p'), { className: 'legend' })
  legend.setAttribute('aria-hidden', 'true')
  const plot = Object.assign(document.createElement('div'), { className: 'plot' })
  plot.setAttribute('role', 'img')
  plot.setAttribute('aria-label', label)
  element.append(legend, plot)
  showLegend = (t) => {
    const index = t === null ? series.bars.length - 1 : series.bars.findIndex((bar) => bar.t === t)
    const [bar = null, before = null] = [series.bars[index], series.bars[index - 1]]
    drawLegend(legend, bar, before, priceDigits(series.bars), Number(size))
  }
  view = createChartView(plot, Number(size), readTheme(plot), { onPoint: showLegend, onScroll() {} })
  view.draw(series, { kind: 'all' })
  showLegend(null)
  if (followsTheme) return
  followsTheme = true
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    const plot = document.querySelector<HTMLElement>('#history .plot')
    if (plot) view?.setTheme(readTheme(plot))
  })
}

/** Moves the last bar to a price of `at` (unix seconds), unless that bar is complete. */
export function updateHistory(price: number, at: number): void {
  const last = series.bars.at(-1)
  if (!last || last.complete || at < last.t) return
  const merged = mergeBars(series, [{ ...last, c: price, h: Math.max(last.h, price), l: Math.min(last.l, price) }])
  series = merged.series
  view?.draw(series, merged.change)
  showLegend(null)
}

/** The chart colours of the page's style sheet. */
function readTheme(element: HTMLElement): ChartTheme {
  const style = getComputedStyle(element)
  const color = (name: string) => style.getPropertyValue(`--chart-${name}`).trim()
  return {
    text: color('text'),
    grid: color('grid'),
    line: color('line'),
    up: color('up'),
    down: color('down'),
    upMuted: color('up-muted'),
    downMuted: color('down-muted'),
    gap: color('gap'),
    font: style.fontFamily,
  }
}
