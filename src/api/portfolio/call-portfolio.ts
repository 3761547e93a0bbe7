import { log } from '../../log.ts'
import { CodedError } from '../../protocol/errors.ts'

/** The result of a call to a user's object. @throws CodedError `unavailable` when the call fails */
export async function callPortfolio<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    log('portfolio_unreachable', { error: String(error) })
    throw new CodedError('unavailable', 'your portfolio cannot be reached at the moment', { retryAfter: 5 })
  }
}
