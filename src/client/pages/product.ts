import { GRANULARITY_SECONDS, isGranularity } from '../../protocol/granularity.ts'
import type { FeedState } from '../../protocol/product.ts'
import { compactText, percentText, priceText } from '../elements/format-number.ts'
import { shortTimeText, timeText } from '../elements/format-time.ts'
import { byId } from '../elements/live-figures.ts'
import type { Bar, CoverageSummary } from '../elements/series.ts'
import { SpotChart, type SpotChartEvents } from '../elements/spot-chart.ts'
import type { StreamState } from '../sdk/stream.ts'

/** The facts, with the state of the exchange's feed, are fetched this often. */
const FACTS_INTERVAL_MS = 10_000
/** Screen readers announce the price at most this often. */
const ANNOUNCE_INTERVAL_MS = 60_000
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

let announcedAt = 0
/** The last bar's start and volume, and when they changed: a market with visible trades is not quiet. */
let lastBarKey = ''
let tradedAt = Number.NEGATIVE_INFINITY
let connection: StreamState | null = null
/** The state of the exchange's feed from the socket; empty before the first `feed` frame. */
let feedState: FeedState | '' = ''

document.addEventListener('spot-state', (event) => {
  connection = (event as CustomEvent<SpotChartEvents['spot-state']>).detail
  showConnection()
})

document.addEventListener('spot-change', (event) => {
  const { bars, digits, coverage } = (event as CustomEvent<SpotChartEvents['spot-change']>).detail
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

document.addEventListener('spot-feed', (event) => {
  feedState = (event as CustomEvent<SpotChartEvents['spot-feed']>).detail
  showConnection()
  // The facts say since when, and what it means.
  reloadFacts()
})

document.addEventListener('spot-lost', (event) => {
  event.preventDefault()
  void showPage(location.href)
})

const isQuiet = (): boolean =>
  byId('facts').dataset.tone === 'quiet' && performance.now() - tradedAt > FACTS_INTERVAL_MS

/** Shows the state of both connections: from the page to Kerb, and from Kerb to the exchange. */
function showConnection(): void {
  // Without a stream, the text that the server rendered stays.
  if (connection === null) return
  const element = byId('connection')
  const [state, text] = connectionText(connection, isQuiet())
  if (element.dataset.state === state && element.textContent === text) return
  element.dataset.state = state
  element.replaceChildren(Object.assign(document.createElement('span'), { className: 'text', textContent: text }))
}

function connectionText(state: StreamState, quiet: boolean): [string, string] {
  switch (state.name) {
    case 'connecting':
      return ['waiting', 'connecting']
    case 'stale':
      return ['lost', 'not responding, prices may be old']
    case 'reconnecting':
      return ['lost', 'connection lost, reconnecting…']
    case 'stopped':
      return ['lost', `stopped: ${state.reason}`]
    case 'live':
      return feedText(quiet)
  }
}

/** The text for a page that is connected: the state of the exchange's feed. */
function feedText(quiet: boolean): [string, string] {
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
    change.textContent = percentText(percent)
    change.className = `move ${percent > 0 ? 'up' : percent < 0 ? 'down' : 'flat'}`
  }
  document.title = `${text} ${product()} · Kerb`
  if (performance.now() - announcedAt > ANNOUNCE_INTERVAL_MS || announcedAt === 0) {
    announcedAt = performance.now()
    byId('spoken').textContent = `${product()} ${text}, ${change.textContent} in 24 hours`
  }
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
  const start = document.createElement('th')
  start.scope = 'row'
  start.textContent = shortTimeText(bar.t, size)
  line.append(start)
  for (const price of [bar.o, bar.h, bar.l, bar.c]) line.insertCell().textContent = priceText(price, digits)
  line.cells[4]!.className = bar.c >= bar.o ? 'up' : 'down'
  line.insertCell().textContent = compactText(bar.v)
  const state = bar.complete ? (bar.rev > 0 ? 'corrected' : 'closed') : 'forming'
  line.insertCell().textContent = bar.coverage === 'full' ? state : `${state}, ${bar.coverage}`
  return line
}

/** Fetches and parses a page. @throws Error unless the status is 2xx */
async function fetchPage(address: string): Promise<Document> {
  const response = await fetch(address, { headers: { accept: 'text/html' } })
  if (!response.ok) throw new Error(`${address} failed with status ${response.status}`)
  return new DOMParser().parseFromString(await response.text(), 'text/html')
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
    const fresh = await fetchPage(address)
    if (request !== pageRequests) return
    const next = fresh.querySelector('spot-chart')
    if (!next) throw new Error(`${address} has no chart`)
    lastBarKey = ''
    for (const { name, value } of next.attributes) element.setAttribute(name, value)
    element.replaceChildren(...next.childNodes)
    for (const link of document.querySelectorAll<HTMLElement>('.granularities a'))
      if (link.dataset.granularity === element.dataset.granularity) link.setAttribute('aria-current', 'true')
      else link.removeAttribute('aria-current')
    replaceFacts(fresh)
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

function replaceFacts(fresh: Document): void {
  const facts = fresh.getElementById('facts')
  if (!facts) return
  byId('facts').replaceWith(facts)
  showConnection()
}

document.querySelector('.granularities')?.addEventListener('click', (event) => {
  const link = (event.target as Element).closest('a')
  const { metaKey, ctrlKey, shiftKey, button } = event as MouseEvent
  if (!link || metaKey || ctrlKey || shiftKey || button !== 0) return
  event.preventDefault()
  void showPage(link.href)
})

let factsRequests = 0

function reloadFacts(): void {
  if (document.hidden) return
  const request = ++factsRequests
  fetchPage(`/products/${encodeURIComponent(product())}/facts`)
    .then((fresh) => {
      // Responses may arrive out of order: only the newest request counts.
      if (request === factsRequests) replaceFacts(fresh)
    })
    .catch((error) => console.warn(error))
}
setInterval(reloadFacts, FACTS_INTERVAL_MS)
document.addEventListener('visibilitychange', reloadFacts)

customElements.define('spot-chart', SpotChart)
