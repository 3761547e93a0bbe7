import {
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  createChart,
  HistogramSeries,
  type MouseEventParams,
  type Time,
  type UTCTimestamp,
} from 'lightweight-charts'
import { priceText } from './format-number.ts'
import { timeText } from './format-time.ts'
import { type Bar, priceDigits, type Series, type SeriesChange, timeSlots } from './series.ts'

/** Colours of a chart, each a CSS colour; read from custom properties so that a page's theme is the chart's. */
export type ChartTheme = {
  text: string
  grid: string
  line: string
  up: string
  down: string
  upMuted: string
  downMuted: string
  gap: string
  font: string
}

/** A drawn chart. */
export type ChartView = {
  draw(series: Series, change: SeriesChange): void
  setTheme(theme: ChartTheme): void
  /** Puts the crosshair on a bar; null takes it away. */
  setCrosshair(bar: Bar | null): void
  /** Starts of the first and the last bar on screen. */
  visibleRange(): { from: number; to: number } | null
  /** True when the user has scrolled so that fewer than a screen's tenth of bars is left of it. */
  isNearStart(): boolean
  remove(): void
}

/** Pixels from one bar to the next at the beginning. */
const MIN_SPACING_PX = 6
const MAX_SPACING_PX = 16

const toTime = (t: number): UTCTimestamp => t as UTCTimestamp

/**
 * Draws candles, volume and coverage into a container.
 * @param size seconds of one candle.
 * @param events `pointed` gets the bar under the crosshair (null: none), `scrolled` comes after any move of the view.
 */
export function createChartView(
  container: HTMLElement,
  size: number,
  firstTheme: ChartTheme,
  events: { onPoint(t: number | null): void; onScroll(): void },
): ChartView {
  let theme = firstTheme
  let digits = 0
  let spaced = false
  let drawn: Series = { bars: [], gaps: [] }
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches
  const chart = createChart(container, {
    autoSize: true,
    // The logo comes with an inline style element, which the page's policy forbids; the element shows a link instead.
    layout: { attributionLogo: false, background: { type: ColorType.Solid, color: 'transparent' }, fontSize: 11 },
    crosshair: { mode: CrosshairMode.Normal },
    kineticScroll: { touch: !still, mouse: false },
    rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.08, bottom: 0.24 } },
    timeScale: { borderVisible: false, timeVisible: size < 86_400, secondsVisible: false, rightOffset: 3 },
    localization: {
      locale: 'en-GB',
      timeFormatter: (time: Time) => `${timeText(time as number, size)} UTC`,
      priceFormatter: (price: number) => priceText(price, digits),
    },
  })
  const coverage = chart.addSeries(HistogramSeries, {
    priceScaleId: 'coverage',
    lastValueVisible: false,
    priceLineVisible: false,
    autoscaleInfoProvider: () => ({ priceRange: { minValue: 0, maxValue: 1 } }),
  })
  coverage.priceScale().applyOptions({ visible: false, scaleMargins: { top: 0, bottom: 0 } })
  const volume = chart.addSeries(HistogramSeries, {
    priceScaleId: 'volume',
    lastValueVisible: false,
    priceLineVisible: false,
    priceFormat: { type: 'volume' },
  })
  volume.priceScale().applyOptions({ visible: false, scaleMargins: { top: 0.82, bottom: 0 } })
  const candles = chart.addSeries(CandlestickSeries, { priceLineVisible: true })

  const candleOf = (bar: Bar) => {
    const point = { time: toTime(bar.t), open: bar.o, high: bar.h, low: bar.l, close: bar.c }
    if (bar.coverage === 'full') return point
    const color = bar.c >= bar.o ? theme.upMuted : theme.downMuted
    return { ...point, color, borderColor: color, wickColor: color }
  }
  const volumeOf = (bar: Bar) => ({
    time: toTime(bar.t),
    value: bar.v,
    color: bar.c >= bar.o ? theme.upMuted : theme.downMuted,
  })
  // Every bar has its point here too, at 0 where all is known: a point that appears later could not be put in between.
  const coverageOf = (bar: Bar) => ({
    time: toTime(bar.t),
    value: bar.coverage === 'full' ? 0 : 1,
    color: theme.gap,
  })

  function drawAll(): void {
    const places = timeSlots(drawn, size)
    candles.setData(places.map(({ t, bar }) => (bar ? candleOf(bar) : { time: toTime(t) })))
    volume.setData(places.map(({ t, bar }) => (bar ? volumeOf(bar) : { time: toTime(t) })))
    coverage.setData(
      places.map(({ t, bar }) => (bar ? coverageOf(bar) : { time: toTime(t), value: 1, color: theme.gap })),
    )
  }

  function fitDigits(bars: readonly Bar[]): void {
    const needed = Math.max(digits, priceDigits(bars))
    if (needed === digits && digits > 0) return
    digits = needed
    candles.applyOptions({ priceFormat: { type: 'price', precision: digits, minMove: 10 ** -digits } })
  }

  /** Few bars stand further apart, so that they do not crouch at the edge; after that the user has the say. */
  function space(count: number): void {
    if (count === 0) return
    spaced = true
    const barSpacing = Math.min(MAX_SPACING_PX, Math.max(MIN_SPACING_PX, (container.clientWidth * 0.75) / count))
    chart.timeScale().applyOptions({ barSpacing })
  }

  function applyTheme(): void {
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

  const onCrosshair = (event: MouseEventParams<Time>) => events.onPoint((event.time as number | undefined) ?? null)
  chart.subscribeCrosshairMove(onCrosshair)
  chart.timeScale().subscribeVisibleLogicalRangeChange(events.onScroll)
  applyTheme()

  return {
    draw(series, change) {
      drawn = series
      if (change.kind === 'none') return
      if (change.kind === 'all') {
        digits = 0
        fitDigits(series.bars)
        if (!spaced) space(series.bars.length)
        drawAll()
        return
      }
      fitDigits(change.bars.map(({ bar }) => bar))
      for (const { bar, older } of change.bars) {
        candles.update(candleOf(bar), older)
        volume.update(volumeOf(bar), older)
        coverage.update(coverageOf(bar), older)
      }
    },
    setTheme(next) {
      theme = next
      applyTheme()
      drawAll()
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
      chart.unsubscribeCrosshairMove(onCrosshair)
      chart.remove()
    },
  }
}
