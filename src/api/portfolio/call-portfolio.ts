import { log } from '../../log.ts'
import { temporarilyUnavailable } from '../http/problems.ts'

/** The result of a call to a user's object. @throws CodedError `unavailable` if it cannot be reached */
export async function callPortfolio<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    log('portfolio_unreachable', { error: String(error) })
    throw temporarilyUnavailable('Your portfolio cannot be reached')
  }
}
