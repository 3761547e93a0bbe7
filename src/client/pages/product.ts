import { direction, formatPercent } from '../../pricing/format.ts'
import { GRANULARITY_SECONDS, isGranularity } from '../../protocol/granularity.ts'
import type { FeedState } from '../../protocol/product.ts'
import { compactText, priceText } from '../elements/format-number.ts'
import { shortTimeText, timeText } from '../elements/format-time.ts'
import { byId } from '../elements/live-figures.ts'
import * as livePage from '../elements/live-page.ts'
import type { Bar, CoverageSummary } from '../elements/series.ts'
import { SpotChart, type SpotChartEvents } from '../elements/spot-chart.ts'
import type { StreamState } from '../sdk/stream.ts'

/** The facts, with the state of the exchange's feed, are fetched this often. */
const FACTS_INTERVAL_MS = 10_000
const LATEST_BARS = 8

const chart = (): SpotChart => {
  const element = document.querySelector<SpotChart>('spot-chart')
  if (!element) throw new Error('the page has no chart')
  return element
}
const product = () => chart().dataset.product ?? ''

/** Seconds of a candle of this granularity. */
const granularitySeconds = (granularity: string): number =>
  isGranularity(granularity) ? GRANULARITY_SECONDS[granularity] : 60

/** The last bar's start and volume, and when they changed: a market with visible trades is not quiet. */
let lastBarKey = ''
let tradedAt = Number.NEGATIVE_INFINITY
let connection: StreamState | null = null
/** The state of the exchange's feed from the socket; empty before the first `feed` frame. */
let feedState: FeedState | '' = ''

/** Calls `run` with the detail of each event of this type. */
function onChart<K extends keyof SpotChartEvents>(
  type: K,
  run: (detail: SpotChartEvents[K], event: Event) => void,
): void {
  document.addEventListener(type, (event) => run((event as CustomEvent<SpotChartEvents[K]>).detail, event))
}

onChart('spot-state', (state) => {
  connection = state
  showConnection()
})

onChart('spot-change', ({ bars, digits, coverage }) => {
  const size = granularitySeconds(chart().dataset.granularity ?? '')
  const last = bars.at(-1)
  if (last) {
    showPrice(last.c, digits)
    const key = `${last.t} ${last.v}`
    if (lastBarKey !== '' && lastBarKey !== key) tradedAt = performance.now()
    lastBarKey = key
    showConnection()
  }
  byId('coverage').textContent = coverageText(coverage)
  byId('bars').replaceChildren(
    ...bars
      .slice(-LATEST_BARS)
      .reverse()
      .map((bar) => row(bar, digits, size)),
  )
})

onChart('spot-feed', (state) => {
  feedState = state
  showConnection()
  // The facts say since when, and what it means.
  reloadFacts()
})

onChart('spot-lost', (_, event) => {
  event.preventDefault()
  void showPage(location.href)
})

const isQuiet = (): boolean =>
  byId('facts').dataset.tone === 'quiet' && performance.now() - tradedAt > FACTS_INTERVAL_MS

/** Shows the state of both connections: from the page to Kerb, and from Kerb to the exchange. */
function showConnection(): void {
  // Without a stream, the text that the server rendered stays.
  if (connection !== null) livePage.showConnection(livePage.connectionBadge(connection, feedBadge(isQuiet())))
}

/** The badge of a page that is connected: the state of the exchange's feed. */
function feedBadge(quiet: boolean): ReturnType<typeof livePage.connectionBadge> {
  switch (feedState) {
    case 'live':
      return quiet ? ['live', 'live, quiet market'] : ['live', 'live']
    case 'silent':
      return ['lost', 'connected, but no data from the exchange']
    case 'waiting':
      return ['lost', 'connected, but the feed is disconnected']
    case 'refused':
      return ['lost', 'connected, but the feed is unavailable']
    default:
      return ['waiting', 'connected, feed opening']
  }
}

function showPrice(price: number, digits: number): void {
  const text = priceText(price, digits)
  const cell = byId('price')
  if (cell.textContent !== text) cell.textContent = text
  const before = Number(byId('facts').dataset.before)
  const change = byId('change')
  if (before > 0) {
    const percent = (100 * (price - before)) / before
    change.textContent = formatPercent(percent)
    change.className = `move ${direction(percent)}`
  }
  document.title = `${text} ${product()} · Kerb`
  livePage.announce(`${product()} ${text}, ${change.textContent} in 24 hours`)
}

function coverageText({ full, partial, gap, gaps }: CoverageSummary): string {
  const all = full + partial + gap
  const parts = [`${all} ${all === 1 ? 'candle' : 'candles'}`]
  if (all === full && gaps.length === 0) return `${parts[0]} · no missing trades`
  if (full > 0) parts.push(`${full} full`)
  if (partial > 0) parts.push(`${partial} partial`)
  if (gap > 0) parts.push(`${gap} with missing trades`)
  const named = gaps.slice(-3).map(([from, to]) => `${timeText(from, 60)} to ${timeText(to, 60).slice(11)}`)
  if (gaps.length > 0)
    parts.push(
      `${gaps.length} ${gaps.length === 1 ? 'gap' : 'gaps'} (${gaps.length > 3 ? '… ' : ''}${named.join(', ')} UTC)`,
    )
  return parts.join(' · ')
}

function row(bar: Bar, digits: number, size: number): HTMLTableRowElement {
  const line = document.createElement('tr')
  if (bar.coverage !== 'full') line.className = 'broken'
  const start = { scope: 'row', textContent: shortTimeText(bar.t, size) }
  line.append(Object.assign(document.createElement('th'), start))
  for (const price of [bar.o, bar.h, bar.l, bar.c]) line.insertCell().textContent = priceText(price, digits)
  line.cells[4]!.className = bar.c >= bar.o ? 'up' : 'down'
  line.insertCell().textContent = compactText(bar.v)
  const state = bar.complete ? (bar.rev > 0 ? 'corrected' : 'closed') : 'forming'
  line.insertCell().textContent = bar.coverage === 'full' ? state : `${state}, ${bar.coverage}`
  return line
}

let pageRequests = 0

/**
 * Shows the page of another granularity, or this one again, without a reload: fetches the page that a link would open and
 * copies its chart's state, with the position in the stream, into the chart of this page.
 */
async function showPage(address: string): Promise<void> {
  const request = ++pageRequests
  const element = chart()
  element.setAttribute('aria-busy', 'true')
  try {
    const fresh = await livePage.fetchPage(address)
    if (request !== pageRequests) return
    const next = fresh.querySelector('spot-chart')
    if (!next) throw new Error(`${address} has no chart`)
    lastBarKey = ''
    for (const { name, value } of next.attributes) element.setAttribute(name, value)
    element.replaceChildren(...next.childNodes)
    for (const link of document.querySelectorAll<HTMLElement>('.granularities a'))
      if (link.dataset.granularity === element.dataset.granularity) link.setAttribute('aria-current', 'true')
      else link.removeAttribute('aria-current')
    replaceFacts(fresh.getElementById('facts'))
    history.replaceState(null, '', address)
  } catch (error) {
    console.warn(error)
    // Opening the link still works, or shows the error.
    if (request === pageRequests && address !== location.href) location.assign(address)
    else if (request === pageRequests) setTimeout(() => void showPage(address), 5_000)
  } finally {
    if (request === pageRequests) element.removeAttribute('aria-busy')
  }
}

function replaceFacts(facts: HTMLElement | null): void {
  if (facts) byId('facts').replaceWith(facts)
  showConnection()
}

document.querySelector('.granularities')?.addEventListener('click', (event) => {
  const link = (event.target as Element).closest('a')
  const { metaKey, ctrlKey, shiftKey, button } = event as MouseEvent
  if (!link || metaKey || ctrlKey || shiftKey || button !== 0) return
  event.preventDefault()
  void showPage(link.href)
})

function reloadFacts(): void {
  if (!document.hidden) livePage.reloadFacts(`/products/${encodeURIComponent(product())}/facts`, replaceFacts)
}
setInterval(reloadFacts, FACTS_INTERVAL_MS)
document.addEventListener('visibilitychange', reloadFacts)

customElements.define('spot-chart', SpotChart)
