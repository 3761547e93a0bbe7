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
import {
  HISTORY_RANGES,
  type HistoryInterval,
  type HistoryRange,
  type PriceBar,
  type PriceBasis,
} from '../../protocol/price-history.ts'
import type { Quote, StaleReason } from '../../protocol/quote.ts'
import { utcText } from '../site/labels.ts'
import { type Html, layout, type Site } from '../site/layout.ts'

/** What is known of an asset's price at the moment of the page. `freshUntil` is unix milliseconds. */
export type AssetPrice =
  | { kind: 'quote'; quote: Quote; freshUntil: number; stale: StaleReason | null }
  | { kind: 'unpriced'; reason: StaleReason }

/** Bars of one range, as `readPriceHistory` gives them. */
export type AssetHistory = Pick<PriceHistory, 'range' | 'interval' | 'basis' | 'bars' | 'provider' | 'gaps' | 'loaded'>

/** What is known of an asset and its price at `now` (unix milliseconds). */
export type AssetState = {
  asset: Asset
  /** The name by which the page was asked for, which means this asset alone. */
  name: string
  price: AssetPrice
  /** The product whose trades make the price; null if the asset is not streamed here. */
  product: string | null
  now: number
}

/** What the page of one asset shows. */
export type AssetPage = AssetState & {
  range: HistoryRange
  /** Null if it cannot be read at the moment. */
  history: AssetHistory | null
}

/** How long a bar is, in words and about in seconds. */
export const INTERVAL_TEXT: Readonly<Record<HistoryInterval, { bars: string; seconds: number }>> = {
  FIVE_MINUTES: { bars: '5 minutes', seconds: 300 },
  THIRTY_MINUTES: { bars: '30 minutes', seconds: 1_800 },
  ONE_DAY: { bars: 'one day', seconds: 86_400 },
  ONE_WEEK: { bars: 'one week', seconds: 7 * 86_400 },
  ONE_MONTH: { bars: 'one month', seconds: 30 * 86_400 },
}

/** What has splits and dividends. */
const SHARE_TYPES: ReadonlySet<string> = new Set(['stock', 'etf', 'fund'])

const BASIS_TEXT: Readonly<Record<PriceBasis, string>> = {
  raw: 'as traded, splits not taken out',
  split: 'in today’s shares',
  adjusted: 'in today’s shares, dividends taken out',
}

/** Ranges as they are read aloud. */
export const RANGE_TEXT: Readonly<Record<HistoryRange, string>> = {
  '1d': '1 day',
  '7d': '7 days',
  '1m': '1 month',
  '3m': '3 months',
  '6m': '6 months',
  '1y': '1 year',
  '3y': '3 years',
  '5y': '5 years',
  '10y': '10 years',
  all: 'all there is',
}

export const assetPath = (name: string): string => `/assets/${encodeURIComponent(name)}`

/** The page of one asset: whole as it comes, and moved on by the socket of quotes where scripts run. */
export function assetPage(site: Site, page: AssetPage): Html {
  const { asset, price, name } = page
  const quote = price.kind === 'quote' ? price.quote : null
  const shown = quote === null ? '–' : formatPrice(quote.price)
  const currency = quote?.currency ?? asset.currency
  const content = html`
<div class="title-row product-head asset-head ${price.kind === 'quote' && price.stale === null ? '' : 'old-price'}">
  <div>
    <h1>${asset.name} <span>${asset.symbol}</span> <span class="type-of-asset">${asset.type}</span></h1>
    <p class="price-line"><span id="price" class="figure">${shown}</span> <span class="currency">${currency}</span> <span id="change" class="move ${direction(quote?.change24h ?? null)}">${formatPercent(quote?.change24h ?? null)}</span> ${quote?.change24h == null ? '' : html`<span class="muted">${changeBasis(asset)}</span>`}</p>
    <p class="price-facts"><span id="market">${marketStateLabel(quote?.market_state ?? null)}</span><span id="age">${priceAge(page)}</span><span class="${quote?.provider === 'simulated' ? 'simulated' : ''}" id="provider">${quote === null ? 'no provider yet' : providerLabel(quote.provider)}</span></p>
    <p id="doubt" class="doubt" ${price.kind === 'quote' && price.stale === null ? raw('hidden') : ''}>${staleNotice(price)}</p>
  </div>
  <p id="connection" class="connection" role="status" data-state="none"><span class="text">not connected</span></p>
</div>
<p id="spoken" class="hidden" aria-live="polite"></p>
<nav class="granularities ranges" aria-label="Range of the history">
${HISTORY_RANGES.map((range) => rangeLink(name, range, range === page.range))}
</nav>
${historyCard(page)}
<div class="panels">
${assetFacts(page)}
${barsCard(page)}
</div>`
  return layout(site, {
    title: `${quote === null ? '' : `${shown} `}${asset.symbol} · Kerb`,
    description: `Price and history of ${asset.name} (${asset.symbol}), in ${currency}`,
    script: 'asset',
    content,
  })
}

/**
 * What is known of the asset and its price: a part of its page that the page reads again when its market opens or
 * closes, since that changes how long a price holds.
 */
export function assetFacts(page: AssetState): Html {
  const { asset, price, product, name } = page
  const quote = price.kind === 'quote' ? price.quote : null
  const amount = (key: 'previous_close' | 'open' | 'eps'): Html =>
    html`<span data-amount="${key}">${quote?.[key] == null ? '–' : formatPrice(quote[key])}</span>`
  const range =
    quote?.low == null || quote.high == null ? '–' : `${formatPrice(quote.low)} – ${formatPrice(quote.high)}`
  const ttl = price.kind === 'quote' ? price.freshUntil - Date.parse(price.quote.updated_at) : 0
  return html`<section class="card" id="facts" aria-labelledby="facts-title" data-name="${name}" data-symbol="${asset.symbol}" data-now="${page.now}" data-ttl="${ttl}" data-updated-at="${quote?.updated_at ?? ''}" data-as-of="${quote?.as_of ?? ''}" data-market-state="${quote?.market_state ?? ''}" data-stale="${price.kind === 'quote' ? (price.stale ?? '') : price.reason}">
  <h2 id="facts-title">Facts</h2>
  <dl>
    <div><dt>Price from</dt><dd>${quote === null ? '–' : providerLabel(quote.provider)}</dd></div>
    <div><dt>Told</dt><dd>${timeElement('updated-at', quote?.updated_at)}</dd></div>
    <div><dt>Market’s time</dt><dd>${timeElement('as-of', quote?.as_of)}</dd></div>
    <div><dt>${asset.type === 'crypto' ? 'Price 24 h ago' : 'Previous close'}</dt><dd>${amount('previous_close')}</dd></div>
    <div><dt>Open</dt><dd>${amount('open')}</dd></div>
    <div><dt>Day’s range</dt><dd id="day-range">${range}</dd></div>
    <div><dt>Volume</dt><dd><span data-quantity="volume">${quote?.volume == null ? '–' : formatQuantity(quote.volume)}</span></dd></div>
    <div><dt>Earnings a share</dt><dd>${amount('eps')}</dd></div>
    <div><dt>P/E</dt><dd>${peText(quote)}</dd></div>
    <div><dt>ISIN</dt><dd>${asset.isin ?? '–'}</dd></div>
    <div><dt>Provider’s name</dt><dd>${asset.provider}:${asset.provider_id}</dd></div>
    ${product === null ? '' : html`<div><dt>Candles</dt><dd><a href="/products/${encodeURIComponent(product)}">${product}, live from trades</a></dd></div>`}
  </dl>
</section>`
}

const changeBasis = (asset: Asset): string => (asset.type === 'crypto' ? 'in 24 h' : 'since the previous close')

function priceAge({ price, now }: AssetPage): Html | string {
  if (price.kind === 'unpriced') return 'no price yet'
  const at = Date.parse(price.quote.updated_at)
  return html`<time datetime="${price.quote.updated_at}" title="${utcText(at)}">${formatAgo(now - at)}</time>`
}

const staleNotice = (price: AssetPrice): string => {
  if (price.kind === 'unpriced') return `No price yet: ${staleReasonLabel(price.reason)}.`
  return price.stale === null ? '' : `Outdated: ${staleReasonLabel(price.stale)}.`
}

const timeElement = (id: string, time: string | undefined): Html | string =>
  time === undefined ? '–' : html`<time id="${id}" datetime="${time}">${utcText(Date.parse(time))}</time>`

/** P6: earnings of nothing or less give no ratio; its date stands beside it. */
function peText(quote: Quote | null): Html | string {
  if (quote === null || quote.pe_ratio === null)
    return quote?.eps != null && Number(quote.eps) <= 0 ? 'n/a: no earnings' : '–'
  const ratio = html`<span data-amount="pe_ratio">${formatPrice(quote.pe_ratio)}</span>`
  return quote.pe_as_of === null
    ? ratio
    : html`${ratio} <span class="muted">as of ${quote.pe_as_of.slice(0, 10)}</span>`
}

const rangeLink = (name: string, range: HistoryRange, current: boolean): Html =>
  html`<a href="${assetPath(name)}?range=${range}" ${current ? raw('aria-current="true"') : ''}><span aria-hidden="true">${range}</span><span class="hidden">${RANGE_TEXT[range]}</span></a>\n`

/** The bars as the chart's script takes them. */
const chartBars = (bars: readonly PriceBar[]): string =>
  `[${bars
    .map(
      ({ date, open, high, low, close, volume, is_complete }) =>
        `{"t":${Date.parse(date) / 1_000},"o":${open},"h":${high},"l":${low},"c":${close},"v":${volume ?? 0},"complete":${is_complete}}`,
    )
    .join(',')}]`

/** Bars with prices for showing: /get-history has all the digits that were told. */
const displayBars = (bars: readonly PriceBar[]): PriceBar[] =>
  bars.map((bar) => ({
    ...bar,
    open: trimFloatNoise(bar.open),
    high: trimFloatNoise(bar.high),
    low: trimFloatNoise(bar.low),
    close: trimFloatNoise(bar.close),
  }))

function historyCard({ asset, history }: AssetPage): Html {
  const text =
    history === null
      ? html`<strong class="down">The history cannot be read at the moment.</strong>`
      : historyText(asset, history)
  const empty = history === null || history.bars.length === 0
  return html`<section class="card chart-card" aria-label="Chart">
${empty ? '' : html`<div id="history" class="history" data-label="${asset.symbol}, bars of ${INTERVAL_TEXT[history.interval].bars}" data-size="${INTERVAL_TEXT[history.interval].seconds}" data-bars="${chartBars(displayBars(history.bars))}" data-gaps="${JSON.stringify(history.gaps)}"></div>`}
<p class="coverage">${text}</p>
</section>`
}

/** What the bars are, and what of the range they do not hold. */
function historyText(asset: Asset, { range, interval, basis, bars, provider, gaps, loaded }: AssetHistory): string {
  const [first, last] = [bars[0], bars.at(-1)]
  if (first === undefined || last === undefined)
    return loaded
      ? `No data of ${RANGE_TEXT[range]}.`
      : 'No data yet: the history of a new asset is loaded within minutes.'
  const parts = [
    `${bars.length} ${bars.length === 1 ? 'bar' : 'bars'} of ${INTERVAL_TEXT[interval].bars}`,
    `${dateText(first.date, interval)} to ${dateText(last.date, interval)}`,
  ]
  if (provider !== null) parts.push(provider === 'simulated' ? 'simulated: made up' : `from ${providerLabel(provider)}`)
  if (SHARE_TYPES.has(asset.type)) parts.push(BASIS_TEXT[basis])
  if (!loaded) parts.push('older bars are still being loaded')
  if (gaps.length > 0) parts.push(`trades are missing in ${gaps.length} ${gaps.length === 1 ? 'stretch' : 'stretches'}`)
  return parts.join(', ')
}

/** `2026-10-05`, or `10-05 14:05` (UTC) of a bar within a day. */
const dateText = (date: string, interval: HistoryInterval): string =>
  interval === 'FIVE_MINUTES' || interval === 'THIRTY_MINUTES'
    ? utcText(Date.parse(date)).slice(5, 16)
    : date.slice(0, 10)

function barsCard({ history }: AssetPage): Html {
  const bars = history?.bars ?? []
  const latest = displayBars(bars).reverse()
  return html`<section class="card" aria-labelledby="bars-title">
  <h2 id="bars-title">Bars, the latest first</h2>
  ${
    history === null || latest.length === 0
      ? html`<p class="muted">No data yet.</p>`
      : html`<div class="scroll tall" tabindex="0" role="group" aria-labelledby="bars-title">
  <table class="bars">
    <thead><tr><th scope="col" class="head">${history.interval === 'FIVE_MINUTES' || history.interval === 'THIRTY_MINUTES' ? 'Start (UTC)' : 'Date'}</th><th scope="col" class="head">Open</th><th scope="col" class="head">High</th><th scope="col" class="head">Low</th><th scope="col" class="head">Close</th><th scope="col" class="head">Volume</th><th scope="col" class="head">State</th></tr></thead>
    <tbody id="bars">
${latest.map((bar) => barRow(bar, history.interval))}
    </tbody>
  </table>
  </div>`
  }
</section>`
}

function barRow(bar: PriceBar, interval: HistoryInterval): Html {
  const rising = Number(bar.close) >= Number(bar.open)
  return html`<tr><th scope="row">${dateText(bar.date, interval)}</th><td>${formatPrice(bar.open)}</td><td>${formatPrice(bar.high)}</td><td>${formatPrice(bar.low)}</td><td class="${rising ? 'up' : 'down'}">${formatPrice(bar.close)}</td><td>${bar.volume === null ? '–' : formatQuantity(bar.volume)}</td><td>${bar.is_complete ? 'closed' : 'so far'}</td></tr>
`
}

/** The page of a name that several assets have: each with the link that means it alone. */
export function ambiguousPage(site: Site, name: string, candidates: readonly Candidate[]): Html {
  const content = html`
<div class="title-row"><h1>${name} means several assets</h1></div>
<div class="card">
<table class="markets assets">
  <caption class="hidden">Assets that ${name} may mean</caption>
  <thead><tr><th scope="col" class="head">Asset</th><th scope="col" class="head kind">Type</th><th scope="col" class="head">Currency</th></tr></thead>
  <tbody>
${candidates.map((each) => html`<tr><th scope="row"><a class="pair" href="${assetPath(each.name_for_it)}">${each.symbol}</a> <span class="muted">${each.name}</span></th><td class="kind">${each.type}</td><td>${each.currency}</td></tr>`)}
  </tbody>
</table>
</div>`
  return layout(site, { title: `${name} · Kerb`, description: `Assets that ${name} may mean`, script: null, content })
}
