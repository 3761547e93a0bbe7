import { connectPortfolio } from '../sdk/portfolio.ts'
import type { PortfolioState } from '../sdk/portfolio-state.ts'
import { byId } from './live-figures.ts'
import { connectionBadge, fetchPage, showConnection } from './live-page.ts'

/**
 * Connects the portfolio of the signed-in user, and shows the state of the connection.
 * @param show called with each new state
 */
export function followPortfolio(show: (state: PortfolioState) => void): void {
  showConnection(connectionBadge({ name: 'connecting' }))
  connectPortfolio({ onChange: show, onState: (state) => showConnection(connectionBadge(state)) })
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
  const fresh = await fetchPage(location.href)
  for (const id of ids) {
    const part = fresh.getElementById(id)
    // The page of a signed-out user has no such part.
    if (!part) throw new Error(`the page has no #${id} any more`)
    byId(id).replaceWith(part)
  }
}
