import type { IncomingMessage } from 'node:http'
import type { ProviderFault } from './faults.ts'
import { PROVIDER_NAMES, type PriceSetting, type SimulatedProviderName } from './provider-market.ts'
import type { Providers } from './providers.ts'
import { ok, type ProviderResponse } from './simulated-provider.ts'

/**
 * The paths under `/_`, for tests in another process: faults and prices to set, and the requests so far. Faults and
 * prices are posted one or several at a time; times are unix milliseconds. Bad input throws.
 */
export async function handleControlRequest(
  providers: Providers,
  request: IncomingMessage,
  url: URL,
): Promise<ProviderResponse> {
  const query = url.searchParams
  switch (`${request.method} ${url.pathname}`) {
    case 'POST /_faults':
      for (const item of await readItems(request)) providers.fault(item as ProviderFault)
      return ok({ faults: providers.faults() })
    case 'DELETE /_faults':
      providers.clearFaults(parseProvider(query) ?? undefined)
      return ok({ faults: providers.faults() })
    case 'GET /_faults':
      return ok({ faults: providers.faults() })
    case 'POST /_prices':
      for (const item of await readItems(request)) providers.setPrice(item as PriceSetting)
      return ok({})
    case 'DELETE /_prices':
      providers.clearPrices()
      return ok({})
    case 'GET /_prices':
      return ok({ view: providers.view(parseProvider(query) ?? 'yahoo', query.get('id') ?? '') })
    case 'GET /_requests': {
      const since = Number(query.get('since') ?? 0)
      if (Number.isNaN(since)) throw new RangeError('since is in unix milliseconds')
      const filter = { provider: parseProvider(query) ?? undefined, since, path: query.get('path') ?? '' }
      return ok({ counts: providers.counts(), requests: providers.requests(filter), now: providers.now() })
    }
    case 'DELETE /_requests':
      providers.clearRequests()
      return ok({ counts: providers.counts() })
    default:
      return { status: 404, body: { message: 'no such control path' } }
  }
}

function parseProvider(query: URLSearchParams): SimulatedProviderName | null {
  const name = query.get('provider')
  if (name === null) return null
  const known = PROVIDER_NAMES.find((provider) => provider === name)
  if (!known) throw new RangeError(`${name} is no provider`)
  return known
}

async function readItems(request: IncomingMessage): Promise<unknown[]> {
  let text = ''
  for await (const chunk of request) text += chunk
  const body: unknown = JSON.parse(text)
  return Array.isArray(body) ? body : [body]
}
