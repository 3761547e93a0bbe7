import type { Coverage, Gap, WireCandle } from '../../protocol/candle.ts'
import { GRANULARITY_SECONDS, type Granularity, isGranularity } from '../../protocol/granularity.ts'
import type { FeedState } from '../../protocol/product.ts'
import { connectCandles, type LiveCandle } from '../sdk/candles.ts'
import type { Stream, StreamState } from '../sdk/stream.ts'
import { type ChartView, createChartView } from './chart-view.ts'
import { drawLegend } from './legend.ts'
import {
  applySnapshot,
  type Bar,
  type CoverageSummary,
  mergeBars,
  prependBars,
  priceDigits,
  replaceGaps,
  type Series,
  type SeriesChange,
  summarizeCoverage,
  toBar,
} from './series.ts'
import { chartSheet } from './spot-chart-style.ts'

/** The bubbling `CustomEvent`s of a chart, by name. */
export type SpotChartEvents = {
  /** The state of its connection; null if it has none. */
  'spot-state': StreamState | null
  /** The `FeedState` of the exchange's feed, whenever it changes. */
  'spot-feed': FeedState
  /** A bar or the visible range changed. */
  'spot-change': { bars: readonly Bar[]; digits: number; coverage: CoverageSummary }
  /** Bars may be missing and history must be read again. A page that does so prevents the default. */
  'spot-lost': null
}

/** The attributes of the chart and its canvas that hold its state: a change of any of them redraws the chart. */
const OBSERVED_ATTRIBUTES = ['product', 'granularity', 'position', 'gaps', 'marks', 'candles'].map(
  (name) => `data-${name}`,
)

/** Bars fetched at once when the user scrolls towards the first one. */
const PAGE_LIMIT = 300
/** Pause after a failed fetch of history. */
const RETRY_MS = 5_000

/**
 * `<spot-chart data-product data-granularity><canvas data-candles='[{"t","o","h","l","c","v"}, …]'></canvas></spot-chart>`
 * draws the candles of its canvas without a request, and again whenever they change. With `data-position` it then follows
 * the product's socket from that position. `data-gaps` holds `[[from, to], …]`, `data-marks` the other properties of bars:
 * `{"partial":[start, …],"gap":[…],"forming":[…],"revised":[[start, rev], …]}`. An empty `data-position` means that the
 * product has history but no stream now.
 */
export class SpotChart extends HTMLElement {
  #series: Series = { bars: [], gaps: [] }
  #view: ChartView | null = null
  #stream: Stream | null = null
  #seriesKey = ''
  #sizeS = 60
  #crosshairBar: Bar | null = null
  #loadingOlder = false
  #atStart = false
  #changeFrame = 0
  readonly #legend = document.createElement('p')
  readonly #plot = document.createElement('div')
  readonly #mutations = new MutationObserver(() => this.#load())

  /** The drawn bars, for scripts and tests. */
  get bars(): readonly Bar[] {
    return this.#series.bars
  }

  connectedCallback(): void {
    if (!this.shadowRoot) this.#build()
    this.#mutations.observe(this, {
      attributes: true,
      attributeFilter: OBSERVED_ATTRIBUTES,
      childList: true,
      subtree: true,
    })
    this.#load()
  }

  disconnectedCallback(): void {
    this.#mutations.disconnect()
    this.#stream?.close()
    this.#stream = null
    this.#view?.remove()
    this.#view = null
    this.#seriesKey = ''
  }

  #build(): void {
    const root = this.attachShadow({ mode: 'open' })
    root.adoptedStyleSheets = [chartSheet]
    Object.assign(this.#legend, { className: 'legend', ariaHidden: 'true' })
    Object.assign(this.#plot, { className: 'plot', tabIndex: 0, role: 'img' })
    this.#plot.addEventListener('keydown', (event) => this.#onKey(event))
    const credit = Object.assign(document.createElement('a'), {
      className: 'credit',
      href: 'https://www.tradingview.com/',
      target: '_blank',
      rel: 'noopener',
      textContent: 'Charts by TradingView',
    })
    root.append(this.#legend, this.#plot, credit)
  }

  /** Reads the state of the attributes and the canvas. The visible range stays if product and granularity do. */
  #load(): void {
    const product = this.dataset.product ?? ''
    const granularity = this.dataset.granularity ?? ''
    if (!isGranularity(granularity)) return
    this.#series = this.#readDocument()
    this.#sizeS = GRANULARITY_SECONDS[granularity]
    this.#atStart = false
    const key = `${product} ${granularity}`
    if (this.#seriesKey !== key) {
      this.#seriesKey = key
      this.#crosshairBar = null
      this.#view?.remove()
      this.#view = createChartView(this.#plot, this.#sizeS, {
        onPoint: (t) => this.#showBar(t === null ? null : (this.#series.bars.find((bar) => bar.t === t) ?? null)),
        onScroll: () => this.#onScroll(),
      })
      this.#plot.setAttribute('aria-label', `${product} candles, ${granularity.replace('_', ' ').toLowerCase()}`)
    }
    this.#setSeries(this.#series)
    this.#connect(product, granularity)
  }

  /** The series that the server rendered into the document. */
  #readDocument(): Series {
    type RenderedBar = Pick<Bar, 't' | 'o' | 'h' | 'l' | 'c' | 'v'>
    type Marks = { partial?: number[]; gap?: number[]; forming?: number[]; revised?: [number, number][] }
    const canvas = this.querySelector<HTMLElement>('canvas[data-candles]')
    const candles = JSON.parse(canvas?.dataset.candles || '[]') as RenderedBar[]
    const gaps = JSON.parse(this.dataset.gaps || '[]') as Gap[]
    const marks = JSON.parse(this.dataset.marks || '{}') as Marks
    const coverage = new Map<number, Coverage>()
    for (const t of marks.partial ?? []) coverage.set(t, 'partial')
    for (const t of marks.gap ?? []) coverage.set(t, 'gap')
    const forming = new Set(marks.forming)
    const revised = new Map(marks.revised)
    const bars = candles.map((candle) => ({
      ...candle,
      coverage: coverage.get(candle.t) ?? ('full' as const),
      complete: !forming.has(candle.t),
      rev: revised.get(candle.t) ?? 0,
    }))
    return { bars, gaps }
  }

  #connect(product: string, granularity: Granularity): void {
    this.#stream?.close()
    this.#stream = null
    const since = this.dataset.position
    if (!since) {
      this.#emit('spot-state', null)
      return
    }
    this.#emit('spot-state', { name: 'connecting' })
    this.#stream = connectCandles({
      products: [product],
      granularities: [granularity],
      since,
      onState: (state) => this.#emit('spot-state', state),
      onCandles: (candles) => this.#applyUpdate(candles),
      onSnapshot: (candles, gaps) => this.#applySnapshot(candles, gaps),
      onFeed: ({ state, gaps_from, gaps }) => {
        this.#emit('spot-feed', state)
        this.#applyGaps(gaps_from, gaps)
      },
    })
  }

  #applyUpdate(candles: LiveCandle[]): void {
    const { series, change } = mergeBars(this.#series, this.#ownBars(candles))
    if (change.kind === 'none') return
    this.#setSeries(series, change)
  }

  #applySnapshot(candles: LiveCandle[], gaps: Gap[]): void {
    const snapshot = { bars: this.#ownBars(candles).sort((a, b) => a.t - b.t), gaps }
    const series = applySnapshot(this.#series, snapshot, this.#sizeS)
    if (series === null && !this.#emit('spot-lost', null)) return
    this.#setSeries(series ?? snapshot)
  }

  #applyGaps(from: number, gaps: Gap[]): void {
    const series = replaceGaps(this.#series, from, gaps)
    if (JSON.stringify(series.gaps) === JSON.stringify(this.#series.gaps)) return
    this.#setSeries(series)
  }

  /** The bars of this chart's granularity. A frame may contain others. */
  #ownBars(candles: LiveCandle[]): Bar[] {
    return candles.filter((candle) => candle.granularity === this.dataset.granularity).map(toBar)
  }

  #onScroll(): void {
    this.#scheduleChangeEvent()
    if (this.#view?.isNearStart() && this.dataset.position !== undefined) void this.#loadOlder()
  }

  /** Fetches the history before the first bar, one page at a time. */
  async #loadOlder(): Promise<void> {
    const first = this.#series.bars[0]
    if (this.#loadingOlder || this.#atStart || !first) return
    this.#loadingOlder = true
    const key = this.#seriesKey
    try {
      const { product = '', granularity = '' } = this.dataset
      const query = new URLSearchParams({ granularity, end: String(first.t), limit: String(PAGE_LIMIT) })
      // Without a start, the limit counts back from `end`.
      const response = await fetch(`/api/v1/products/${encodeURIComponent(product)}/candles?${query}`)
      if (!response.ok) throw new Error(`the history request failed with status ${response.status}`)
      const page = (await response.json()) as { candles: WireCandle[]; gaps: Gap[] }
      if (key !== this.#seriesKey) return
      if (page.candles.length === 0) this.#atStart = true
      this.#setSeries(prependBars(this.#series, { bars: page.candles.map(toBar), gaps: page.gaps }))
    } catch (error) {
      // The chart works without older bars; a later scroll tries again.
      console.warn(error)
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    } finally {
      this.#loadingOlder = false
    }
  }

  #showBar(bar: Bar | null): void {
    this.#crosshairBar = bar
    this.#drawLegend()
  }

  #drawLegend(): void {
    const { bars } = this.#series
    const index = this.#crosshairBar ? bars.findIndex((bar) => bar.t === this.#crosshairBar?.t) : bars.length - 1
    drawLegend(this.#legend, bars, index, priceDigits(bars), this.#sizeS)
  }

  /** Arrow keys move the crosshair from bar to bar, Escape hides it. */
  #onKey(event: KeyboardEvent): void {
    const step = event.key === 'ArrowLeft' ? -1 : event.key === 'ArrowRight' ? 1 : 0
    if (step === 0 && event.key !== 'Escape') return
    event.preventDefault()
    const { bars } = this.#series
    const from = this.#crosshairBar ? bars.findIndex((bar) => bar.t === this.#crosshairBar?.t) : bars.length
    const bar = step === 0 ? null : (bars[Math.min(Math.max(from + step, 0), bars.length - 1)] ?? null)
    this.#view?.setCrosshair(bar)
    this.#showBar(bar)
  }

  #setSeries(series: Series, change: SeriesChange = { kind: 'all' }): void {
    this.#series = series
    this.#view?.draw(series, change)
    this.#drawLegend()
    this.#scheduleChangeEvent()
  }

  /** Dispatches `spot-change`, at most once per animation frame. */
  #scheduleChangeEvent(): void {
    if (this.#changeFrame !== 0) return
    this.#changeFrame = requestAnimationFrame(() => {
      this.#changeFrame = 0
      const { bars } = this.#series
      const range = this.#view?.visibleRange() ?? { from: bars[0]?.t ?? 0, to: bars.at(-1)?.t ?? 0 }
      const coverage = summarizeCoverage(this.#series, range.from, range.to, this.#sizeS)
      this.#emit('spot-change', { bars, digits: priceDigits(bars), coverage })
    })
  }

  #emit<K extends keyof SpotChartEvents>(type: K, detail: SpotChartEvents[K]): boolean {
    return this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, cancelable: true }))
  }
}
