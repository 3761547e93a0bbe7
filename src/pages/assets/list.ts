import { html } from 'hono/html'
import { direction, formatAgo, formatPercent, formatPrice, staleReasonLabel } from '../../pricing/format.ts'
import type { Asset } from '../../protocol/asset.ts'
import type { Quote, StaleReason } from '../../protocol/quote.ts'
import { utcText } from '../site/labels.ts'
import { type Html, layout, type Site } from '../site/layout.ts'
import { assetPath } from './asset.ts'

/** An asset that was found, and its price as far as it is known: `stale` says why it is not the price of now. */
export type AssetSearchResult = { asset: Asset; quote: Quote | null; stale: StaleReason | null }

/** What the page of a search shows at `now` (unix milliseconds). `next` leads to the next page, null: there is none. */
export type AssetsPage = {
  q: string
  found: readonly AssetSearchResult[]
  next: string | null
  first: boolean
  now: number
}

/** The list of assets whose symbol or name fits `q`, best first; all of them where it is empty. */
export function assetsPage(site: Site, { q, found, next, first, now }: AssetsPage): Html {
  const content = html`
<div class="title-row">
  <h1>Assets</h1>
  <p class="note">Stocks, funds, indices, currencies and crypto. Prices stand with their age.</p>
</div>
<form class="search" role="search" action="/assets" method="get">
  <label for="q">Symbol or name</label>
  <input id="q" name="q" type="search" value="${q}" maxlength="100" autocomplete="off" spellcheck="false" autocapitalize="characters">
  <button class="button" type="submit">Search</button>
</form>
<div class="card">
${found.length === 0 ? html`<p class="empty">${noResultsText(q)}</p>` : table(found, q, now)}
</div>
<p class="pager">${first ? '' : html`<a href="${searchPath(q, null)}">From the beginning</a> `}${next === null ? '' : html`<a href="${searchPath(q, next)}" rel="next">More</a>`}</p>`
  const title = q === '' ? 'Assets · Kerb' : `${q} · Assets · Kerb`
  return layout(site, { title, description: 'Find an asset by symbol or name', script: null, content })
}

function searchPath(q: string, after: string | null): string {
  const query = new URLSearchParams({ ...(q !== '' && { q }), ...(after !== null && { after }) })
  return query.size === 0 ? '/assets' : `/assets?${query}`
}

const noResultsText = (q: string): Html | string =>
  q === ''
    ? 'No assets yet.'
    : html`No asset here has a symbol or a name like “${q}”. If a provider knows the symbol, <a href="${assetPath(q)}">its page</a> finds it.`

const table = (found: readonly AssetSearchResult[], q: string, now: number): Html => html`<table class="markets assets">
  <caption class="hidden">${q === '' ? 'All assets' : `Assets like ${q}`}</caption>
  <thead><tr><th scope="col" class="head">Asset</th><th scope="col" class="head kind">Type</th><th scope="col" class="head number">Price</th><th scope="col" class="head number">Change</th><th scope="col" class="head as-of">As of</th></tr></thead>
  <tbody>
${found.map((each) => row(each, now))}
  </tbody>
</table>`

function row({ asset, quote, stale }: AssetSearchResult, now: number): Html {
  const change = quote?.change24h ?? null
  return html`<tr>
  <th scope="row"><a class="pair" href="${assetPath(uniqueName(asset))}">${asset.symbol}</a> <span class="name muted">${asset.name}</span></th>
  <td class="kind">${asset.type}</td>
  <td class="number price">${quote === null ? '–' : html`${formatPrice(quote.price)} <span class="currency">${quote.currency}</span>`}</td>
  <td class="number change ${direction(change)}">${formatPercent(change)}</td>
  <td class="as-of">${priceAge(quote, stale, now)}</td>
</tr>
`
}

/** The name that means this asset alone: several may have its symbol. */
const uniqueName = (asset: Asset): string => `${asset.provider}:${asset.provider_id}`

function priceAge(quote: Quote | null, stale: StaleReason | null, now: number): Html {
  if (quote === null) return html`<span class="muted">no price</span>`
  const at = Date.parse(quote.updated_at)
  const age = html`<time datetime="${quote.updated_at}" title="${utcText(at)}">${formatAgo(now - at)}</time>`
  return stale === null ? age : html`<span class="old" title="${staleReasonLabel(stale)}">${age}, old</span>`
}
