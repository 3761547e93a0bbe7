import type { Coverage, Gap, WireCandle } from '../../protocol/candle.ts'
import { GRANULARITY_SECONDS, type Granularity, isGranularity } from '../../protocol/granularity.ts'
import type { FeedState } from '../../protocol/product.ts'
import { connectCandles, type LiveCandle } from '../sdk/candles.ts'
import type { Stream, StreamState } from '../sdk/stream.ts'
import { type ChartTheme, type ChartView, createChartView } from './chart-view.ts'
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
const OBSERVED_ATTRIBUTES = [
  'data-product',
  'data-granularity',
  'data-position',
  'data-gaps',
  'data-marks',
  'data-candles',
]

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
  readonly #scheme = matchMedia('(prefers-color-scheme: dark)')
  readonly #onSchemeChange = () => this.#view?.setTheme(this.#theme())

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
    this.#scheme.addEventListener('change', this.#onSchemeChange)
    this.#load()
  }

  disconnectedCallback(): void {
    this.#mutations.disconnect()
    this.#scheme.removeEventListener('change', this.#onSchemeChange)
    this.#stream?.close()
    this.#stream = null
    this.#view?.remove()
    this.#view = null
    this.#seriesKey = ''
  }

  #build(): void {
    const root = this.attachShadow({ mode: 'open' })
    root.adoptedStyleSheets = [chartSheet()]
    this.#legend.className = 'legend'
    this.#legend.setAttribute('aria-hidden', 'true')
    this.#plot.className = 'plot'
    this.#plot.tabIndex = 0
    this.#plot.setAttribute('role', 'img')
    this.#plot.addEventListener('keydown', (event) => this.#onKey(event))
    const credit = document.createElement('a')
    credit.className = 'credit'
    credit.href = 'https://www.tradingview.com/'
    credit.target = '_blank'
    credit.rel = 'noopener'
    credit.textContent = 'Charts by TradingView'
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
      this.#view = createChartView(this.#plot, this.#sizeS, this.#theme(), {
        onPoint: (t) => this.#showBar(t === null ? null : (this.#series.bars.find((bar) => bar.t === t) ?? null)),
        onScroll: () => this.#onScroll(),
      })
      this.#plot.setAttribute('aria-label', `${product} candles, ${granularity.replace('_', ' ').toLowerCase()}`)
    }
    this.#view?.draw(this.#series, { kind: 'all' })
    this.#changed()
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
    this.#series = series
    this.#view?.draw(series, change)
    this.#changed()
  }

  #applySnapshot(candles: LiveCandle[], gaps: Gap[]): void {
    const snapshot = { bars: this.#ownBars(candles).sort((a, b) => a.t - b.t), gaps }
    const series = applySnapshot(this.#series, snapshot, this.#sizeS)
    if (series === null && !this.#emit('spot-lost', null)) return
    this.#series = series ?? snapshot
    this.#view?.draw(this.#series, { kind: 'all' })
    this.#changed()
  }

  #applyGaps(from: number, gaps: Gap[]): void {
    const series = replaceGaps(this.#series, from, gaps)
    if (JSON.stringify(series.gaps) === JSON.stringify(this.#series.gaps)) return
    this.#series = series
    this.#view?.draw(series, { kind: 'all' })
    this.#changed()
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
      this.#series = prependBars(this.#series, { bars: page.candles.map(toBar), gaps: page.gaps })
      this.#view?.draw(this.#series, { kind: 'all' })
      this.#changed()
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
    drawLegend(this.#legend, bars[index] ?? null, bars[index - 1] ?? null, priceDigits(bars), this.#sizeS)
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

  #changed(): void {
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

  #theme(): ChartTheme {
    const style = getComputedStyle(this)
    const color = (name: string, fallback: string) => style.getPropertyValue(name).trim() || fallback
    const dark = this.#scheme.matches
    return {
      text: color('--chart-text', dark ? '#a3a8b3' : '#565d6b'),
      grid: color('--chart-grid', dark ? '#20242c' : '#eceef2'),
      line: color('--chart-line', dark ? '#5b6270' : '#7a8291'),
      up: color('--chart-up', dark ? '#2fb38a' : '#0f8a67'),
      down: color('--chart-down', dark ? '#ef6a5f' : '#cf3f36'),
      upMuted: color('--chart-up-muted', dark ? '#2fb38a59' : '#0f8a6759'),
      downMuted: color('--chart-down-muted', dark ? '#ef6a5f59' : '#cf3f3659'),
      gap: color('--chart-gap', dark ? '#d99a2b2e' : '#d99a2b2e'),
      font: style.fontFamily,
    }
  }
}
