import type { Gap } from '../../protocol/candle.ts'
import { type ChartView, createChartView } from './chart-view.ts'
import { drawLegend } from './legend.ts'
import { type Bar, mergeBars, priceDigits, type Series } from './series.ts'

type HistoryBar = Pick<Bar, 't' | 'o' | 'h' | 'l' | 'c' | 'v' | 'complete'>

let series: Series = { bars: [], gaps: [] }
let view: ChartView | null = null
let showLegend: (t: number | null) => void = () => {}

/** Draws the bars of the page's `#history` in place of an earlier chart. A page without `#history` has no chart. */
export function drawHistory(): void {
  view?.remove()
  view = null
  series = { bars: [], gaps: [] }
  const element = document.getElementById('history')
  if (!element) return
  const { bars = '[]', gaps = '[]', size = '86400', label = '' } = element.dataset
  const sizeS = Number(size)
  series = {
    bars: (JSON.parse(bars) as HistoryBar[]).map((bar) => ({ ...bar, coverage: 'full' as const, rev: 0 })),
    gaps: JSON.parse(gaps) as Gap[],
  }
  const legend = Object.assign(document.createElement('p'), { className: 'legend', ariaHidden: 'true' })
  const plot = Object.assign(document.createElement('div'), { className: 'plot', role: 'img', ariaLabel: label })
  element.append(legend, plot)
  showLegend = (t) => {
    const index = t === null ? series.bars.length - 1 : series.bars.findIndex((bar) => bar.t === t)
    drawLegend(legend, series.bars, index, priceDigits(series.bars), sizeS)
  }
  view = createChartView(plot, sizeS, { onPoint: showLegend, onScroll() {} })
  view.draw(series, { kind: 'all' })
  showLegend(null)
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
