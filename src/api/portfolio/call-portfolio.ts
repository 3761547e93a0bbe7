import { log } from '../../log.ts'
import { temporarilyUnavailable } from '../http/problems.ts'

/** Calls a user's object. @throws CodedError `unavailable` if it cannot be reached */
export async function callPortfolio<T>(c: { var: { requestId: string } }, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    log('portfolio_unreachable', { request_id: c.var.requestId, error: String(error) })
    throw temporarilyUnavailable('Your portfolio cannot be reached')
  }
}
