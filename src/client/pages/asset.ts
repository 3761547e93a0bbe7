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
import { byId, setText, showText } from '../elements/live-figures.ts'
import * as livePage from '../elements/live-page.ts'
import { connectQuotes, type LiveQuote, type StaleCause, staleCause } from '../sdk/quotes.ts'
import type { StreamState } from '../sdk/stream.ts'

/** Ages, and whether the price is outdated, are updated this often. */
const AGE_INTERVAL_MS = 1_000
/** How long a first price is valid until the server has sent its time to live. */
const DEFAULT_TTL_MS = 60_000

/** The displayed price. `ttlMs` is how long it is valid. */
type ShownPrice = { updatedAt: string; stale: StaleReason | null; market: string; ttlMs: number }

/** The price that the server rendered; null if there is none yet. */
function readShownPrice(): ShownPrice | null {
  const { updatedAt = '', stale = '', marketState = '', ttl = '0' } = byId('facts').dataset
  if (updatedAt === '') return null
  return { updatedAt, stale: stale === '' ? null : (stale as StaleReason), market: marketState, ttlMs: Number(ttl) }
}

/** The server's clock minus this computer's, which may be wrong. */
const clockOffsetMs = (() => {
  const [navigation] = performance.getEntriesByType('navigation') as PerformanceNavigationTiming[]
  return Number(byId('facts').dataset.now) - (performance.timeOrigin + (navigation?.responseStart ?? 0))
})()
const serverNow = (): number => Date.now() + clockOffsetMs

let shownPrice = readShownPrice()
/** False from a loss until the server has answered again. True before the first answer: then only the age counts. */
let connected = true

function showQuote(quote: LiveQuote): void {
  const before = shownPrice
  shownPrice = {
    updatedAt: quote.updatedAt,
    stale: quote.stale,
    market: quote.market_state ?? '',
    ttlMs: before?.ttlMs ?? DEFAULT_TTL_MS,
  }
  const text = formatPrice(quote.price)
  showText(byId('price'), text)
  const change = byId('change')
  change.textContent = formatPercent(quote.change24h)
  change.className = `move ${direction(quote.change24h)}`
  byId('market').textContent = marketStateLabel(quote.market_state as MarketState | null)
  byId('provider').textContent = providerLabel(quote.provider)
  showFacts(quote)
  document.title = `${text} ${byId('facts').dataset.symbol} · Kerb`
  updateHistory(Number(quote.price), Date.parse(quote.as_of) / 1_000)
  showAge()
  // The time to live depends on whether the market is open; the facts have it.
  if (before === null || before.market !== shownPrice.market) reloadFacts()
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

/** Shows the price's age, and a notice if the price is outdated. */
function showAge(): void {
  if (shownPrice === null) return
  const now = serverNow()
  const time = byId('age').querySelector('time') ?? byId('age').appendChild(document.createElement('time'))
  if (time.parentElement?.childNodes.length !== 1) byId('age').replaceChildren(time)
  time.dateTime = shownPrice.updatedAt
  setText(time, formatAgo(now - Date.parse(shownPrice.updatedAt)))
  showStale(staleCause(shownPrice, shownPrice.ttlMs, connected, now))
}

function showStale(cause: StaleCause): void {
  const element = byId('doubt')
  const text = cause === null ? '' : staleNotice(cause)
  document.querySelector('.asset-head')?.classList.toggle('old-price', cause !== null)
  if (element.textContent === text) return
  element.textContent = text
  element.hidden = cause === null
  livePage.announce(cause === null ? 'The price is up to date again.' : text, true)
}

function staleNotice(cause: Exclude<StaleCause, null>): string {
  if (cause === 'connection') return 'Outdated: the connection is lost.'
  if (cause === 'expired') return 'Outdated: no newer price yet.'
  return `Outdated: ${staleReasonLabel(cause)}.`
}

function showConnection(state: StreamState): void {
  if (state.name === 'live') connected = true
  else if (state.name !== 'connecting') connected = false
  livePage.showConnection(livePage.connectionBadge(state, ['live', 'connected']))
  showAge()
}

/** Fetches the facts again, with the price's time to live. */
function reloadFacts(): void {
  const name = byId('facts').dataset.name ?? ''
  livePage.reloadFacts(`/assets/${encodeURIComponent(name)}/facts`, (facts) => {
    byId('facts').replaceWith(facts)
    const rendered = readShownPrice()
    if (shownPrice && rendered) shownPrice.ttlMs = rendered.ttlMs
    showAge()
  })
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
    livePage.announce(`${symbol} ${byId('price').textContent}, ${byId('change').textContent}`)
  },
})
document.addEventListener('visibilitychange', showAge)
