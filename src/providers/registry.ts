import type { Settings } from '../config.ts'
import type { QuoteProviderName } from '../pricing/quote-providers.ts'
import { binanceProvider } from './binance.ts'
import { coinbaseProvider } from './coinbase-quotes.ts'
import { coinMarketCapProvider } from './coinmarketcap.ts'
import type { ProviderDeps, QuoteProvider } from './provider.ts'
import { twelveDataProvider } from './twelvedata.ts'
import { yahooProvider } from './yahoo.ts'

/** The provider of a source that is set up. The keyed ones are only with a key (see availableSources). */
export function createProvider(
  source: QuoteProviderName,
  config: Settings,
  deps: Omit<ProviderDeps, 'url'>,
): QuoteProvider {
  const { STOCK_PROVIDER_API_KEY: stockKey = '', CRYPTO_PROVIDER_API_KEY: cryptoKey = '' } = config
  switch (source) {
    case 'yahoo':
      return yahooProvider({ ...deps, url: config.YAHOO_URL })
    case 'coinbase':
      return coinbaseProvider({ ...deps, url: config.COINBASE_REST_URL })
    case 'binance':
      return binanceProvider({ ...deps, url: config.BINANCE_URL })
    case 'twelvedata':
      return twelveDataProvider({ ...deps, url: config.TWELVEDATA_URL, key: stockKey })
    case 'coinmarketcap':
      return coinMarketCapProvider({ ...deps, url: config.COINMARKETCAP_URL, key: cryptoKey })
  }
}
