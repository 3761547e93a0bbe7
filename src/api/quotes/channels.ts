import { readSettings } from '../../config.ts'
import { normalizeName, shardOf } from '../../pricing/symbol.ts'
import { lookupQuotes } from './cache.ts'
import { boardKey, type QuoteRoute, type QuoteRouteError, type QuoteRoutes } from './quote-route.ts'

/** Every board, and the channel there that stands for all its quotes. */
export const allQuoteRoutes = (env: Env): QuoteRoute[] =>
  Array.from({ length: readSettings(env).QUOTE_SHARDS }, (_, shard) => ({ key: boardKey(shard), channel: 'quotes.*' }))

/**
 * Where the quotes of these names come from. A name that no asset has is not looked for at the providers: a socket that
 * stays open must not cost their requests.
 */
export async function resolveQuoteRoutes(env: Env, names: readonly string[]): Promise<QuoteRoutes> {
  const places = new Map<string, QuoteRoute | QuoteRouteError>()
  const asked = new Map<string, string>()
  for (const name of names) {
    const normal = normalizeName(name)
    if (normal === null) places.set(name, { code: 'unknown_symbol', message: 'must be a symbol such as AAPL' })
    else asked.set(name, normal)
  }
  const normals = [...new Set(asked.values())]
  const looks = new Map((await lookupQuotes(env, normals)).map((look, i) => [normals[i], look]))
  for (const [name, normal] of asked) {
    const look = looks.get(normal)
    if (look === undefined || look.kind === 'unknown')
      places.set(name, { code: 'unknown_symbol', message: `no asset is called ${normal}` })
    else if (look.kind === 'ambiguous') {
      const meant = look.candidates.map(({ name_for_it }) => name_for_it).join(', ')
      const message = `${normal} means several assets: ask for one of ${meant}`
      places.set(name, { code: 'ambiguous_symbol', message, candidates: look.candidates })
    } else {
      const symbol = look.kind === 'quote' ? look.quote.symbol : look.symbol
      const key = boardKey(shardOf(symbol, readSettings(env).QUOTE_SHARDS))
      // Several assets may have one symbol: then `provider:provider_id` is the name that the board knows one by.
      places.set(name, { key, channel: `quotes.${normal.includes(':') ? normal : symbol}` })
    }
  }
  return places
}
