import { seededRandom } from '../exchange/random.ts'
import { type Instrument, type InstrumentKind, QUOTE_TYPE } from './instruments.ts'
import type { InstrumentQuote, ProviderMarket } from './provider-market.ts'
import { offsetOf, sessionOf, zoneName } from './venues.ts'

export const TYPE_NAME: Readonly<Record<InstrumentKind, string>> = {
  stock: 'Equity',
  etf: 'ETF',
  fund: 'Fund',
  index: 'Index',
  forex: 'Currency',
  commodity: 'Futures',
  crypto: 'Cryptocurrency',
}

/** Seven digits, as in Yahoo's changes. */
const roundFloat = (value: number): number => Number(value.toPrecision(8))

const basics = (symbol: string) => ({
  language: 'en-US',
  region: 'US',
  esgPopulated: false,
  corporateActions: [],
  symbol,
})

/** A symbol's entry in the answer of `/v7/finance/quote`; null where Yahoo leaves it out. */
export function quoteBody(board: ProviderMarket, symbol: string, now: number): Record<string, unknown> | null {
  const { unknown } = board.setting('yahoo', symbol)
  if (!unknown && (symbol === 'SIMP' || symbol.startsWith('GONE')))
    return {
      ...basics(symbol),
      quoteType: 'NONE',
      triggerable: false,
      customPriceAlertConfidence: 'NONE',
      hasPrePostMarketData: false,
      tradeable: false,
      cryptoTradeable: false,
    }
  if (!unknown && symbol === 'ADH')
    return {
      ...basics(symbol),
      quoteType: 'MUTUALFUND',
      typeDisp: 'Fund',
      quoteSourceName: 'Delayed Quote',
      marketState: 'CLOSED',
      regularMarketTime: 1_561_759_658,
      exchange: 'YHD',
      market: 'us_market',
      exchangeTimezoneName: 'America/New_York',
      exchangeTimezoneShortName: 'EST',
      gmtOffSetMilliseconds: -18_000_000,
      fiftyTwoWeekLow: 5.6,
      fiftyTwoWeekHigh: 9.24,
      sourceInterval: 15,
      exchangeDataDelayedBy: 0,
      tradeable: false,
      cryptoTradeable: false,
      hasPrePostMarketData: false,
      priceHint: 2,
      fullExchangeName: 'YHD',
    }
  const view = board.quote('yahoo', symbol, now)
  return view && body(view, now)
}

function body(view: InstrumentQuote, now: number): Record<string, unknown> {
  const { instrument, price, previousClose } = view
  const { kind, venue, name } = instrument
  const seconds = Math.floor(now / 1000)
  const change = Number(price) - previousClose
  const stock = kind === 'stock'
  const flat = kind === 'fund'
  const volume = kind === 'crypto' ? Math.round(view.volume * (view.high + view.low) * 0.5) : view.volume
  return {
    ...basics(instrument.id),
    quoteType: QUOTE_TYPE[kind],
    typeDisp: TYPE_NAME[kind],
    quoteSourceName: venue.code === 'NMS' ? 'Nasdaq Real Time Price' : 'Delayed Quote',
    triggerable: true,
    customPriceAlertConfidence: 'HIGH',
    shortName: name,
    longName: name,
    marketState: marketState(view, seconds),
    regularMarketChangePercent: roundFloat((change / previousClose) * 100),
    regularMarketPrice: price,
    currency: view.currency,
    exchange: venue.code,
    messageBoardId: `finmb_${instrument.seed % 1_000_000}`,
    exchangeTimezoneName: venue.zone,
    exchangeTimezoneShortName: zoneName(venue, seconds),
    gmtOffSetMilliseconds: offsetOf(venue, seconds) * 1000,
    market: venue.market,
    regularMarketTime: view.time,
    regularMarketChange: roundFloat(change),
    regularMarketPreviousClose: previousClose,
    fullExchangeName: venue.name,
    ...(!flat && {
      regularMarketOpen: view.open,
      regularMarketDayHigh: view.high,
      regularMarketDayLow: view.low,
      regularMarketDayRange: `${view.low} - ${view.high}`,
      regularMarketVolume: volume,
      bid: 0,
      ask: 0,
      bidSize: 0,
      askSize: 0,
    }),
    ...(stock && earnings(instrument, Number(price))),
    ...(kind === 'commodity' && { contractSymbol: false, headSymbolAsString: instrument.id }),
    ...(kind === 'crypto' && {
      fromCurrency: instrument.name.split(' ')[0],
      toCurrency: `${instrument.currency}=X`,
      lastMarket: 'CoinMarketCap',
      volume24Hr: volume,
    }),
    ...(venue.extended &&
      view.state === 'post' && {
        postMarketPrice: price,
        postMarketTime: seconds,
        postMarketChange: 0,
        postMarketChangePercent: 0,
      }),
    fiftyTwoWeekLow: roundFloat(view.low * 0.8),
    fiftyTwoWeekHigh: roundFloat(view.high * 1.2),
    sourceInterval: 15,
    exchangeDataDelayedBy: venue.code === 'NMS' || kind === 'crypto' || kind === 'forex' ? 0 : 15,
    tradeable: false,
    cryptoTradeable: kind === 'crypto',
    hasPrePostMarketData: venue.extended !== null && !flat,
    firstTradeDateMilliseconds: sessionOf(venue, instrument.firstDay).open * 1000,
    priceHint: instrument.decimals > 2 ? 4 : 2,
  }
}

/** One of eight loses money, and has no P/E then. `.L` companies report in pounds while they trade in pence. */
function earnings(instrument: Instrument, price: number): Record<string, unknown> {
  const random = seededRandom(instrument.seed)
  const part = 0.02 + random() * 0.06
  const minor = /[a-z]/.test(instrument.currency) || instrument.currency === 'ILA'
  const level = minor ? instrument.level / 100 : instrument.level
  const eps = Number((level * part * (random() < 0.125 ? -1 : 1)).toFixed(2))
  if (eps === 0) return {}
  return {
    financialCurrency: minor ? { GBp: 'GBP', ZAc: 'ZAR', ILA: 'ILS' }[instrument.currency] : instrument.currency,
    epsTrailingTwelveMonths: eps,
    ...(eps > 0 && { trailingPE: roundFloat((minor ? price / 100 : price) / eps) }),
    sharesOutstanding: 15_022_100_480,
  }
}

/** Yahoo's own words: before and after the extended hours of a day of trading, a night has two names. */
function marketState(view: InstrumentQuote, seconds: number): string {
  const { venue } = view.instrument
  if (view.state === 'open') return 'REGULAR'
  if (view.state === 'pre') return 'PRE'
  if (view.state === 'post') return 'POST'
  if (!venue.extended) return 'CLOSED'
  const local = seconds + offsetOf(venue, seconds)
  const weekday = new Date(local * 1000).getUTCDay()
  if (weekday === 0 || weekday === 6) return 'CLOSED'
  return (local % 86_400) / 60 < venue.extended.pre ? 'PREPRE' : 'POSTPOST'
}
