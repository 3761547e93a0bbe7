import { connectPortfolio, type PortfolioConnection } from '../sdk/portfolio.ts'
import type { PortfolioState } from '../sdk/portfolio-state.ts'
import { byId, setText } from './live-figures.ts'

/** Screen readers announce the total at most this often. */
const ANNOUNCE_INTERVAL_MS = 60_000

/** The tone and the label of the connection badge. */
function connectionText(state: PortfolioConnection): [tone: 'live' | 'waiting' | 'lost', text: string] {
  switch (state.name) {
    case 'live':
      return ['live', 'live']
    case 'connecting':
      return ['waiting', 'connecting']
    case 'polling':
      return state.error === null ? ['waiting', 'updates every 15 s'] : ['lost', 'offline, retrying…']
    case 'stale':
      return ['lost', 'not responding']
    case 'reconnecting':
      return ['lost', 'connection lost, reconnecting…']
    case 'stopped':
      return ['lost', 'disconnected']
    case 'signed_out':
      return ['lost', 'signed out']
  }
}

function showConnection(state: PortfolioConnection): void {
  const [tone, text] = connectionText(state)
  byId('connection').dataset.state = tone
  setText(byId('connection').querySelector('.text'), text)
}

let announcedAt = Number.NEGATIVE_INFINITY

/** Announces text to screen readers, at most once a minute. */
export function announce(text: string): void {
  if (performance.now() - announcedAt < ANNOUNCE_INTERVAL_MS) return
  announcedAt = performance.now()
  byId('spoken').textContent = text
}

/**
 * Connects the portfolio of the signed-in user, and shows the state of the connection.
 * @param show called with each new state
 */
export function followPortfolio(show: (state: PortfolioState) => void): void {
  showConnection({ name: 'connecting' })
  connectPortfolio({ onChange: show, onState: showConnection })
}

let reloading = false
let reloadQueued = false

/**
 * Fetches the page again and replaces these parts of it. Calls during a fetch lead to one more fetch after it.
 * @param done called after each fetch, whether it succeeded or not
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
      const again = reloadQueued
      reloadQueued = false
      done()
      if (again) reloadParts(ids, done)
    })
}

async function replaceParts(ids: readonly string[]): Promise<void> {
  const response = await fetch(location.href, { headers: { accept: 'text/html' } })
  if (!response.ok) throw new Error(`the page request failed with status ${response.status}`)
  const fresh = new DOMParser().parseFromString(await response.text(), 'text/html')
  for (const id of ids) {
    const part = fresh.getElementById(id)
    // The page of a signed-out user has no such part.
    if (!part) throw new Error(`the page has no #${id} any more`)
    byId(id).replaceWith(part)
  }
}
