import type { Settings } from '../src/config.ts'
import type { Source } from '../src/pricing/sources.ts'
import { binanceProvider } from '../src/providers/binance.ts'
import { coinbaseProvider } from '../src/providers/coinbase-quotes.ts'
import { coinMarketCapProvider } from '../src/providers/coinmarketcap.ts'
import type { ProviderDeps, QuoteProvider } from '../src/providers/provider.ts'
import { twelveDataProvider } from '../src/providers/twelvedata.ts'
import { yahooProvider } from '../src/providers/yahoo.ts'

/** The provider of a source that is set up. The keyed ones are only with a key (see availableSources). */
export function openProvider(source: Source, config: Settings, deps: Omit<ProviderDeps, 'url'>): QuoteProvider {
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
