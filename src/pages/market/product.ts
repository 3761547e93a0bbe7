import { html, raw } from 'hono/html'
import { direction, formatAgo, formatPercent, formatPrice } from '../../pricing/format.ts'
import type { Candle, Gap } from '../../protocol/candle.ts'
import { GRANULARITIES, type Granularity } from '../../protocol/granularity.ts'
import type { Product, ProductStatus } from '../../protocol/product.ts'
import { GRANULARITY_TEXT, pluralize, utcText } from '../site/labels.ts'
import { announcements, connectionBadge, exchangeName, type Html, type Page } from '../site/layout.ts'
import { barCells, barsTable } from './bars-table.ts'
import { renderSpotChart } from './elements.ts'
import { feedText } from './feed-labels.ts'
import { price24hAgo } from './list.ts'

/** A product and its feed at `now` (unix milliseconds). */
export type ProductFacts = { product: Product; status: ProductStatus; now: number }

/** The page of one product. Candles ascend; `position` is the stream position right after them. */
export type ProductPage = ProductFacts & {
  granularity: Granularity
  candles: readonly Candle[]
  gaps: readonly Gap[]
  position: string
  /** False if older candles are stored but cannot be read now. */
  isComplete: boolean
}

/** The page of one product: the chart contains its history, and continues from there over the product's socket (C11). */
export function productPage(page: ProductPage): Page {
  const { product, granularity } = page
  const id = product.product_id
  const price = page.candles.at(-1)?.close ?? product.price
  const content = html`
<div class="title-row product-head">
  <div>
    <h1>${product.base_currency}<span>/${product.quote_currency}</span>${product.status === 'online' ? '' : html` <span class="chip">${product.status}</span>`}</h1>
    <p class="price-line"><span id="price" class="figure">${price === null ? '–' : formatPrice(price)}</span> <span id="change" class="move ${direction(product.change_24h)}">${formatPercent(product.change_24h)}</span> <span class="muted">24 h</span></p>
  </div>
  ${connectionBadge(product.status === 'online' ? 'not connected' : 'not traded now')}
</div>
${announcements}
<nav class="granularities" aria-label="Candle size">
${GRANULARITIES.map((name) => granularityLink(id, name, name === granularity))}
</nav>
<section class="card chart-card" aria-label="Chart">
${raw(renderSpotChart({ product: id, granularity, candles: page.candles }, chartAttributes(page)))}
<p class="coverage"><span id="coverage">${coverageText(page.candles, page.gaps)}</span>${page.isComplete ? '' : html`<strong class="down">Older candles are unavailable right now.</strong>`}</p>
</section>
<div class="panels">
${factsPanel(page)}
<section class="card" aria-labelledby="bars-title">
  <h2 id="bars-title">Latest candles</h2>
  ${barsTable('Start (UTC)', page.candles.slice(-8).reverse().map(barRow), false)}
</section>
</div>
<noscript><p class="card noscript">Without JavaScript this page shows the figures of when it was loaded, and no chart.</p></noscript>`
  return {
    title: `${price === null ? '' : `${formatPrice(price)} `}${id}`,
    description: `${id} candles of ${GRANULARITY_TEXT[granularity].long}, live from ${exchangeName(product.exchange)}`,
    script: 'product',
    content,
  }
}

/**
 * The facts of a product's feed and last price. The page fetches this part again from time to time, since a dead feed
 * cannot report itself.
 */
export function factsPanel({ product, status, now }: ProductFacts): Html {
  const feed = feedText(status, now)
  const lastAt = status.last === null ? null : Date.parse(status.last.time)
  return html`<section class="card" id="facts" aria-labelledby="facts-title" data-before="${price24hAgo(product) ?? ''}" data-feed="${status.feed.state}" data-tone="${feed.tone}">
  <h2 id="facts-title">Feed</h2>
  <dl>
    <div><dt>State</dt><dd><span class="feed ${feed.tone}">${feed.title}</span> <span class="muted">${feed.detail}</span></dd></div>
    <div><dt>Exchange</dt><dd>${exchangeName(product.exchange)}${product.exchange === 'simulated' ? html` <span class="muted">not real prices</span>` : ''}</dd></div>
    <div><dt>Last trade</dt><dd>${lastAt === null ? '–' : html`<time datetime="${new Date(lastAt).toISOString()}">${formatAgo(now - lastAt)}</time> <span class="muted">${utcText(lastAt)}</span>`}</dd></div>
    <div><dt>Reconnects</dt><dd>${status.feed.reconnects}</dd></div>
    <div><dt>Viewers</dt><dd>${status.viewers}</dd></div>
    <div><dt>Skipped messages</dt><dd>${droppedText(status.dropped)}</dd></div>
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
 * The chart's attributes besides its candles: the stream position (empty for a product that is not traded), which bars are
 * incomplete or not final, and the gaps.
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

/** The coverage of the candles as words; the chart's script then does the same for the visible ones. */
function coverageText(candles: readonly Candle[], gaps: readonly Gap[]): string {
  const count = pluralize(candles.length, 'candle')
  const broken = candles.filter((candle) => candle.coverage !== 'full').length
  if (broken === 0 && gaps.length === 0) return `${count} · no missing trades`
  return `${count} · ${broken} with missing trades · ${pluralize(gaps.length, 'gap')}`
}

/** The UTC start of a candle as `10-05 14:07`; the date of daily ones. */
const startText = ({ timestamp, granularity }: Candle): string =>
  granularity === 'ONE_DAY' ? utcText(timestamp * 1_000).slice(0, 10) : utcText(timestamp * 1_000).slice(5, 16)

function barRow(candle: Candle): Html {
  const { coverage, is_complete, rev, volume } = candle
  const state = is_complete ? (rev > 0 ? 'corrected' : 'closed') : 'forming'
  const isFull = coverage === 'full'
  return html`<tr class="${isFull ? '' : 'broken'}">${barCells(candle, startText(candle), volume, isFull ? state : `${state}, ${coverage}`)}</tr>\n`
}
