import { html } from 'hono/html'
import { direction, formatAgo, formatPercent, formatPrice } from '../../pricing/format.ts'
import type { Product } from '../../protocol/product.ts'
import { utcText } from '../site/labels.ts'
import { type Html, layout, type Site } from '../site/layout.ts'

/** The list of active products at `now` (unix milliseconds). Prices are live only where a feed is open already. */
export function listPage(site: Site, products: readonly Product[], now: number): Html {
  const content = html`
<div class="title-row">
  <h1>Markets</h1>
  <p class="note">Rows marked live move by themselves. The others show the exchange's last price, with its age.</p>
</div>
<div class="card">
<table class="markets">
  <caption class="hidden">Active products with price and change over 24 hours</caption>
  <thead><tr><th scope="col" class="head">Pair</th><th scope="col" class="head number">Price</th><th scope="col" class="head number">24 h</th><th scope="col" class="head range">Day’s range</th><th scope="col" class="head as-of">As of</th></tr></thead>
  <tbody>
${products.map((product) => row(product, now))}
  </tbody>
</table>
${products.length === 0 ? html`<p class="empty">No products yet: the exchange has not answered so far. This page looks again by itself.</p>` : ''}
</div>`
  const title = 'Markets · Kerb'
  return layout(site, { title, description: 'Live candles from the exchange to the browser', script: 'list', content })
}

/** One product's row. The price of 24 hours ago goes along, so that the change can follow a live price. */
function row(product: Product, now: number): Html {
  const id = product.product_id
  const traded = product.status === 'online'
  const live = product.price_source === 'feed'
  return html`<tr id="row-${id}" class="${traded ? '' : 'off'}">
  <th scope="row"><a class="pair" href="/products/${encodeURIComponent(id)}">${product.base_currency}<span>/${product.quote_currency}</span></a>${traded ? '' : html` <span class="chip">${product.status}</span>`}</th>
  <td class="number price" id="price-${id}">${product.price === null ? '–' : formatPrice(product.price)}</td>
  <td class="number change ${direction(product.change_24h)}" id="change-${id}" data-before="${price24hAgo(product) ?? ''}">${formatPercent(product.change_24h)}</td>
  <td class="range"><spot-candle id="${id}-ONE_DAY" data-product="${id}" data-granularity="ONE_DAY"></spot-candle></td>
  <td class="as-of" id="as-of-${id}">${asOf(product, live, now)}</td>
</tr>`
}

function asOf(product: Product, live: boolean, now: number): Html {
  if (product.price_at === null) return html`<span class="muted">no price</span>`
  const at = Date.parse(product.price_at)
  if (live) return html`<span class="live" title="last trade ${utcText(at)}">live</span>`
  return html`<time datetime="${product.price_at}" title="${utcText(at)}">${formatAgo(now - at)}</time>`
}

/** The price 24 hours before, from the change against it; for showing only. */
export function price24hAgo(product: Product): number | null {
  if (product.price === null || product.change_24h === null) return null
  const before = Number(product.price) / (1 + Number(product.change_24h) / 100)
  return Number.isFinite(before) && before > 0 ? before : null
}
