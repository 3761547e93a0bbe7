import type { CandleReader } from './candles.ts'
import type { MarketTrade, Tape } from './market.ts'
import { formatUnits } from './wire.ts'

const DAY_S = 86_400

/** The sources of the responses: tapes and candles by product id, the market's clock in unix milliseconds. */
export type MarketData = {
  tapes: ReadonlyMap<string, Tape>
  candles: ReadonlyMap<string, CandleReader>
  now(): number
}

/** A product as Advanced Trade REST describes it; what the market did in the last 24 hours agrees with its trades. */
export function productBody(tape: Tape, books: MarketData): Record<string, unknown> {
  const product = tape.product
  const now = Math.floor(books.now() * 1000)
  const newest = tape.newestId(now)
  const last: MarketTrade | undefined = newest >= tape.firstId ? tape.byId(newest, newest)[0] : undefined
  const day = last ? last24Hours(tape, books, now) : null
  const trading = product.status === 'online'
  const [base, quote] = product.id.split('-') as [string, string]
  const price = (value: bigint | undefined) => (value === undefined ? '' : formatUnits(value, product.priceDecimals))
  return {
    product_id: product.id,
    price: last ? price(last.price) : trading ? '' : product.price.toFixed(product.priceDecimals),
    price_percentage_change_24h: last && day?.first ? percentChange(day.first, last.price) : '',
    volume_24h: day ? formatUnits(day.volume, product.sizeDecimals) : '',
    volume_percentage_change_24h: '',
    base_increment: formatUnits(1n, product.sizeDecimals),
    quote_increment: formatUnits(1n, product.priceDecimals),
    quote_min_size: '1',
    quote_max_size: '150000000',
    base_min_size: product.minSize,
    base_max_size: product.maxSize,
    base_name: product.baseName,
    quote_name: product.quoteName,
    watched: false,
    is_disabled: false,
    new: false,
    status: product.status,
    cancel_only: false,
    limit_only: false,
    post_only: false,
    trading_disabled: !trading,
    auction_mode: false,
    product_type: 'SPOT',
    quote_currency_id: quote,
    base_currency_id: base,
    fcm_trading_session_details: null,
    mid_market_price: '',
    alias: '',
    alias_to: [],
    base_display_symbol: base,
    quote_display_symbol: quote,
    view_only: false,
    price_increment: formatUnits(1n, product.priceDecimals),
    display_name: product.id,
    product_venue: 'CBE',
    approximate_quote_24h_volume: '',
    new_at: '2023-01-01T00:00:00Z',
    market_cap: '',
    base_cbrn: '',
    quote_cbrn: '',
    product_cbrn: '',
    icon_color: '',
    icon_url: '',
    display_name_overwrite: '',
    is_alpha_testing: false,
    about_description: '',
    best_bid_price: '',
    best_ask_price: '',
    high_24h: price(day?.high),
    low_24h: price(day?.low),
  }
}

/** The last 24 hours, in whole minutes: the price that they began with, their volume and range. */
function last24Hours(tape: Tape, books: MarketData, now: number) {
  const from = Math.floor(now / 60_000_000 - 1_440) * 60
  const minutes = books.candles.get(tape.product.id)?.read(60, from, from + DAY_S + 120, now) ?? []
  let volume = 0n
  let high: bigint | undefined
  let low: bigint | undefined
  for (const minute of minutes) {
    volume += minute.volume
    if (high === undefined || minute.high > high) high = minute.high
    if (low === undefined || minute.low < low) low = minute.low
  }
  return { first: minutes[0]?.open, volume, high, low }
}

/** `(to - from) / from` in per cent with fourteen decimals. */
function percentChange(from: bigint, to: bigint): string {
  return formatUnits(((to - from) * 100n * 10n ** 14n) / from, 14)
}
