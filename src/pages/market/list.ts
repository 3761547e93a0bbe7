import { html } from 'hono/html'
import { direction, formatAgo, formatPercent, formatPrice } from '../../pricing/format.ts'
import type { Product } from '../../protocol/product.ts'
import { utcText } from '../site/labels.ts'
import type { Html, Page } from '../site/layout.ts'

/** The page of active products at `now` (unix milliseconds). A price is live if its feed is open already. */
export function listPage(products: readonly Product[], now: number): Page {
  const content = html`
<div class="title-row">
  <h1>Markets</h1>
  <p class="note">Live rows update in real time. Others show the last price and how old it is.</p>
</div>
<div class="card">
<table class="markets">
  <caption class="hidden">Active markets with price and change over 24 hours</caption>
  <thead><tr><th scope="col" class="head">Pair</th><th scope="col" class="head number">Price</th><th scope="col" class="head number">24 h</th><th scope="col" class="head range">Day’s range</th><th scope="col" class="head as-of">As of</th></tr></thead>
  <tbody>
${products.map((product) => row(product, now))}
  </tbody>
</table>
${products.length === 0 ? html`<p class="empty">No markets yet: still waiting for the exchange. This page will refresh.</p>` : ''}
</div>`
  return { title: 'Markets', description: 'Live candles from the exchange to the browser', script: 'list', content }
}

/** One product's row, with the price of 24 hours ago, from which the script calculates the change of a live price. */
function row(product: Product, now: number): Html {
  const id = product.product_id
  const isTraded = product.status === 'online'
  return html`<tr id="row-${id}" class="${isTraded ? '' : 'off'}">
  <th scope="row"><a class="pair" href="/products/${encodeURIComponent(id)}">${product.base_currency}<span>/${product.quote_currency}</span></a>${isTraded ? '' : html` <span class="chip">${product.status}</span>`}</th>
  <td class="number price" id="price-${id}">${product.price === null ? '–' : formatPrice(product.price)}</td>
  <td class="number change ${direction(product.change_24h)}" id="change-${id}" data-before="${price24hAgo(product) ?? ''}">${formatPercent(product.change_24h)}</td>
  <td class="range"><spot-candle id="${id}-ONE_DAY" data-product="${id}" data-granularity="ONE_DAY"></spot-candle></td>
  <td class="as-of" id="as-of-${id}">${asOf(product, now)}</td>
</tr>`
}

function asOf({ price_at, price_source }: Product, now: number): Html {
  if (price_at === null) return html`<span class="muted">no price</span>`
  const at = Date.parse(price_at)
  if (price_source === 'feed') return html`<span class="live" title="last trade ${utcText(at)}">live</span>`
  return html`<time datetime="${price_at}" title="${utcText(at)}">${formatAgo(now - at)}</time>`
}

/** The price 24 hours ago, from the change since then; for display only. */
export function price24hAgo(product: Product): number | null {
  if (product.price === null || product.change_24h === null) return null
  const before = Number(product.price) / (1 + Number(product.change_24h) / 100)
  return Number.isFinite(before) && before > 0 ? before : null
}
