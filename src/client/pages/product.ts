import { isGranularity, SECONDS } from '../../protocol/granularity.ts'
import { compactText, percentText, priceText } from '../elements/format-number.ts'
import { shortTimeText, timeText } from '../elements/format-time.ts'
import type { Bar, CoverageSummary } from '../elements/series.ts'
import { SpotChart, type SpotChartEvents } from '../elements/spot-chart.ts'
import type { StreamState } from '../sdk/stream.ts'

/** The feed's own state, which a connection to us cannot show, is read this often. */
const FACTS_MS = 10_000
/** The price is read aloud at most this often. */
const SPEAK_MS = 60_000
const LATEST = 8

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
const sizeOf = (granularity: string): number => (isGranularity(granularity) ? SECONDS[granularity] : 60)

let spokenAt = 0
/** The last bar as it was seen last, and when it moved: a market that moves before our eyes is not quiet. */
let seen = ''
let movedAt = Number.NEGATIVE_INFINITY
let connection: StreamState | null = null
/** How the exchange's feed is, as the socket tells it: a `FeedState`. */
let feed = ''

document.addEventListener('spot-state', (event) => {
  connection = (event as CustomEvent<SpotChartEvents['spot-state']>).detail
  showConnection()
})

document.addEventListener('spot-change', (event) => {
  const { bars, digits, coverage } = (event as CustomEvent<SpotChartEvents['spot-change']>).detail
  const size = sizeOf(chart().dataset.granularity ?? '')
  const last = bars.at(-1)
  if (last) {
    showPrice(last.c, digits)
    const now = `${last.t} ${last.v}`
    if (seen !== '' && seen !== now) movedAt = performance.now()
    seen = now
    showConnection()
  }
  byId('coverage').textContent = coverageText(coverage)
  byId('bars').replaceChildren(
    ...bars
      .slice(-LATEST)
      .reverse()
      .map((bar) => row(bar, digits, size)),
  )
})

document.addEventListener('spot-feed', (event) => {
  feed = (event as CustomEvent<SpotChartEvents['spot-feed']>).detail
  showConnection()
  // Since when, and what it means, the server says.
  readFacts()
})

document.addEventListener('spot-lost', (event) => {
  event.preventDefault()
  void show(location.href)
})

const isQuiet = (): boolean => byId('facts').dataset.tone === 'quiet' && performance.now() - movedAt > FACTS_MS

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
  switch (feed) {
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
  if (performance.now() - spokenAt > SPEAK_MS || spokenAt === 0) {
    spokenAt = performance.now()
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
async function read(address: string): Promise<Document> {
  const response = await fetch(address, { headers: { accept: 'text/html' } })
  if (!response.ok) throw new Error(`${address} answered ${response.status}`)
  return new DOMParser().parseFromString(await response.text(), 'text/html')
}

let shown = 0

/**
 * Shows the page of another granularity, or this one anew, without a reload: the very page that a link would open is
 * read, and its chart's state, with the place in the stream that belongs to it, is put into the chart that is here.
 */
async function show(address: string): Promise<void> {
  const turn = ++shown
  const element = chart()
  element.setAttribute('aria-busy', 'true')
  try {
    const fresh = await read(address)
    if (turn !== shown) return
    const next = fresh.querySelector('spot-chart')
    if (!next) throw new Error(`${address} has no chart`)
    seen = ''
    for (const { name, value } of next.attributes) element.setAttribute(name, value)
    element.replaceChildren(...next.childNodes)
    for (const link of document.querySelectorAll<HTMLElement>('.granularities a'))
      if (link.dataset.granularity === element.dataset.granularity) link.setAttribute('aria-current', 'true')
      else link.removeAttribute('aria-current')
    takeFacts(fresh)
    history.replaceState(null, '', address)
  } catch (error) {
    console.warn(error)
    // The link's own way still works, and shows what is wrong if something is.
    if (turn === shown && address !== location.href) location.assign(address)
    else if (turn === shown) setTimeout(() => void show(address), 5_000)
  } finally {
    if (turn === shown) element.removeAttribute('aria-busy')
  }
}

function takeFacts(fresh: Document): void {
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
  void show(link.href)
})

let factsRead = 0

function readFacts(): void {
  if (document.hidden) return
  const turn = ++factsRead
  read(`/products/${encodeURIComponent(product())}/facts`)
    .then((fresh) => {
      // Answers may overtake each other: only the newest question counts.
      if (turn === factsRead) takeFacts(fresh)
    })
    .catch((error) => console.warn(error))
}
setInterval(readFacts, FACTS_MS)
document.addEventListener('visibilitychange', readFacts)

customElements.define('spot-chart', SpotChart)
