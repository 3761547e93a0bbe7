import { html, raw } from 'hono/html'
import {
  direction,
  formatAgo,
  formatPercent,
  formatPrice,
  formatQuantity,
  marketStateLabel,
  providerLabel,
  staleReasonLabel,
  trimFloatNoise,
} from '../../pricing/format.ts'
import type { PriceHistory } from '../../pricing/price-history.ts'
import type { Asset, Candidate } from '../../protocol/asset.ts'
import type { HistoryRange, PriceBar, PriceBasis } from '../../protocol/price-history.ts'
import type { Quote, StaleReason } from '../../protocol/quote.ts'
import { DAY_S } from '../../time.ts'
import { barCells, barsTable } from '../market/bars-table.ts'
import { pluralize, rangeText, utcText } from '../site/labels.ts'
import { announcements, connectionBadge, type Html, type Page } from '../site/layout.ts'
import { INTERVALS, RANGE_TEXT, rangeNav } from '../site/ranges.ts'

/** An asset and its price at `now` (unix milliseconds). */
export type AssetState = {
  asset: Asset
  /** The name in the page's address, which matches this asset only. */
  name: string
  /** Null if there is no price, for the reason `stale`. */
  quote: Quote | null
  /** How long the price is valid, milliseconds. */
  ttl: number
  /** Why the price is not current; null if it is. */
  stale: StaleReason | null
  /** The product whose trades give the price; null if the asset is not streamed. */
  product: string | null
  now: number
}

/** The page of one asset. `history` is null if it cannot be read now. */
export type AssetPage = AssetState & { range: HistoryRange; history: PriceHistory | null }

/** The types of assets with splits and dividends. */
const SHARE_TYPES: ReadonlySet<string> = new Set(['stock', 'etf', 'fund'])

const BASIS_TEXT: Readonly<Record<PriceBasis, string>> = {
  raw: 'unadjusted',
  split: 'split-adjusted',
  adjusted: 'split- and dividend-adjusted',
}

export const assetPath = (name: string): string => `/assets/${encodeURIComponent(name)}`

/** The page of one asset. Its script updates the price over the quotes' socket. */
export function assetPage(page: AssetPage): Page {
  const { asset, quote, stale, name } = page
  const price = quote === null ? '–' : formatPrice(quote.price)
  const currency = quote?.currency ?? asset.currency
  const change = quote?.change24h ?? null
  const content = html`
<div class="title-row product-head asset-head ${stale === null ? '' : 'old-price'}">
  <div>
    <h1>${asset.name} <span>${asset.symbol}</span> <span class="type-of-asset">${asset.type}</span></h1>
    <p class="price-line"><span id="price" class="figure">${price}</span> <span class="currency">${currency}</span> <span id="change" class="move ${direction(change)}">${formatPercent(change)}</span> ${change === null ? '' : html`<span class="muted">${asset.type === 'crypto' ? 'in 24 h' : 'since the previous close'}</span>`}</p>
    <p class="price-facts"><span id="market">${marketStateLabel(quote?.market_state ?? null)}</span><span id="age">${priceAge(page)}</span><span class="${quote?.provider === 'simulated' ? 'simulated' : ''}" id="provider">${quote === null ? 'no source yet' : providerLabel(quote.provider)}</span></p>
    <p id="doubt" class="doubt" ${stale === null ? raw('hidden') : ''}>${staleNotice(page)}</p>
  </div>
  ${connectionBadge()}
</div>
${announcements}
${rangeNav(assetPath(name), page.range)}
${historyCard(page)}
<div class="panels">
${assetFacts(page)}
${barsCard(page)}
</div>`
  return {
    title: `${quote === null ? '' : `${price} `}${asset.symbol}`,
    description: `Price and history of ${asset.name} (${asset.symbol}), in ${currency}`,
    script: 'asset',
    content,
  }
}

/**
 * The facts of an asset and its price. The page fetches this part again when the market opens or closes, since that changes
 * how long a price is valid.
 */
export function assetFacts({ asset, quote, ttl, stale, product, name, now }: AssetState): Html {
  const amount = (key: 'previous_close' | 'open' | 'eps'): Html =>
    html`<span data-amount="${key}">${quote?.[key] == null ? '–' : formatPrice(quote[key])}</span>`
  const range =
    quote?.low == null || quote.high == null ? '–' : `${formatPrice(quote.low)} – ${formatPrice(quote.high)}`
  return html`<section class="card" id="facts" aria-labelledby="facts-title" data-name="${name}" data-symbol="${asset.symbol}" data-now="${now}" data-ttl="${ttl}" data-updated-at="${quote?.updated_at ?? ''}" data-as-of="${quote?.as_of ?? ''}" data-market-state="${quote?.market_state ?? ''}" data-stale="${stale ?? ''}">
  <h2 id="facts-title">Facts</h2>
  <dl>
    <div><dt>Source</dt><dd>${quote === null ? '–' : providerLabel(quote.provider)}</dd></div>
    <div><dt>Updated</dt><dd>${timeElement('updated-at', quote?.updated_at)}</dd></div>
    <div><dt>Price time</dt><dd>${timeElement('as-of', quote?.as_of)}</dd></div>
    <div><dt>${asset.type === 'crypto' ? 'Price 24 h ago' : 'Previous close'}</dt><dd>${amount('previous_close')}</dd></div>
    <div><dt>Open</dt><dd>${amount('open')}</dd></div>
    <div><dt>Day’s range</dt><dd id="day-range">${range}</dd></div>
    <div><dt>Volume</dt><dd><span data-quantity="volume">${quote?.volume == null ? '–' : formatQuantity(quote.volume)}</span></dd></div>
    <div><dt>EPS</dt><dd>${amount('eps')}</dd></div>
    <div><dt>P/E</dt><dd>${peText(quote)}</dd></div>
    <div><dt>ISIN</dt><dd>${asset.isin ?? '–'}</dd></div>
    <div><dt>Provider symbol</dt><dd>${asset.provider}:${asset.provider_id}</dd></div>
    ${product === null ? '' : html`<div><dt>Candles</dt><dd><a href="/products/${encodeURIComponent(product)}">${product}, live from trades</a></dd></div>`}
  </dl>
</section>`
}

function priceAge({ quote, now }: AssetPage): Html | string {
  if (quote === null) return 'no price yet'
  const at = Date.parse(quote.updated_at)
  return html`<time datetime="${quote.updated_at}" title="${utcText(at)}">${formatAgo(now - at)}</time>`
}

const staleNotice = ({ quote, stale }: AssetPage): string =>
  stale === null ? '' : `${quote === null ? 'No price yet' : 'Outdated'}: ${staleReasonLabel(stale)}.`

const timeElement = (id: string, time: string | undefined): Html | string =>
  time === undefined ? '–' : html`<time id="${id}" datetime="${time}">${utcText(Date.parse(time))}</time>`

/** P6: the ratio with its date; without earnings there is none. */
function peText(quote: Quote | null): Html | string {
  if (quote === null || quote.pe_ratio === null)
    return quote?.eps != null && Number(quote.eps) <= 0 ? 'n/a: no earnings' : '–'
  const ratio = html`<span data-amount="pe_ratio">${formatPrice(quote.pe_ratio)}</span>`
  return quote.pe_as_of === null
    ? ratio
    : html`${ratio} <span class="muted">as of ${quote.pe_as_of.slice(0, 10)}</span>`
}

/** The bars for the chart's script. */
const chartBars = (bars: readonly PriceBar[]): string =>
  `[${bars
    .map(
      ({ date, open, high, low, close, volume, is_complete }) =>
        `{"t":${Date.parse(date) / 1_000},"o":${open},"h":${high},"l":${low},"c":${close},"v":${volume ?? 0},"complete":${is_complete}}`,
    )
    .join(',')}]`

/** Bars with prices for display: `/get-history` has every digit from the provider. */
const displayBars = ({ bars }: PriceHistory): PriceBar[] =>
  bars.map((bar) => ({
    ...bar,
    open: trimFloatNoise(bar.open),
    high: trimFloatNoise(bar.high),
    low: trimFloatNoise(bar.low),
    close: trimFloatNoise(bar.close),
  }))

function historyCard({ asset, history }: AssetPage): Html {
  if (history === null)
    return html`<section class="card chart-card" aria-label="Chart">
<p class="coverage"><strong class="down">Price history is unavailable right now.</strong></p>
</section>`
  const { label, seconds } = INTERVALS[history.interval]
  return html`<section class="card chart-card" aria-label="Chart">
${history.bars.length === 0 ? '' : html`<div id="history" class="history" data-label="${asset.symbol}, ${label} bars" data-size="${seconds}" data-bars="${chartBars(displayBars(history))}" data-gaps="${JSON.stringify(history.gaps)}"></div>`}
<p class="coverage">${historyText(asset, history)}</p>
</section>`
}

const isIntraday = ({ interval }: PriceHistory): boolean => INTERVALS[interval].seconds < DAY_S

/** The bars in words, and what is missing. */
function historyText(asset: Asset, history: PriceHistory): string {
  const { range, interval, basis, bars, provider, gaps, loaded } = history
  const [first, last] = [bars[0], bars.at(-1)]
  if (first === undefined || last === undefined)
    return loaded
      ? `No data for ${RANGE_TEXT[range]}.`
      : 'No data yet. The history of a new asset loads within minutes.'
  const parts = [
    pluralize(bars.length, `${INTERVALS[interval].label} bar`),
    rangeText(first.date, last.date, isIntraday(history) ? 'minute' : 'day'),
  ]
  if (provider !== null) parts.push(provider === 'simulated' ? 'simulated' : providerLabel(provider))
  if (SHARE_TYPES.has(asset.type)) parts.push(BASIS_TEXT[basis])
  if (!loaded) parts.push('older bars are still loading')
  if (gaps.length > 0) parts.push(`trades missing in ${pluralize(gaps.length, 'period')}`)
  return parts.join(' · ')
}

/** The start of a bar: `2026-10-05`, or `10-05 14:05` (UTC) within a day. */
const startText = ({ date }: PriceBar, intraday: boolean): string =>
  intraday ? utcText(Date.parse(date)).slice(5, 16) : date.slice(0, 10)

function barsCard({ history }: AssetPage): Html {
  const intraday = history !== null && isIntraday(history)
  const rows = (history === null ? [] : displayBars(history).reverse()).map((bar) => {
    const volume = bar.volume === null ? '–' : formatQuantity(bar.volume)
    return html`<tr>${barCells(bar, startText(bar, intraday), volume, bar.is_complete ? 'closed' : 'in progress')}</tr>\n`
  })
  return html`<section class="card" aria-labelledby="bars-title">
  <h2 id="bars-title">Price history</h2>
  ${rows.length === 0 ? html`<p class="muted">No data yet.</p>` : barsTable(intraday ? 'Start (UTC)' : 'Date', rows, true)}
</section>`
}

/** The page of a name that several assets share, with a link to each. */
export function ambiguousPage(name: string, candidates: readonly Candidate[]): Page {
  const title = `Several assets match ${name}`
  const content = html`
<div class="title-row"><h1>${title}</h1></div>
<div class="card">
<table class="markets assets">
  <caption class="hidden">Assets that match ${name}</caption>
  <thead><tr><th scope="col" class="head">Asset</th><th scope="col" class="head kind">Type</th><th scope="col" class="head">Currency</th></tr></thead>
  <tbody>
${candidates.map((each) => html`<tr><th scope="row"><a class="pair" href="${assetPath(each.name_for_it)}">${each.symbol}</a> <span class="muted">${each.name}</span></th><td class="kind">${each.type}</td><td>${each.currency}</td></tr>`)}
  </tbody>
</table>
</div>`
  return { title: name, description: title, content }
}
