import {
  direction,
  formatAgo,
  formatPercent,
  formatPrice,
  formatQuantity,
  marketStateLabel,
  providerLabel,
  staleReasonLabel,
} from '../../pricing/format.ts'
import type { MarketState, StaleReason } from '../../protocol/quote.ts'
import { drawHistory, updateHistory } from '../elements/history-chart.ts'
import { connectQuotes, type LiveQuote, type StaleCause, staleCause } from '../sdk/quotes.ts'
import type { StreamState } from '../sdk/stream.ts'

/** Ages are written anew this often, milliseconds; so is the judgement of what is still the price of now. */
const AGE_INTERVAL_MS = 1_000
/** The price is read aloud at most this often, milliseconds. */
const ANNOUNCE_INTERVAL_MS = 60_000
/** How long a first price holds until the server has said so, milliseconds. */
const DEFAULT_TTL_MS = 60_000

const byId = (id: string): HTMLElement => {
  const element = document.getElementById(id)
  if (!element) throw new Error(`the page has no #${id}`)
  return element
}

/** What the page knows of its price. `ttl` is how long a price holds, milliseconds. */
type ShownPrice = { updatedAt: string; stale: StaleReason | null; market: string; ttlMs: number }

/** As the server wrote it; null where there is no price yet. */
function readShownPrice(): ShownPrice | null {
  const { updatedAt = '', stale = '', marketState = '', ttl = '0' } = byId('facts').dataset
  if (updatedAt === '') return null
  return { updatedAt, stale: stale === '' ? null : (stale as StaleReason), market: marketState, ttlMs: Number(ttl) }
}

/** The server's clock less ours, milliseconds: a clock that is wrong here must not make a price old or young. */
const clockOffsetMs = (() => {
  const [navigation] = performance.getEntriesByType('navigation') as PerformanceNavigationTiming[]
  return Number(byId('facts').dataset.now) - (performance.timeOrigin + (navigation?.responseStart ?? 0))
})()
const serverNow = (): number => Date.now() + clockOffsetMs

let shownPrice = readShownPrice()
let connection: StreamState = { name: 'connecting' }
/** Becomes false with a loss, and true when the server has answered again. Before the first answer age alone counts. */
let connected = true
let announcedAt = Number.NEGATIVE_INFINITY
let factsRequests = 0

function showQuote(quote: LiveQuote): void {
  const known = shownPrice
  shownPrice = {
    updatedAt: quote.updatedAt,
    stale: quote.stale,
    market: quote.market_state ?? '',
    ttlMs: known?.ttlMs ?? DEFAULT_TTL_MS,
  }
  const price = byId('price')
  const text = formatPrice(quote.price)
  if (price.textContent !== text) {
    price.textContent = text
    flash(price)
  }
  const change = byId('change')
  change.textContent = formatPercent(quote.change24h)
  change.className = `move ${direction(quote.change24h)}`
  byId('market').textContent = marketStateLabel(quote.market_state as MarketState | null)
  byId('provider').textContent = providerLabel(quote.provider)
  showFacts(quote)
  document.title = `${text} ${byId('facts').dataset.symbol} · Kerb`
  updateHistory(Number(quote.price), Date.parse(quote.as_of) / 1_000)
  showAge()
  // How long a price holds is another thing in an open market than in a closed one: the server says how long.
  if (known === null || known.market !== shownPrice.market) reloadFacts()
}

function showFacts(quote: LiveQuote): void {
  const amounts: Record<string, unknown> = quote
  for (const element of document.querySelectorAll<HTMLElement>('#facts [data-amount]')) {
    const amount = amounts[element.dataset.amount ?? '']
    element.textContent = typeof amount === 'string' ? formatPrice(amount) : '–'
  }
  for (const element of document.querySelectorAll('#facts [data-quantity=volume]'))
    element.textContent = quote.volume === null ? '–' : formatQuantity(quote.volume)
  if (quote.low !== null && quote.high !== null)
    byId('day-range').textContent = `${formatPrice(quote.low)} – ${formatPrice(quote.high)}`
  showTime('updated-at', quote.updatedAt)
  showTime('as-of', quote.as_of)
}

function showTime(id: string, time: string): void {
  const element = document.getElementById(id)
  if (!element) return
  element.setAttribute('datetime', time)
  element.textContent = `${new Date(time).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

function flash(element: HTMLElement): void {
  if (matchMedia('(prefers-reduced-motion: reduce)').matches) return
  element.animate([{ opacity: 0.45 }, { opacity: 1 }], { duration: 300 })
}

/** Writes the price's age, and whether it can be taken for the price of now. */
function showAge(): void {
  if (shownPrice === null) return
  const now = serverNow()
  const time = byId('age').querySelector('time') ?? byId('age').appendChild(document.createElement('time'))
  if (time.parentElement?.childNodes.length !== 1) byId('age').replaceChildren(time)
  time.dateTime = shownPrice.updatedAt
  const text = formatAgo(now - Date.parse(shownPrice.updatedAt))
  if (time.textContent !== text) time.textContent = text
  showStale(staleCause(shownPrice, shownPrice.ttlMs, connected, now))
}

function showStale(doubt: StaleCause): void {
  const element = byId('doubt')
  const text = doubt === null ? '' : staleNotice(doubt)
  document.querySelector('.asset-head')?.classList.toggle('old-price', doubt !== null)
  if (element.textContent === text) return
  element.textContent = text
  element.hidden = doubt === null
  announce(doubt === null ? 'The price is current again.' : text, true)
}

function staleNotice(doubt: Exclude<StaleCause, null>): string {
  if (doubt === 'connection') return 'Not the price of now: the connection is lost.'
  if (doubt === 'expired') return 'Not the price of now: no newer one has come.'
  return `Not the price of now: ${staleReasonLabel(doubt)}.`
}

function announce(text: string, atOnce: boolean): void {
  if (!atOnce && performance.now() - announcedAt < ANNOUNCE_INTERVAL_MS) return
  announcedAt = performance.now()
  byId('spoken').textContent = text
}

function showConnection(state: StreamState): void {
  connection = state
  if (state.name === 'live') connected = true
  else if (state.name !== 'connecting') connected = false
  const element = byId('connection')
  const [tone, text] = connectionText(connection)
  element.dataset.state = tone
  element.replaceChildren(Object.assign(document.createElement('span'), { className: 'text', textContent: text }))
  showAge()
}

function connectionText(state: StreamState): [string, string] {
  switch (state.name) {
    case 'connecting':
      return ['waiting', 'connecting']
    case 'live':
      return ['live', 'connected']
    case 'stale':
      return ['lost', 'not responding']
    case 'reconnecting':
      return ['lost', 'connection lost, coming back']
    case 'stopped':
      return ['lost', `stopped: ${state.reason}`]
  }
}

/** Reads the facts again as the server writes them, with how long a price holds now. */
function reloadFacts(): void {
  const turn = ++factsRequests
  const name = byId('facts').dataset.name ?? ''
  fetch(`/assets/${encodeURIComponent(name)}/facts`, { headers: { accept: 'text/html' } })
    .then(async (response) => {
      if (!response.ok) throw new Error(`the facts answered ${response.status}`)
      const fresh = new DOMParser().parseFromString(await response.text(), 'text/html').getElementById('facts')
      // Answers may overtake each other: only the newest question counts.
      if (!fresh || turn !== factsRequests) return
      byId('facts').replaceWith(fresh)
      const read = readShownPrice()
      if (shownPrice && read) shownPrice.ttlMs = read.ttlMs
      showAge()
    })
    .catch((error) => console.warn(error))
}

drawHistory()
showAge()
setInterval(showAge, AGE_INTERVAL_MS)

connectQuotes({
  symbols: [byId('facts').dataset.name ?? ''],
  onState: showConnection,
  onQuotes(quotes) {
    for (const quote of quotes) showQuote(quote)
    const { symbol } = byId('facts').dataset
    announce(`${symbol} ${byId('price').textContent}, ${byId('change').textContent}`, false)
  },
})
document.addEventListener('visibilitychange', showAge)
