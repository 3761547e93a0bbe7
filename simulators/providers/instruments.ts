import { livelinessOf, PRODUCTS } from '../exchange/products.ts'
import { hashText, lattice, mix } from '../exchange/random.ts'
import {
  COIN_PRICES_USD,
  CURRENCY_OVERRIDES,
  DIVIDEND_PAYERS,
  ETFS,
  FIRST_DATES,
  INDEX_VENUES,
  NAMES,
  NON_PAYERS,
  PRICE_LEVELS,
  SPLITS,
  USD_RATES,
} from './levels.ts'
import { CRYPTO, CURRENCIES, dayOf, FUTURES, tradingDayFrom, US, VENUES, type Venue } from './venues.ts'

export type InstrumentKind = 'stock' | 'etf' | 'fund' | 'index' | 'forex' | 'commodity' | 'crypto'

/** As Yahoo calls them. */
export const QUOTE_TYPE: Readonly<Record<InstrumentKind, string>> = {
  stock: 'EQUITY',
  etf: 'ETF',
  fund: 'MUTUALFUND',
  index: 'INDEX',
  forex: 'CURRENCY',
  commodity: 'FUTURE',
  crypto: 'CRYPTOCURRENCY',
}

/** `numerator` shares for every `denominator`, from the opening of local day `day` on. */
type Split = { day: number; numerator: number; denominator: number }

/** Something that has a price: what it is, where it trades and about how much it costs. */
export type Instrument = {
  id: string
  kind: InstrumentKind
  name: string
  venue: Venue
  /** As the venue writes it: GBp is pence. */
  currency: string
  /** Decimals of its price. */
  decimals: number
  /** The price around which it moves now, in `currency` and today's shares. */
  level: number
  /** How much it moves: 1 for a stock. */
  liveliness: number
  firstDay: number
  /** Ascending. */
  splits: readonly Split[]
  /** Dividends of a year, 0 to 4, and their part of the price. */
  payouts: { perYear: number; part: number; firstMonth: number; dayOfMonth: number } | null
  seed: number
  /** Its price follows the waves of this id: a pair in a stable coin moves with the pair in dollars. */
  waves: string
}

const FIAT = 'USD|EUR|GBP|CAD|AUD|JPY|CHF|INR|KRW|BRL|TRY'
const CRYPTO_PAIR = new RegExp(`^([A-Z0-9]{1,12})-(${FIAT}|BTC|ETH|USDT|USDC)$`)

const hashFraction = (seed: number, index: number): number => (lattice(seed, index) + 1) / 2

/** The value of a unit of a currency or coin in US dollars; a coin that is not listed gets its own price. */
function usdPrice(unit: string): number {
  const known = USD_RATES[unit] ?? COIN_PRICES_USD[unit]
  if (known !== undefined) return known
  const own = hashFraction(hashText(unit), 1)
  return 0.01 + own * own * own * 60
}

const decimalsOfCoin = (price: number): number =>
  price >= 50 ? 2 : price >= 1 ? 4 : price >= 0.01 ? 6 : price >= 0.0001 ? 8 : 10

/** True for a symbol with a reserved prefix, which no instrument has: there must be unknown symbols. */
const isReserved = (symbol: string): boolean => /^(NONE|ZZ|GONE)|^(SIX|SIMP|ADH)$/.test(symbol)

/** A pair of crypto under the market's own name of it, `BTC-USD`; null where there is none of that name. */
export function cryptoPair(id: string): Instrument | null {
  const match = CRYPTO_PAIR.exec(id)
  if (!match || isReserved(id)) return null
  const [base, quote] = [match[1] as string, match[2] as string]
  if (base === quote) return null
  const listed = PRODUCTS.find((product) => product.id === id)
  const level = listed?.price ?? usdPrice(base) / usdPrice(quote)
  const seed = hashText(id)
  return {
    id,
    kind: 'crypto',
    name: `${base} ${quote}`,
    venue: CRYPTO,
    currency: quote,
    decimals: listed?.priceDecimals ?? decimalsOfCoin(level),
    level,
    liveliness: livelinessOf(id),
    firstDay: dayOf('2015-01-01') + Math.floor(hashFraction(seed, 2) * 800),
    splits: [],
    payouts: null,
    seed,
    waves: quote === 'USDT' || quote === 'USDC' ? `${base}-USD` : id,
  }
}

/** The kind of instrument that a symbol of this form is at Yahoo; null: none has this form. */
export function yahooInstrument(symbol: string): Instrument | null {
  if (isReserved(symbol) || symbol.length > 24) return null
  const pair = cryptoPair(symbol)
  if (pair) return /-(USDT|USDC)$/.test(symbol) ? null : pair
  const seed = hashText(symbol)
  const plain = {
    id: symbol,
    name: NAMES[symbol] ?? `${symbol.replace(/[\^=].*|\..*/g, '') || symbol.slice(1)} Group`,
    decimals: 2,
    liveliness: 1,
    firstDay: dayOf('2003-01-01') + Math.floor(hashFraction(seed, 2) * 3_600),
    splits: [],
    payouts: null,
    seed,
    waves: symbol,
  }
  const forex = /^([A-Z]{3})([A-Z]{3})=X$/.exec(symbol) ?? /^()([A-Z]{3})=X$/.exec(symbol)
  if (forex) {
    const [from, to] = [forex[1] || 'USD', forex[2] as string]
    if (USD_RATES[from] === undefined || USD_RATES[to] === undefined || from === to) return null
    const level = usdPrice(from) / usdPrice(to)
    const decimals = level > 20 ? 3 : 5
    const name = `${from}/${to}`
    return { ...plain, name, kind: 'forex', venue: CURRENCIES, currency: to, decimals, level, liveliness: 0.15 }
  }
  if (/^[A-Z0-9]{1,4}=F$/.test(symbol))
    return {
      ...plain,
      kind: 'commodity',
      venue: FUTURES,
      currency: 'USD',
      level: PRICE_LEVELS[symbol] ?? 20 + hashFraction(seed, 1) * 500,
    }
  if (/^\^[A-Z0-9][A-Z0-9.-]{0,11}$/.test(symbol)) {
    const venue = indexVenue(symbol)
    const level = PRICE_LEVELS[symbol] ?? 1_000 + hashFraction(seed, 1) * 9_000
    const currency = venue.currency === 'GBp' ? 'GBP' : venue.currency
    return { ...plain, kind: 'index', venue, currency, level, liveliness: 0.6 }
  }
  const stock = /^([A-Z0-9][A-Z0-9&_-]{0,15})(?:\.([A-Z]{1,3}))?$/.exec(symbol)
  const suffix = stock?.[2]
  const venue = suffix === undefined ? US : VENUES[suffix]
  if (!stock || !venue || (suffix === undefined && !/^(?:[A-Z]{1,5}(?:-[A-Z]{1,2})?|0P[A-Z0-9]{8})$/.test(symbol)))
    return null
  const kind = kindOf(symbol, stock[1] as string)
  const currency = CURRENCY_OVERRIDES[symbol] ?? venue.currency
  const dollars = 8 + hashFraction(seed, 1) * hashFraction(seed, 3) * 480
  const level = PRICE_LEVELS[symbol] ?? dollars / (USD_RATES[currency] ?? 1)
  const first = FIRST_DATES[symbol]
  return {
    ...plain,
    kind,
    venue,
    currency,
    decimals: currency === 'JPY' ? 1 : currency === 'KRW' ? 0 : level < 4 ? 4 : 2,
    level,
    liveliness: kind === 'stock' ? 1 : 0.6,
    firstDay: tradingDayFrom(venue, first === undefined ? plain.firstDay : dayOf(first)),
    splits: kind === 'fund' || kind === 'index' ? [] : splitsOf(symbol, venue, seed),
    payouts: payoutsOf(symbol, kind, venue, seed),
  }
}

const indexVenue = (symbol: string): Venue => VENUES[INDEX_VENUES[symbol] ?? ''] ?? US

function kindOf(symbol: string, ticker: string): InstrumentKind {
  if (ETFS.has(symbol) || CURRENCY_OVERRIDES[symbol] !== undefined) return 'etf'
  if (symbol.endsWith('.NYB')) return 'index'
  return /^(?:0P[A-Z0-9]{8}|[A-Z]{4}X)$/.test(ticker) ? 'fund' : 'stock'
}

function splitsOf(symbol: string, venue: Venue, seed: number): Split[] {
  const known = SPLITS[symbol]
  if (known)
    return known.map(([date, numerator, denominator]) => ({
      day: tradingDayFrom(venue, dayOf(date)),
      numerator,
      denominator,
    }))
  // One of twelve has had one split since 2016.
  if (mix(seed, 5) % 12 !== 0) return []
  const day = tradingDayFrom(venue, dayOf('2016-03-01') + (mix(seed, 6) % 3_400))
  const [numerator, denominator] = mix(seed, 7) % 5 === 0 ? [1, 5] : [2 + (mix(seed, 8) % 3), 1]
  return [{ day, numerator: numerator as number, denominator: denominator as number }]
}

function payoutsOf(symbol: string, kind: InstrumentKind, venue: Venue, seed: number): Instrument['payouts'] {
  const pays = kind === 'etf' || DIVIDEND_PAYERS.has(symbol) || mix(seed, 9) % 3 !== 0
  if (kind === 'fund' || kind === 'index' || !pays || NON_PAYERS.has(symbol)) return null
  const perYear = venue === US ? 4 : 1 + (mix(seed, 10) % 2)
  const firstMonth = symbol === 'AAPL' ? 1 : mix(seed, 11) % (12 / perYear)
  return {
    perYear,
    part: (0.004 + hashFraction(seed, 12) * 0.03) / perYear,
    firstMonth,
    dayOfMonth: 5 + (mix(seed, 13) % 20),
  }
}
