import type { Candidate } from '../../protocol/asset.ts'
import type { ErrorCode } from '../../protocol/errors.ts'

const BOARD_KEY = /^quotes(?:\.([1-9]\d?))?$/

/** The key of a board's object in joined positions: `quotes`, then `quotes.1` and so on. No product's id looks so. */
export const boardKey = (shard: number): string => (shard === 0 ? 'quotes' : `quotes.${shard}`)

/** The shard of a board's key; null for any other key. */
export function parseBoardKey(key: string): number | null {
  const match = BOARD_KEY.exec(key)
  return match && Number(match[1] ?? 0)
}

/** Where the quote of a name comes from: the board's key, and the channel there. */
export type QuoteRoute = { key: string; channel: string }
/** Why a name has no quote. */
export type QuoteRouteError = {
  code: Extract<ErrorCode, 'unknown_symbol' | 'ambiguous_symbol'>
  message: string
  candidates?: readonly Candidate[]
}
/** By the names that were asked for. */
export type QuoteRoutes = ReadonlyMap<string, QuoteRoute | QuoteRouteError>
