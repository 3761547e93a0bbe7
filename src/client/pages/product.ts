import { GRANULARITY_SECONDS, isGranularity } from '../../protocol/granularity.ts'
import { compactText, percentText, priceText } from '../elements/format-number.ts'
import { shortTimeText, timeText } from '../elements/format-time.ts'
import type { Bar, CoverageSummary } from '../elements/series.ts'
import { SpotChart, type SpotChartEvents } from '../elements/spot-chart.ts'
import type { StreamState } from '../sdk/stream.ts'

/** The feed's own state, which a connection to us cannot show, is read this often. */
const FACTS_INTERVAL_MS = 10_000
/** The price is read aloud at most this often. */
const ANNOUNCE_INTERVAL_MS = 60_000
const LATEST_BARS = 8

const byId = (id: string): HTMLElement => {
  const element = document.getElementById(id)
  if (!element) throw new Error(`the page has no #${id}`)
  return element
}
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
/** The last bar as it was seen last, and when it moved: a market that moves before our eyes is not quiet. */
let lastBarKey = ''
let movedAt = Number.NEGATIVE_INFINITY
let connection: StreamState | null = null
/** How the exchange's feed is, as the socket tells it: a `FeedState`. */
let feedState = ''

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
    const now = `${last.t} ${last.v}`
    if (lastBarKey !== '' && lastBarKey !== now) movedAt = performance.now()
    lastBarKey = now
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
  // Since when, and what it means, the server says.
  reloadFacts()
})

document.addEventListener('spot-lost', (event) => {
  event.preventDefault()
  void showPage(location.href)
})

const isQuiet = (): boolean => byId('facts').dataset.tone === 'quiet' && performance.now() - movedAt > FACTS_INTERVAL_MS

/** What the reader sees of both links: ours to the page, and the exchange's to us. */
function showConnection(): void {
  // Without a stream what the server wrote stays true.
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
      return ['lost', 'connection lost, coming back']
    case 'stopped':
      return ['lost', `stopped: ${state.reason}`]
    case 'live':
      return feedText(quiet)
  }
}

/** Our link to the page is alive: then what counts is the exchange's link to us. */
function feedText(quiet: boolean): [string, string] {
  switch (feedState) {
    case 'live':
      return quiet ? ['live', 'live, quiet market'] : ['live', 'live']
    case 'silent':
      return ['lost', 'connected, but the feed is dead']
    case 'waiting':
      return ['lost', 'connected, but the feed is lost']
    case 'refused':
      return ['lost', 'connected, but there is no feed']
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
  const parts = [`${all} ${all === 1 ? 'candle' : 'candles'} on screen`]
  if (all === full && gaps.length === 0) return `${parts[0]}, all fully covered`
  if (full > 0) parts.push(`${full} full`)
  if (partial > 0) parts.push(`${partial} partial`)
  if (gap > 0) parts.push(`${gap} with missing trades`)
  const named = gaps.slice(-3).map(([from, to]) => `${timeText(from, 60)} to ${timeText(to, 60).slice(11)}`)
  if (gaps.length > 0)
    parts.push(
      `${gaps.length} ${gaps.length === 1 ? 'gap' : 'gaps'} (${gaps.length > 3 ? '… ' : ''}${named.join(', ')} UTC)`,
    )
  return parts.join(', ')
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
  const state = bar.complete ? (bar.rev > 0 ? `revised ${bar.rev}×` : 'closed') : 'forming'
  line.insertCell().textContent = bar.coverage === 'full' ? state : `${state}, ${bar.coverage}`
  return line
}

/** The page of an address, parsed. */
async function fetchPage(address: string): Promise<Document> {
  const response = await fetch(address, { headers: { accept: 'text/html' } })
  if (!response.ok) throw new Error(`${address} answered ${response.status}`)
  return new DOMParser().parseFromString(await response.text(), 'text/html')
}

let pageRequests = 0

/**
 * Shows the page of another granularity, or this one anew, without a reload: the very page that a link would open is
 * read, and its chart's state, with the place in the stream that belongs to it, is put into the chart that is here.
 */
async function showPage(address: string): Promise<void> {
  const turn = ++pageRequests
  const element = chart()
  element.setAttribute('aria-busy', 'true')
  try {
    const fresh = await fetchPage(address)
    if (turn !== pageRequests) return
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
    // The link's own way still works, and shows what is wrong if something is.
    if (turn === pageRequests && address !== location.href) location.assign(address)
    else if (turn === pageRequests) setTimeout(() => void showPage(address), 5_000)
  } finally {
    if (turn === pageRequests) element.removeAttribute('aria-busy')
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
  const turn = ++factsRequests
  fetchPage(`/products/${encodeURIComponent(product())}/facts`)
    .then((fresh) => {
      // Answers may overtake each other: only the newest question counts.
      if (turn === factsRequests) replaceFacts(fresh)
    })
    .catch((error) => console.warn(error))
}
setInterval(reloadFacts, FACTS_INTERVAL_MS)
document.addEventListener('visibilitychange', reloadFacts)

customElements.define('spot-chart', SpotChart)
