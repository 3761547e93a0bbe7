import { html } from 'hono/html'
import { direction, formatAgo, formatPercent, formatPrice, staleReasonLabel } from '../../pricing/format.ts'
import { qualifiedName } from '../../pricing/symbol.ts'
import type { Asset } from '../../protocol/asset.ts'
import type { Quote, StaleReason } from '../../protocol/quote.ts'
import { utcText } from '../site/labels.ts'
import type { Html, Page } from '../site/layout.ts'
import { type PagePosition, pager } from '../site/table.ts'
import { assetPath } from './asset.ts'

/** An asset with its price. `stale` says why the price is not current; null if it is. */
export type AssetSearchResult = { asset: Asset; quote: Quote | null; stale: StaleReason | null }

/** A page of search results at `now` (unix milliseconds). */
export type AssetsPage = PagePosition & { q: string; found: readonly AssetSearchResult[]; now: number }

/** The page of assets whose symbol or name matches `q`, best first; of all assets if it is empty. */
export function assetsPage({ q, found, next, first, now }: AssetsPage): Page {
  const content = html`
<div class="title-row">
  <h1>Assets</h1>
  <p class="note">Stocks, funds, indices, currencies and crypto. Each price shows its age.</p>
</div>
<form class="search" role="search" action="/assets" method="get">
  <label for="q">Symbol or name</label>
  <input id="q" name="q" type="search" value="${q}" maxlength="100" autocomplete="off" spellcheck="false" autocapitalize="characters">
  <button class="button" type="submit">Search</button>
</form>
<div class="card">
${found.length === 0 ? html`<p class="empty">${noResultsText(q)}</p>` : table(found, q, now)}
</div>
${pager({ first, next }, '/assets', { q })}`
  const title = q === '' ? 'Assets' : `${q} · Assets`
  return { title, description: 'Find an asset by symbol or name', content }
}

const noResultsText = (q: string): Html | string =>
  q === ''
    ? 'No assets yet.'
    : html`No results for “${q}”. If it exists elsewhere, try opening it: <a href="${assetPath(q)}">/assets/${q}</a>`

const table = (found: readonly AssetSearchResult[], q: string, now: number): Html => html`<table class="markets assets">
  <caption class="hidden">${q === '' ? 'All assets' : `Results for “${q}”`}</caption>
  <thead><tr><th scope="col" class="head">Asset</th><th scope="col" class="head kind">Type</th><th scope="col" class="head number">Price</th><th scope="col" class="head number">Change</th><th scope="col" class="head as-of">As of</th></tr></thead>
  <tbody>
${found.map((result) => row(result, now))}
  </tbody>
</table>`

function row({ asset, quote, stale }: AssetSearchResult, now: number): Html {
  const change = quote?.change24h ?? null
  return html`<tr>
  <th scope="row"><a class="pair" href="${assetPath(qualifiedName(asset))}">${asset.symbol}</a> <span class="name muted">${asset.name}</span></th>
  <td class="kind">${asset.type}</td>
  <td class="number price">${quote === null ? '–' : html`${formatPrice(quote.price)} <span class="currency">${quote.currency}</span>`}</td>
  <td class="number change ${direction(change)}">${formatPercent(change)}</td>
  <td class="as-of">${priceAge(quote, stale, now)}</td>
</tr>
`
}

function priceAge(quote: Quote | null, stale: StaleReason | null, now: number): Html {
  if (quote === null) return html`<span class="muted">no price</span>`
  const at = Date.parse(quote.updated_at)
  const age = html`<time datetime="${quote.updated_at}" title="${utcText(at)}">${formatAgo(now - at)}</time>`
  return stale === null ? age : html`<span class="old" title="${staleReasonLabel(stale)}">${age}, outdated</span>`
}
