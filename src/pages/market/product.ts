import { html, raw } from 'hono/html'
import { direction, formatAgo, formatPercent, formatPrice } from '../../pricing/format.ts'
import type { Candle, Gap } from '../../protocol/candle.ts'
import { GRANULARITIES, type Granularity } from '../../protocol/granularity.ts'
import type { Product, ProductStatus } from '../../protocol/product.ts'
import { GRANULARITY_TEXT, utcText } from '../site/labels.ts'
import { exchangeName, type Html, layout, type Site } from '../site/layout.ts'
import { renderSpotChart } from './elements.ts'
import { feedText } from './feed-labels.ts'
import { price24hAgo } from './list.ts'

/** A product and how its feed is at `now` (unix milliseconds). */
export type ProductFacts = { product: Product; status: ProductStatus; now: number }

/** What the page of one product shows. Candles ascending; `position` is the place in the stream right after them. */
export type ProductPage = ProductFacts & {
  granularity: Granularity
  candles: readonly Candle[]
  gaps: readonly Gap[]
  position: string
  /** False if older candles are stored but cannot be read at the moment. */
  isComplete: boolean
}

/** The page of one product: its chart comes with its history, and moves on from there by the product's socket (C11). */
export function productPage(site: Site, page: ProductPage): Html {
  const { product, granularity } = page
  const id = product.product_id
  const price = page.candles.at(-1)?.close ?? product.price
  const content = html`
<div class="title-row product-head">
  <div>
    <h1>${product.base_currency}<span>/${product.quote_currency}</span>${product.status === 'online' ? '' : html` <span class="chip">${product.status}</span>`}</h1>
    <p class="price-line"><span id="price" class="figure">${price === null ? '–' : formatPrice(price)}</span> <span id="change" class="move ${direction(product.change_24h)}">${formatPercent(product.change_24h)}</span> <span class="muted">24 h</span></p>
  </div>
  <p id="connection" class="connection" role="status" data-state="none"><span class="text">${product.status === 'online' ? 'not connected' : 'not traded now'}</span></p>
</div>
<p id="spoken" class="hidden" aria-live="polite"></p>
<nav class="granularities" aria-label="Candle size">
${GRANULARITIES.map((name) => granularityLink(id, name, name === granularity))}
</nav>
<section class="card chart-card" aria-label="Chart">
${raw(renderSpotChart({ product: id, granularity, candles: page.candles }, chartAttributes(page)))}
<p class="coverage"><span id="coverage">${coverageText(page.candles, page.gaps)}</span>${page.isComplete ? '' : html`<strong class="down">Older candles cannot be read at the moment.</strong>`}</p>
</section>
<div class="panels">
${factsPanel(page)}
<section class="card" aria-labelledby="bars-title">
  <h2 id="bars-title">Latest candles</h2>
  <div class="scroll" tabindex="0" role="group" aria-labelledby="bars-title">
  <table class="bars">
    <thead><tr><th scope="col" class="head">Start (UTC)</th><th scope="col" class="head">Open</th><th scope="col" class="head">High</th><th scope="col" class="head">Low</th><th scope="col" class="head">Close</th><th scope="col" class="head">Volume</th><th scope="col" class="head">State</th></tr></thead>
    <tbody id="bars">
${page.candles.slice(-8).reverse().map(barRow)}
    </tbody>
  </table>
  </div>
</section>
</div>
<noscript><p class="card noscript">Without JavaScript this page shows the figures as they were when it was made, and no chart.</p></noscript>`
  return layout(site, {
    title: `${price === null ? '' : `${formatPrice(price)} `}${id} · Kerb`,
    description: `${id} candles of ${GRANULARITY_TEXT[granularity].long}, live from ${exchangeName(product.exchange)}`,
    script: 'product',
    content,
  })
}

/**
 * What is known of the product's feed and last price: a part of its page that the page reads again from time to time,
 * since a feed that has died cannot say so.
 */
export function factsPanel({ product, status, now }: ProductFacts): Html {
  const feed = feedText(status, now)
  const lastAt = status.last === null ? null : Date.parse(status.last.time)
  return html`<section class="card" id="facts" aria-labelledby="facts-title" data-before="${price24hAgo(product) ?? ''}" data-feed="${status.feed.state}" data-tone="${feed.tone}">
  <h2 id="facts-title">Feed</h2>
  <dl>
    <div><dt>State</dt><dd><span class="feed ${feed.tone}">${feed.title}</span> <span class="muted">${feed.detail}</span></dd></div>
    <div><dt>Exchange</dt><dd>${exchangeName(product.exchange)}${product.exchange === 'simulated' ? html` <span class="muted">made up, not real prices</span>` : ''}</dd></div>
    <div><dt>Last trade</dt><dd>${lastAt === null ? '–' : html`<time datetime="${new Date(lastAt).toISOString()}">${formatAgo(now - lastAt)}</time> <span class="muted">${utcText(lastAt)}</span>`}</dd></div>
    <div><dt>Reconnects</dt><dd>${status.feed.reconnects}</dd></div>
    <div><dt>Viewers</dt><dd>${status.viewers}</dd></div>
    <div><dt>Messages left out</dt><dd>${droppedText(status.dropped)}</dd></div>
  </dl>
</section>`
}

function droppedText(dropped: ProductStatus['dropped']): string {
  const parts = Object.entries(dropped).filter(([, count]) => count > 0)
  return parts.length === 0 ? 'none' : parts.map(([name, count]) => `${count} ${name.replaceAll('_', ' ')}`).join(', ')
}

const granularityLink = (id: string, name: Granularity, current: boolean): Html =>
  html`<a href="/products/${encodeURIComponent(id)}?granularity=${name}" data-granularity="${name}" ${current ? raw('aria-current="true"') : ''}><span aria-hidden="true">${GRANULARITY_TEXT[name].short}</span><span class="hidden">${GRANULARITY_TEXT[name].long}</span></a>\n`

/**
 * What the chart needs besides its candles: its place in the stream (none where the pair is not traded), which
 * bars are not whole or not final, and the gaps.
 */
function chartAttributes({ product, candles, gaps, position }: ProductPage): Record<string, string> {
  const starts = (wanted: (candle: Candle) => boolean) => candles.filter(wanted).map(({ timestamp }) => timestamp)
  const marks = {
    partial: starts(({ coverage }) => coverage === 'partial'),
    gap: starts(({ coverage }) => coverage === 'gap'),
    forming: starts(({ is_complete }) => !is_complete),
    revised: candles.filter(({ rev }) => rev > 0).map(({ timestamp, rev }) => [timestamp, rev]),
  }
  return {
    'data-position': product.status === 'online' ? position : '',
    'data-gaps': JSON.stringify(gaps),
    'data-marks': JSON.stringify(marks),
  }
}

/** In words how much of these candles is known; the chart's script writes the same of what is on screen. */
function coverageText(candles: readonly Candle[], gaps: readonly Gap[]): string {
  const count = candles.length === 1 ? '1 candle' : `${candles.length} candles`
  const broken = candles.filter((candle) => candle.coverage !== 'full').length
  if (broken === 0 && gaps.length === 0) return `${count}, all fully covered`
  return `${count}, ${broken} not fully covered, ${gaps.length} gaps`
}

/** `10-05 14:07`, or the date for candles of a day, in UTC. */
const startText = ({ timestamp, granularity }: Candle): string =>
  granularity === 'ONE_DAY' ? utcText(timestamp * 1_000).slice(0, 10) : utcText(timestamp * 1_000).slice(5, 16)

function barRow(candle: Candle): Html {
  const rising = Number(candle.close) >= Number(candle.open)
  const state = candle.is_complete ? (candle.rev > 0 ? `revised ${candle.rev}×` : 'closed') : 'forming'
  return html`<tr class="${candle.coverage === 'full' ? '' : 'broken'}"><th scope="row">${startText(candle)}</th><td>${formatPrice(candle.open)}</td><td>${formatPrice(candle.high)}</td><td>${formatPrice(candle.low)}</td><td class="${rising ? 'up' : 'down'}">${formatPrice(candle.close)}</td><td>${candle.volume}</td><td>${state}${candle.coverage === 'full' ? '' : `, ${candle.coverage}`}</td></tr>
`
}
