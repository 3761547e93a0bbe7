import { connectPortfolio, type PortfolioConnection } from '../sdk/portfolio.ts'
import type { PortfolioState } from '../sdk/portfolio-state.ts'
import { byId, setText } from './live-figures.ts'

/** A page's total is read aloud at most this often, milliseconds. */
const ANNOUNCE_INTERVAL_MS = 60_000

/** How the page's connection is, in a word or two, and whether that is good. */
function connectionText(state: PortfolioConnection): [tone: 'live' | 'waiting' | 'lost', text: string] {
  switch (state.name) {
    case 'live':
      return ['live', 'live']
    case 'connecting':
      return ['waiting', 'connecting']
    case 'polling':
      return state.error === null ? ['waiting', 'every 15 s'] : ['lost', 'not connected, trying every 15 s']
    case 'stale':
      return ['lost', 'not responding']
    case 'reconnecting':
      return ['lost', 'not connected, coming back']
    case 'stopped':
      return ['lost', 'not connected']
    case 'signed_out':
      return ['lost', 'not connected: signed out']
  }
}

function showConnection(state: PortfolioConnection): void {
  const [tone, text] = connectionText(state)
  byId('connection').dataset.state = tone
  setText(byId('connection').querySelector('.text'), text)
}

let announcedAt = Number.NEGATIVE_INFINITY

/** Has something read aloud, unless something was a short while ago. */
export function announce(text: string): void {
  if (performance.now() - announcedAt < ANNOUNCE_INTERVAL_MS) return
  announcedAt = performance.now()
  byId('spoken').textContent = text
}

/**
 * Follows the portfolio of who is signed in, and shows how the page is connected.
 * @param show takes the newest state, whenever it changes
 */
export function followPortfolio(show: (state: PortfolioState) => void): void {
  showConnection({ name: 'connecting' })
  connectPortfolio({ onChange: show, onState: showConnection })
}

let reloading = false
let reloadQueued = false

/**
 * Reads the page again as the server writes it and takes these parts of it, with which what is not in the page yet comes
 * into it. What is asked for while it is read is done once, after that.
 * @param done called each time when the parts are there, or could not be read
 */
export function reloadParts(ids: readonly string[], done: () => void): void {
  if (reloading) {
    reloadQueued = true
    return
  }
  reloading = true
  replaceParts(ids)
    .catch((error) => console.warn(error))
    .finally(() => {
      reloading = false
      const more = reloadQueued
      reloadQueued = false
      done()
      if (more) reloadParts(ids, done)
    })
}

async function replaceParts(ids: readonly string[]): Promise<void> {
  const response = await fetch(location.href, { headers: { accept: 'text/html' } })
  if (!response.ok) throw new Error(`the page answered ${response.status}`)
  const fresh = new DOMParser().parseFromString(await response.text(), 'text/html')
  for (const id of ids) {
    const part = fresh.getElementById(id)
    // Somebody else may be signed in now, or nobody: their page has no such part.
    if (!part) throw new Error(`the page has no #${id} any more`)
    byId(id).replaceWith(part)
  }
}
