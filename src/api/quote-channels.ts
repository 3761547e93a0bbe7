import { settings } from '../config.ts'
import { normalName, shardOf } from '../pricing/symbol.ts'
import type { Candidate } from '../protocol/asset.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import { lookUp } from './quote-mirror.ts'

const KEY = /^quotes(?:\.([1-9]\d?))?$/

/** The key of a board's object in joined positions: `quotes`, then `quotes.1` and so on. No product's id looks so. */
export const boardKey = (shard: number): string => (shard === 0 ? 'quotes' : `quotes.${shard}`)

/** The shard of a board's key; null for any other key. */
export function shardOfKey(key: string): number | null {
  const match = KEY.exec(key)
  return match && Number(match[1] ?? 0)
}

/** Where the quote of a name comes from: the board's key, and the channel there. */
export type QuotePlace = { key: string; channel: string }
/** Why a name has no quote. */
export type QuoteFault = {
  code: Extract<ErrorCode, 'unknown_symbol' | 'ambiguous_symbol'>
  message: string
  candidates?: readonly Candidate[]
}
/** By the names that were asked for. */
export type QuotePlaces = ReadonlyMap<string, QuotePlace | QuoteFault>

/** Every board, and the channel there that stands for all its quotes. */
export const everyBoard = (env: Env): QuotePlace[] =>
  Array.from({ length: settings(env).QUOTE_SHARDS }, (_, shard) => ({ key: boardKey(shard), channel: 'quotes.*' }))

/**
 * Where the quotes of these names come from. A name that no asset has is not looked for at the providers: a socket that
 * stays open must not cost their requests.
 */
export async function quotePlaces(env: Env, names: readonly string[]): Promise<QuotePlaces> {
  const places = new Map<string, QuotePlace | QuoteFault>()
  const asked = new Map<string, string>()
  for (const name of names) {
    const normal = normalName(name)
    if (normal === null) places.set(name, { code: 'unknown_symbol', message: 'must be a symbol such as AAPL' })
    else asked.set(name, normal)
  }
  const normals = [...new Set(asked.values())]
  const looks = new Map((await lookUp(env, normals)).map((look, i) => [normals[i], look]))
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
      const key = boardKey(shardOf(symbol, settings(env).QUOTE_SHARDS))
      places.set(name, { key, channel: `quotes.${symbol}` })
    }
  }
  return places
}
