import type { Asset, ProviderName } from '../protocol/asset.ts'

/** Who can be asked. */
export type QuoteProviderName = Exclude<ProviderName, 'manual'>

/** One provider's name of an asset. */
export type ProviderAssetId = { provider: QuoteProviderName; id: string }

/**
 * Coins that Yahoo has under their own ticker. Of tickers that several coins have, the plain one is often not the one
 * that exchanges trade (UNI-USD there is not Uniswap, which is UNI7083-USD), and a price of another coin is a wrong one.
 */
const YAHOO_COINS = new Set(
  'BTC ETH XRP LTC BCH ADA DOGE SOL AVAX LINK DOT XLM ETC ATOM ALGO XTZ TRX BNB AAVE ZEC DASH NEAR HBAR SHIB'.split(
    ' ',
  ),
)
/** What Yahoo tells coins' prices in. */
const YAHOO_CURRENCIES = new Set(['USD', 'EUR', 'GBP', 'CAD', 'AUD', 'JPY', 'CHF', 'INR', 'KRW'])

/**
 * Whom to ask for an asset, in this order: its own provider, then those that price the same thing in the same currency
 * (a pair in USDT is never asked for where USD is meant). `available` are the providers that are set up.
 */
export function providersFor(asset: Asset, available: ReadonlySet<QuoteProviderName>): ProviderAssetId[] {
  const { provider, provider_id, code, currency, type } = asset
  const all: ProviderAssetId[] = provider === 'manual' ? [] : [{ provider, id: provider_id }]
  if (type === 'crypto') {
    const told = provider === 'binance' && provider_id.startsWith(code) ? provider_id.slice(code.length) : currency
    all.push({ provider: 'coinbase', id: `${code}-${told}` })
    if (YAHOO_COINS.has(code) && YAHOO_CURRENCIES.has(told)) all.push({ provider: 'yahoo', id: `${code}-${told}` })
    all.push({ provider: 'coinmarketcap', id: `${code}-${told}` })
  } else if (provider === 'yahoo' && currency === 'USD' && /^[A-Z]{1,5}$/.test(provider_id))
    all.push({ provider: 'twelvedata', id: provider_id })
  const seen = new Set<QuoteProviderName>()
  return all.filter((source) => {
    if (!available.has(source.provider) || seen.has(source.provider)) return false
    seen.add(source.provider)
    return true
  })
}

/** The providers that are set up: those that need a key only with one. */
export function availableProviders(keys: {
  STOCK_PROVIDER_API_KEY?: string | undefined
  CRYPTO_PROVIDER_API_KEY?: string | undefined
}): Set<QuoteProviderName> {
  const sources: QuoteProviderName[] = ['yahoo', 'coinbase', 'binance']
  if (keys.STOCK_PROVIDER_API_KEY !== undefined) sources.push('twelvedata')
  if (keys.CRYPTO_PROVIDER_API_KEY !== undefined) sources.push('coinmarketcap')
  return new Set(sources)
}
