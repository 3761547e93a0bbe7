import { orUnavailable } from '../http/problems.ts'

/** The result of a call to a user's object. @throws CodedError `unavailable` if it cannot be reached */
export const callPortfolio = <T>(call: () => Promise<T>): Promise<T> =>
  orUnavailable(call, 'portfolio_unreachable', 'Your portfolio cannot be reached')
