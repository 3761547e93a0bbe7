import { z } from 'zod'

/** The providers of quotes by name, each with its label. src/providers/registry.ts says how each is reached. */
export const PROVIDER_LABELS = {
  yahoo: 'Yahoo Finance',
  coinbase: 'Coinbase',
  binance: 'Binance',
  twelvedata: 'Twelve Data',
  coinmarketcap: 'CoinMarketCap',
} as const
export type QuoteProviderName = keyof typeof PROVIDER_LABELS
export const QUOTE_PROVIDERS = Object.keys(PROVIDER_LABELS) as QuoteProviderName[]

/** The values of `assets.provider`; an asset of `manual` has no provider of quotes. */
export type ProviderName = QuoteProviderName | 'manual'
export const PROVIDERS: readonly ProviderName[] = [...QUOTE_PROVIDERS, 'manual']

/** An asset as the API returns it. */
export const assetSchema = z.object({
  asset_id: z.int().meta({ description: 'The number of the asset here' }),
  symbol: z.string().meta({ description: 'BTC, AAPL, LDO.MI', example: 'AAPL' }),
  name: z.string(),
  /** `stock`, `etf`, `fund`, `index`, `forex`, `commodity`, `crypto`, or a word of whoever added it. */
  type: z.string(),
  category: z.string(),
  /** The ticker without its market: `SHEL` of `SHEL.L`, `BTC` of `BTC-USD`. */
  code: z.string(),
  provider: z.enum(PROVIDERS),
  /** Its name at the provider: `BTC-USD` at Coinbase, `BTCUSDT` at Binance. */
  provider_id: z.string(),
  /** The trading currency, never a minor unit. */
  currency: z.string(),
  isin: z.string().nullable(),
})
export type Asset = z.infer<typeof assetSchema>

/** One of several assets that a name may mean; `name_for_it` means this one only. */
export const candidateSchema = z.object({
  name_for_it: z.string().meta({ description: 'Asks for this one alone, such as yahoo:SHEL.L' }),
  symbol: z.string(),
  name: z.string(),
  type: z.string(),
  currency: z.string(),
})
export type Candidate = z.infer<typeof candidateSchema>

/** The form of an asset's name in upper case; `provider:provider_id` names exactly one. */
export const SYMBOL_PATTERN = /^(?:[A-Z]{1,20}:)?[A-Z0-9^][A-Z0-9.=^_&-]{0,39}$/
