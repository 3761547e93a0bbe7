import { z } from 'zod'

/** The names that `assets.provider` may have; `manual` is priced by nobody. */
export const PROVIDERS = ['yahoo', 'coinbase', 'binance', 'twelvedata', 'coinmarketcap', 'manual'] as const
export type ProviderName = (typeof PROVIDERS)[number]

/** An asset as Kerb tells it: the columns of brief 001's `assets`, and its number. */
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
  /** What it is traded in, never a minor unit. */
  currency: z.string(),
  isin: z.string().nullable(),
})
export type Asset = z.infer<typeof assetSchema>

/** One of several assets that a name may mean; `name_for_it` means this one alone. */
export const candidateSchema = z.object({
  name_for_it: z.string().meta({ description: 'Asks for this one alone, such as yahoo:SHEL.L' }),
  symbol: z.string(),
  name: z.string(),
  type: z.string(),
  currency: z.string(),
})
export type Candidate = z.infer<typeof candidateSchema>

/** What a name of an asset may look like, in capitals; `provider:provider_id` means one alone. */
export const SYMBOL_PATTERN = /^(?:[A-Z]{1,20}:)?[A-Z0-9^][A-Z0-9.=^_&-]{0,39}$/
