import {
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  createChart,
  HistogramSeries,
  type Time,
  type UTCTimestamp,
} from 'lightweight-charts'
import { DAY_S } from '../../time.ts'
import { priceText } from './format-number.ts'
import { timeText } from './format-time.ts'
import { type Bar, priceDigits, type Series, type SeriesChange, timeSlots } from './series.ts'

const darkScheme = matchMedia('(prefers-color-scheme: dark)')

/** The colours of a chart: custom properties of its page, or else defaults for its colour scheme. */
function readTheme(element: HTMLElement) {
  const style = getComputedStyle(element)
  const color = (name: string, light: string, dark: string) =>
    style.getPropertyValue(`--chart-${name}`).trim() || (darkScheme.matches ? dark : light)
  return {
    text: color('text', '#565d6b', '#a3a8b3'),
    grid: color('grid', '#eceef2', '#20242c'),
    line: color('line', '#7a8291', '#5b6270'),
    up: color('up', '#0f8a67', '#2fb38a'),
    down: color('down', '#cf3f36', '#ef6a5f'),
    upMuted: color('up-muted', '#0f8a6759', '#2fb38a59'),
    downMuted: color('down-muted', '#cf3f3659', '#ef6a5f59'),
    gap: color('gap', '#d99a2b2e', '#d99a2b2e'),
    font: style.fontFamily,
  }
}

/** A chart in its container. */
export type ChartView = {
  draw(series: Series, change: SeriesChange): void
  /** Moves the crosshair to a bar; null hides it. */
  setCrosshair(bar: Bar | null): void
  /** Starts of the first and the last visible bar, unix seconds. */
  visibleRange(): { from: number; to: number } | null
  /** True when less than a tenth of a screen of bars is left before the visible ones. */
  isNearStart(): boolean
  remove(): void
}

/** Initial pixels from one bar to the next. */
const MIN_SPACING_PX = 6
const MAX_SPACING_PX = 16

const toTime = (t: number): UTCTimestamp => t as UTCTimestamp

/**
 * Creates a chart of candles, volume and coverage in a container.
 * @param sizeS seconds of one candle
 * @param events `onPoint` gets the start of the bar under the crosshair (null: none), `onScroll` follows any scroll or zoom
 */
export function createChartView(
  container: HTMLElement,
  sizeS: number,
  events: { onPoint(t: number | null): void; onScroll(): void },
): ChartView {
  let theme = readTheme(container)
  let digits = 0
  let isSpaced = false
  let drawn: Series = { bars: [], gaps: [] }
  const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)').matches
  const chart = createChart(container, {
    autoSize: true,
    // The logo needs an inline style element, which the page's content security policy forbids. `<spot-chart>` has a link.
    layout: { attributionLogo: false, background: { type: ColorType.Solid, color: 'transparent' }, fontSize: 11 },
    crosshair: { mode: CrosshairMode.Normal },
    kineticScroll: { touch: !reducedMotion, mouse: false },
    rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.08, bottom: 0.24 } },
    timeScale: { borderVisible: false, timeVisible: sizeS < DAY_S, secondsVisible: false, rightOffset: 3 },
    localization: {
      locale: 'en-GB',
      timeFormatter: (time: Time) => `${timeText(time as number, sizeS)} UTC`,
      priceFormatter: (price: number) => priceText(price, digits),
    },
  })
  const hidden = { lastValueVisible: false, priceLineVisible: false }
  const coverage = chart.addSeries(HistogramSeries, {
    ...hidden,
    priceScaleId: 'coverage',
    autoscaleInfoProvider: () => ({ priceRange: { minValue: 0, maxValue: 1 } }),
  })
  coverage.priceScale().applyOptions({ visible: false, scaleMargins: { top: 0, bottom: 0 } })
  const volume = chart.addSeries(HistogramSeries, {
    ...hidden,
    priceScaleId: 'volume',
    priceFormat: { type: 'volume' },
  })
  volume.priceScale().applyOptions({ visible: false, scaleMargins: { top: 0.82, bottom: 0 } })
  const candles = chart.addSeries(CandlestickSeries, { priceLineVisible: true })

  const candlePoint = (bar: Bar) => {
    const point = { time: toTime(bar.t), open: bar.o, high: bar.h, low: bar.l, close: bar.c }
    if (bar.coverage === 'full') return point
    const color = bar.c >= bar.o ? theme.upMuted : theme.downMuted
    return { ...point, color, borderColor: color, wickColor: color }
  }
  const volumePoint = (bar: Bar) => ({
    time: toTime(bar.t),
    value: bar.v,
    color: bar.c >= bar.o ? theme.upMuted : theme.downMuted,
  })
  // Bars with full coverage have a point too, at 0: the chart cannot insert a point between others later.
  const coveragePoint = (bar: Bar) => ({
    time: toTime(bar.t),
    value: bar.coverage === 'full' ? 0 : 1,
    color: theme.gap,
  })

  function drawAll(): void {
    const slots = timeSlots(drawn, sizeS)
    candles.setData(slots.map(({ t, bar }) => (bar ? candlePoint(bar) : { time: toTime(t) })))
    volume.setData(slots.map(({ t, bar }) => (bar ? volumePoint(bar) : { time: toTime(t) })))
    coverage.setData(
      slots.map(({ t, bar }) => (bar ? coveragePoint(bar) : { time: toTime(t), value: 1, color: theme.gap })),
    )
  }

  function fitDigits(bars: readonly Bar[]): void {
    const needed = Math.max(digits, priceDigits(bars))
    if (needed === digits && digits > 0) return
    digits = needed
    candles.applyOptions({ priceFormat: { type: 'price', precision: digits, minMove: 10 ** -digits } })
  }

  /** Spreads few bars over the width. Called once: afterwards the user zooms. */
  function spaceBars(count: number): void {
    if (count === 0) return
    isSpaced = true
    const barSpacing = Math.min(MAX_SPACING_PX, Math.max(MIN_SPACING_PX, (container.clientWidth * 0.75) / count))
    chart.timeScale().applyOptions({ barSpacing })
  }

  function applyTheme(): void {
    theme = readTheme(container)
    chart.applyOptions({
      layout: { textColor: theme.text, fontFamily: theme.font },
      grid: { vertLines: { color: theme.grid }, horzLines: { color: theme.grid } },
      crosshair: {
        vertLine: { color: theme.line, labelBackgroundColor: theme.line },
        horzLine: { color: theme.line, labelBackgroundColor: theme.line },
      },
    })
    candles.applyOptions({
      upColor: theme.up,
      downColor: theme.down,
      borderUpColor: theme.up,
      borderDownColor: theme.down,
      wickUpColor: theme.up,
      wickDownColor: theme.down,
    })
  }

  function onSchemeChange(): void {
    applyTheme()
    drawAll()
  }

  chart.subscribeCrosshairMove(({ time }) => events.onPoint((time as number | undefined) ?? null))
  chart.timeScale().subscribeVisibleLogicalRangeChange(events.onScroll)
  applyTheme()
  darkScheme.addEventListener('change', onSchemeChange)

  return {
    draw(series, change) {
      drawn = series
      if (change.kind === 'none') return
      if (change.kind === 'all') {
        digits = 0
        fitDigits(series.bars)
        if (!isSpaced) spaceBars(series.bars.length)
        drawAll()
        return
      }
      fitDigits(change.bars.map(({ bar }) => bar))
      for (const { bar, older } of change.bars) {
        candles.update(candlePoint(bar), older)
        volume.update(volumePoint(bar), older)
        coverage.update(coveragePoint(bar), older)
      }
    },
    setCrosshair(bar) {
      if (bar) chart.setCrosshairPosition(bar.c, toTime(bar.t), candles)
      else chart.clearCrosshairPosition()
    },
    visibleRange() {
      const range = chart.timeScale().getVisibleRange()
      return range && { from: range.from as number, to: range.to as number }
    },
    isNearStart() {
      const range = chart.timeScale().getVisibleLogicalRange()
      return range !== null && range.from < (range.to - range.from) / 10
    },
    remove() {
      darkScheme.removeEventListener('change', onSchemeChange)
      chart.remove()
    },
  }
}
