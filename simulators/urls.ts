import { QUOTE_PROVIDERS } from '../src/protocol/asset.ts'
import { PROVIDER_REGISTRY } from '../src/providers/registry.ts'
import type { Exchange } from './exchange/exchange.ts'
import type { Providers } from './providers/providers.ts'

/** The settings that point a Worker at the simulated exchange and at the simulated providers. */
export function simulatedUrls(exchange: Pick<Exchange, 'url' | 'wsUrl'>, providers: Pick<Providers, 'urls'>) {
  const urls: Record<string, string> = { COINBASE_WS_URL: exchange.wsUrl, COINBASE_EXCHANGE_URL: exchange.url }
  for (const name of QUOTE_PROVIDERS)
    urls[PROVIDER_REGISTRY[name].urlSetting] = name === 'coinbase' ? exchange.url : providers.urls[name]
  return urls
}
