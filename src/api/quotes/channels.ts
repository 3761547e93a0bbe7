import { readSettings } from '../../config.ts'
import { ambiguousMessage, normalizeName, shardOf } from '../../pricing/symbol.ts'
import { lookupQuotes, type ResolvedLookup } from './cache.ts'
import { boardKey, type QuoteRoute, type QuoteRouteError, type QuoteRoutes } from './quote-route.ts'

/** Every board, with the channel for all its quotes. */
export const allQuoteRoutes = (env: Env): QuoteRoute[] =>
  Array.from({ length: readSettings(env).QUOTE_SHARDS }, (_, shard) => ({ key: boardKey(shard), channel: 'quotes.*' }))

/** Routes symbols to boards. Never asks the providers about an unknown symbol: sockets must not use up their rate limits. */
export async function resolveQuoteRoutes(env: Env, symbols: readonly string[]): Promise<QuoteRoutes> {
  const names = new Map(symbols.map((symbol) => [symbol, normalizeName(symbol)]))
  const wanted = [...new Set([...names.values()].filter((name) => name !== null))]
  const results = new Map((await lookupQuotes(env, wanted)).map((result, i) => [wanted[i], result]))
  return new Map(
    [...names].map(([symbol, name]) => [
      symbol,
      name === null
        ? { code: 'unknown_symbol', message: 'must be a symbol such as AAPL' }
        : toQuoteRoute(env, name, results.get(name)),
    ]),
  )
}

function toQuoteRoute(env: Env, name: string, result: ResolvedLookup | undefined): QuoteRoute | QuoteRouteError {
  if (result === undefined || result.kind === 'unknown')
    return { code: 'unknown_symbol', message: `We couldn't find an asset called ${name}.` }
  if (result.kind === 'ambiguous') {
    const { candidates } = result
    return { code: 'ambiguous_symbol', message: ambiguousMessage(name, candidates), candidates }
  }
  const symbol = result.kind === 'quote' ? result.quote.symbol : result.symbol
  const key = boardKey(shardOf(symbol, readSettings(env).QUOTE_SHARDS))
  // Several assets may share a symbol: then the board knows one by `provider:provider_id`.
  return { key, channel: `quotes.${name.includes(':') ? name : symbol}` }
}
