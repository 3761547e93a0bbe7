import { z } from 'zod'
import { QUOTE_PROVIDERS, type QuoteProviderName } from '../../src/protocol/asset.ts'
import { cryptoPair, type Instrument, yahooInstrument } from './instruments.ts'
import { type CurrentDay, openPrices, type Prices } from './market.ts'

/** The providers that are simulated here: all but Coinbase, which is the simulated exchange. */
export type SimulatedProviderName = Exclude<QuoteProviderName, 'coinbase'>
export const PROVIDER_NAMES = QUOTE_PROVIDERS.filter((name) => name !== 'coinbase')

export const mapProviders = <T>(toValue: (name: SimulatedProviderName) => T) =>
  Object.fromEntries(PROVIDER_NAMES.map((name) => [name, toValue(name)])) as Record<SimulatedProviderName, T>

/**
 * A price set by hand: for one `id` (at one provider, or at all that know it), or with `market` for all of a market
 * (`us_market`, or its exchange's code, `NMS`; `*` for every one). Null takes a setting back.
 */
const priceSettingSchema = z
  .object({
    provider: z.enum(PROVIDER_NAMES).optional(),
    id: z.string().optional(),
    market: z.string().optional(),
    price: z.union([z.number(), z.string()]).nullish(),
    previous_close: z.number().nullish(),
    currency: z.string().nullish(),
    market_state: z.enum(['open', 'closed', 'pre', 'post']).nullish(),
    /** It does not exist any more. */
    unknown: z.boolean().nullish(),
  })
  .refine((s) => (s.id === undefined) !== (s.market === undefined), 'either id or market')
  .refine((s) => s.id !== undefined || (s.price ?? s.currency ?? s.unknown) == null, 'a market has a state alone')
export type PriceSetting = z.input<typeof priceSettingSchema>

/** How one instrument looks to a provider now, in plain numbers; a price set by hand may be text that is no number. */
export type InstrumentQuote = {
  instrument: Instrument
  price: number | string
  previousClose: number
  open: number
  high: number
  low: number
  volume: number
  currency: string
  state: CurrentDay['state']
  /** Unix seconds. */
  time: number
}

export type ProviderMarket = {
  prices: Prices
  /** The instrument of a provider's id; null: the provider does not know the id. */
  instrument(provider: SimulatedProviderName, id: string): Instrument | null
  quote(provider: SimulatedProviderName, id: string, now: number): InstrumentQuote | null
  setting(provider: SimulatedProviderName, id: string): Partial<PriceSetting>
  set(setting: PriceSetting): void
  clear(): void
}

/** The quote assets of Binance's pairs, longest first. */
const QUOTES = ['FDUSD', 'USDT', 'USDC', 'BTC', 'ETH', 'BNB', 'EUR', 'TRY']

/** `BTC-USDT` of `BTCUSDT`. */
export function pairOfBinance(id: string): string | null {
  const quote = QUOTES.find((end) => id.endsWith(end) && id.length > end.length)
  return quote === undefined || !/^[A-Z0-9]{2,17}$/.test(id) ? null : `${id.slice(0, -quote.length)}-${quote}`
}

const findInstrument: Record<SimulatedProviderName, (id: string) => Instrument | null> = {
  yahoo: yahooInstrument,
  binance: (id) => {
    const pair = pairOfBinance(id)
    return pair === null ? null : cryptoPair(pair.replace(/-FDUSD$/, '-USDC'))
  },
  twelvedata: (id) => {
    const found = /^[A-Z]{1,5}$/.test(id) ? yahooInstrument(id) : null
    return found?.kind === 'fund' ? null : found
  },
  coinmarketcap: (id) => cryptoPair(id),
}

/** A price set by hand as text is sent as a number; other text is sent unchanged. */
const parsePrice = (price: PriceSetting['price']): number | string | null | undefined =>
  typeof price === 'string' && price.trim() !== '' && Number.isFinite(Number(price)) ? Number(price) : price

/**
 * The market as the providers quote it.
 * @param ids if given, nothing else exists, at any provider.
 */
export function openProviderMarket(seed: string, ids: ReadonlySet<string> | null): ProviderMarket {
  const prices = openPrices(seed)
  const instruments = new Map<string, Instrument | null>()
  const settings = new Map<string, PriceSetting>()

  const setting = (provider: SimulatedProviderName, id: string): Partial<PriceSetting> => ({
    ...settings.get(` ${id}`),
    ...settings.get(`${provider} ${id}`),
  })

  const instrument = (provider: SimulatedProviderName, id: string): Instrument | null => {
    if (setting(provider, id).unknown || (ids && !ids.has(id))) return null
    const key = `${provider} ${id}`
    let found = instruments.get(key)
    if (found === undefined) {
      found = findInstrument[provider](id)
      // Whoever asks for names that do not exist must not fill this.
      if (found) instruments.set(key, found)
    }
    return found
  }

  const view = (provider: SimulatedProviderName, id: string, now: number): InstrumentQuote | null => {
    const found = instrument(provider, id)
    const present = found && prices.currentDay(found, now / 1000)
    if (!found || !present) return null
    const own = setting(provider, id)
    const { code, market } = found.venue
    const set = [own, settings.get(code), settings.get(market), settings.get('*')]
    const state = set.map((one) => one?.market_state).find((one) => one != null) ?? present.state
    const unit = 10 ** found.decimals
    const seconds = Math.floor(now / 1000)
    // Opened by hand on a closed day: it moves a little around its last close, for something to move at all.
    const held = state === 'open' && !present.inSession && found.kind !== 'fund'
    const moved = held ? prices.jitter(found, present.price, seconds) : present.price
    const price = parsePrice(own.price) ?? moved / unit
    const reached = Number(price) > 0 ? Number(price) : present.price / unit
    return {
      instrument: found,
      price,
      previousClose: own.previous_close ?? present.previousClose / unit,
      open: present.open / unit,
      high: Math.max(present.high / unit, moved / unit, reached),
      low: Math.min(present.low / unit, moved / unit, reached),
      volume: present.volume,
      currency: own.currency ?? found.currency,
      state,
      time: held || own.price != null ? seconds : present.time,
    }
  }

  return {
    prices,
    instrument,
    quote: view,
    setting,
    set(input) {
      const parsed = priceSettingSchema.parse(input)
      const key = parsed.market ?? `${parsed.provider ?? ''} ${parsed.id}`
      const merged = { ...settings.get(key), ...parsed }
      settings.set(key, merged)
    },
    clear: () => settings.clear(),
  }
}
