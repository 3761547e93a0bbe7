import { ambiguousMessage } from '../../pricing/symbol.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { StaleReason } from '../../protocol/quote.ts'
import type { LookupScope } from '../http/context.ts'
import { isLookupAllowed, lookupLimitError } from '../http/rate-limits.ts'
import { discoverQuote, lookupQuotes, type ResolvedLookup } from './cache.ts'

const NO_PRICE_REASONS: Readonly<Record<StaleReason, string>> = {
  expired: 'a provider is being asked. Try again in a few seconds.',
  rate_limited: 'the provider’s rate limit is used up. Try again later.',
  unavailable: 'no provider responds. Try again later.',
  invalid: 'the provider returned an invalid price. Try again later.',
  unknown: 'it is no longer listed by the provider.',
}

/** The problem of an unknown name. */
function unknownAssetError(name: string): CodedError {
  const message = `We couldn't find an asset called ${name}.`
  return new CodedError('unknown_symbol', message, { errors: [{ field: 'symbol', message }] })
}

/** The problem of a lookup without a price. */
export function lookupError(result: Exclude<ResolvedLookup, { kind: 'quote' }>): CodedError {
  const { name } = result
  switch (result.kind) {
    case 'unknown':
      return unknownAssetError(name)
    case 'ambiguous':
      return new CodedError('ambiguous_symbol', ambiguousMessage(name, result.candidates), {
        candidates: result.candidates,
      })
    case 'unpriced':
      return new CodedError('unavailable', `${result.symbol} has no price yet: ${NO_PRICE_REASONS[result.reason]}`, {
        retryAfter: Math.max(1, Math.ceil(result.retryAfter)),
      })
  }
}

/**
 * Looks up a symbol, and asks the providers about an unknown one.
 * @param name as `normalizeName` returns it
 * @throws CodedError `too_many_requests` for a client that has asked for too many unknown symbols
 */
export async function lookupOrDiscover(scope: LookupScope, name: string): Promise<ResolvedLookup> {
  const [result] = await lookupQuotes(scope.env, [name])
  if (result && (result.kind !== 'unknown' || result.asked)) return result
  if (!(await isLookupAllowed(scope))) throw lookupLimitError()
  return discoverQuote(scope.env, name)
}
