import type { ProviderAssetId } from '../pricing/provider-quote.ts'
import { type Asset, QUOTE_PROVIDERS, type QuoteProviderName } from '../protocol/asset.ts'
import { binanceProvider } from './binance.ts'
import { coinbaseProvider } from './coinbase-quotes.ts'
import { coinMarketCapProvider } from './coinmarketcap.ts'
import type { KeyedProviderDeps, ProviderDeps, QuoteProvider } from './provider.ts'
import { twelveDataProvider } from './twelvedata.ts'
import { isYahooPair, yahooProvider } from './yahoo.ts'

/** One provider: its settings, what it can do, and how it is made. */
type RegisteredProvider = {
  /** The setting with its base URL, and that URL unless set. */
  urlSetting: string
  defaultUrl: string
  /** The setting with its API key, without which it is not used; null: it needs none. */
  keySetting: string | null
  /** The setting with the weight of requests a minute that it may be sent, and that weight unless set. */
  limitSetting: string
  defaultLimit: number
  /** The names that are looked for at this provider when no asset has them; null: none. */
  finds: RegExp | null
  /** The id under which this provider prices another provider's asset in the same currency (Q6); null: it does not. */
  fallbackId(asset: PricedAsset): string | null
  create(deps: KeyedProviderDeps): QuoteProvider
}

/** An asset with the currency that its own provider prices it in: USDT for `BTCUSDT`, not USD. */
type PricedAsset = Pick<Asset, 'provider' | 'provider_id' | 'code' | 'currency' | 'type'>

const cryptoPair = ({ type, code, currency }: PricedAsset): string | null =>
  type === 'crypto' ? `${code}-${currency}` : null

/**
 * Every provider of quotes, in the order in which they are asked for an asset of another one. A new provider is its own
 * file, its label in src/protocol/asset.ts, its entry here, its name in the CHECK of `assets.provider`, and its
 * simulator. Limits are well below what each provider allows.
 */
export const PROVIDER_REGISTRY = {
  coinbase: {
    urlSetting: 'COINBASE_REST_URL',
    defaultUrl: 'https://api.coinbase.com',
    keySetting: null,
    limitSetting: 'COINBASE_PER_MINUTE',
    defaultLimit: 120,
    // Coinbase is the market itself; Yahoo only reports it.
    finds: /^[A-Z0-9]{1,20}-(?:USD|USDC|USDT|EUR|GBP|BTC|ETH)$/,
    fallbackId: cryptoPair,
    create: coinbaseProvider,
  },
  yahoo: {
    // Set to another address, all of Yahoo's hosts are looked for there.
    urlSetting: 'YAHOO_URL',
    defaultUrl: 'https://query2.finance.yahoo.com',
    keySetting: null,
    limitSetting: 'YAHOO_PER_MINUTE',
    defaultLimit: 60,
    finds: /^/,
    fallbackId: (asset) =>
      asset.type === 'crypto' && isYahooPair(asset.code, asset.currency) ? cryptoPair(asset) : null,
    create: yahooProvider,
  },
  binance: {
    urlSetting: 'BINANCE_URL',
    defaultUrl: 'https://api.binance.com',
    keySetting: null,
    // Of 6,000 that Binance allows.
    limitSetting: 'BINANCE_WEIGHT_PER_MINUTE',
    defaultLimit: 1_000,
    finds: null,
    fallbackId: () => null,
    create: binanceProvider,
  },
  twelvedata: {
    urlSetting: 'TWELVEDATA_URL',
    defaultUrl: 'https://api.twelvedata.com',
    keySetting: 'STOCK_PROVIDER_API_KEY',
    // The free plan's credits.
    limitSetting: 'TWELVEDATA_PER_MINUTE',
    defaultLimit: 8,
    finds: null,
    fallbackId: ({ provider, provider_id, currency, type }) =>
      type !== 'crypto' && provider === 'yahoo' && currency === 'USD' && /^[A-Z]{1,5}$/.test(provider_id)
        ? provider_id
        : null,
    create: twelveDataProvider,
  },
  coinmarketcap: {
    urlSetting: 'COINMARKETCAP_URL',
    defaultUrl: 'https://pro-api.coinmarketcap.com',
    keySetting: 'CRYPTO_PROVIDER_API_KEY',
    // The free plan's requests.
    limitSetting: 'COINMARKETCAP_PER_MINUTE',
    defaultLimit: 30,
    finds: null,
    fallbackId: cryptoPair,
    create: coinMarketCapProvider,
  },
} as const satisfies Record<QuoteProviderName, RegisteredProvider>

type Registered = (typeof PROVIDER_REGISTRY)[QuoteProviderName]
export type UrlSetting = Registered['urlSetting']
export type KeySetting = NonNullable<Registered['keySetting']>
export type LimitSetting = Registered['limitSetting']

/** The settings of all providers, as src/config.ts reads them. */
type ProviderKeys = { [K in KeySetting]?: string | undefined }
export type ProviderSettings = { [K in UrlSetting]: string } & { [K in LimitSetting]: number } & ProviderKeys

/** The provider of this name, as the settings reach it. */
export function createProvider(name: QuoteProviderName, settings: ProviderSettings, deps: ProviderDeps): QuoteProvider {
  const { create, urlSetting, keySetting } = PROVIDER_REGISTRY[name]
  const key = keySetting === null ? '' : (settings[keySetting] ?? '')
  return create({ ...deps, url: settings[urlSetting], key })
}

/** The providers that are set up: one that needs a key only with it. */
export const availableProviders = (keys: ProviderKeys): Set<QuoteProviderName> =>
  new Set(
    QUOTE_PROVIDERS.filter((name) => {
      const { keySetting } = PROVIDER_REGISTRY[name]
      return keySetting === null || keys[keySetting] !== undefined
    }),
  )

/** The API keys that are set. */
export const providerKeys = (keys: ProviderKeys): string[] =>
  Object.values(PROVIDER_REGISTRY).flatMap(({ keySetting }) => (keySetting && keys[keySetting]) || [])

/** The providers to look for a name at, in order. */
export const providersToSearch = (name: string): QuoteProviderName[] =>
  registeredNames().filter((provider) => PROVIDER_REGISTRY[provider].finds?.test(name))

/**
 * Where to ask for an asset, in order: its own provider, then those that price the same thing in the same currency (a
 * pair in USDT is never asked for in USD, Q6).
 * @param available the providers that are set up
 */
export function providersFor(asset: Asset, available: ReadonlySet<QuoteProviderName>): ProviderAssetId[] {
  const { provider: own, provider_id, code } = asset
  const pairCurrency = own === 'binance' && asset.type === 'crypto' && provider_id.startsWith(code)
  const priced = pairCurrency ? { ...asset, currency: provider_id.slice(code.length) } : asset
  const others = registeredNames().filter((provider) => provider !== own)
  const ids = others.flatMap((provider) => {
    const id = PROVIDER_REGISTRY[provider].fallbackId(priced)
    return id === null ? [] : [{ provider, id }]
  })
  const all: ProviderAssetId[] = own === 'manual' ? ids : [{ provider: own, id: provider_id }, ...ids]
  return all.filter(({ provider }) => available.has(provider))
}

const registeredNames = () => Object.keys(PROVIDER_REGISTRY) as QuoteProviderName[]
