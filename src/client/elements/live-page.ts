import type { PortfolioConnection } from '../sdk/portfolio.ts'
import { byId } from './live-figures.ts'

/** Screen readers announce the price or the total at most this often. */
const ANNOUNCE_INTERVAL_MS = 60_000

let announcedAt = Number.NEGATIVE_INFINITY

/** Announces text to screen readers, at most once a minute unless it is `urgent`. */
export function announce(text: string, urgent = false): void {
  if (!urgent && performance.now() - announcedAt < ANNOUNCE_INTERVAL_MS) return
  announcedAt = performance.now()
  byId('spoken').textContent = text
}

type BadgeState = [tone: 'live' | 'waiting' | 'lost', text: string]

/** The tone and the text of the connection badge. @param live those of a live connection */
export function connectionBadge(state: PortfolioConnection, live: BadgeState = ['live', 'live']): BadgeState {
  switch (state.name) {
    case 'live':
      return live
    case 'connecting':
      return ['waiting', 'connecting']
    case 'polling':
      return state.error === null ? ['waiting', 'updates every 15 s'] : ['lost', 'offline, retrying…']
    case 'stale':
      return ['lost', 'not responding, prices may be old']
    case 'reconnecting':
      return ['lost', 'connection lost, reconnecting…']
    case 'stopped':
      return ['lost', `stopped: ${state.reason}`]
    case 'signed_out':
      return ['lost', 'signed out']
  }
}

/** Shows the connection badge. */
export function showConnection([tone, text]: BadgeState): void {
  const badge = byId('connection')
  if (badge.dataset.state === tone && badge.textContent === text) return
  badge.dataset.state = tone
  badge.replaceChildren(Object.assign(document.createElement('span'), { className: 'text', textContent: text }))
}

/** Fetches a page or a part of one. @throws Error unless the status is 2xx */
export async function fetchPage(address: string): Promise<Document> {
  const response = await fetch(address, { headers: { accept: 'text/html' } })
  if (!response.ok) throw new Error(`${address} failed with status ${response.status}`)
  return new DOMParser().parseFromString(await response.text(), 'text/html')
}

let factsRequests = 0

/**
 * Fetches the page's facts again from `address`.
 * @param show called with the new element, unless there is a newer request
 */
export function reloadFacts(address: string, show: (facts: HTMLElement) => void): void {
  const request = ++factsRequests
  fetchPage(address)
    .then((fresh) => {
      const facts = fresh.getElementById('facts')
      // Responses may arrive out of order.
      if (facts && request === factsRequests) show(facts)
    })
    .catch((error) => console.warn(error))
}
