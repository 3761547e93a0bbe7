import type { Settings } from '../src/config.ts'
import type { Source } from '../src/pricing/sources.ts'
import type { QuoteProvider } from '../src/providers/provider.ts'
import type { Fetch } from '../src/providers/result.ts'
import { yahooProvider } from '../src/providers/yahoo.ts'

/** The provider of a source that is set up; null where it is not. */
export function openProvider(
  source: Source,
  config: Settings,
  deps: { fetch: Fetch; now: () => number },
): QuoteProvider | null {
  if (source === 'yahoo') return yahooProvider({ ...deps, url: config.YAHOO_URL })
  return null
}
