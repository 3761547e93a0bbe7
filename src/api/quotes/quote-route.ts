import type { Candidate } from '../../protocol/asset.ts'
import type { ErrorCode } from '../../protocol/errors.ts'

const BOARD_KEY = /^quotes(?:\.([1-9]\d?))?$/

/** The key of a board in joined stream positions: `quotes`, `quotes.1` and so on. No product id looks like this. */
export const boardKey = (shard: number): string => (shard === 0 ? 'quotes' : `quotes.${shard}`)

/** The shard of a board's key; null for another key. */
export function parseBoardKey(key: string): number | null {
  const match = BOARD_KEY.exec(key)
  return match && Number(match[1] ?? 0)
}

/** Where the quote of a symbol comes from: the board's key, and the channel on that board. */
export type QuoteRoute = { key: string; channel: string }
/** Why a symbol has no quote. */
export type QuoteRouteError = {
  code: Extract<ErrorCode, 'unknown_symbol' | 'ambiguous_symbol'>
  message: string
  candidates?: readonly Candidate[]
}
/** Routes by the symbols that the client wrote. */
export type QuoteRoutes = ReadonlyMap<string, QuoteRoute | QuoteRouteError>
