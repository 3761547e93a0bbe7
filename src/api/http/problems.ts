import type { Context } from 'hono'
import { log } from '../../log.ts'
import { CodedError, ERROR_CODES, type Problem } from '../../protocol/errors.ts'
import type { AppEnv } from './context.ts'

/** Answers with the problem details (RFC 9457) of any error; one without a code is logged and told as `internal`. */
export function problemResponse(error: Error, c: Context<AppEnv>): Response {
  const coded = error instanceof CodedError ? error : toInternalError(error, c)
  const { status, title } = ERROR_CODES[coded.code]
  const body: Problem = {
    type: `urn:kerb:problem:${coded.code}`,
    title,
    status,
    detail: coded.message,
    code: coded.code,
    request_id: c.var.requestId,
    ...(coded.errors.length > 0 ? { errors: coded.errors } : {}),
    ...(coded.candidates === undefined ? {} : { candidates: [...coded.candidates] }),
  }
  return c.body(JSON.stringify(body), status, {
    'content-type': 'application/problem+json',
    'cache-control': 'no-store',
    ...(coded.retryAfter === undefined ? {} : { 'retry-after': String(coded.retryAfter) }),
    ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    ...(status === 426 ? { upgrade: 'websocket' } : {}),
  })
}

/** An error nobody foresaw: its own text may hold what is not for clients, so only the log gets it. */
function toInternalError(error: Error & { overloaded?: boolean }, c: Context<AppEnv>): CodedError {
  log('request_failed', { request_id: c.var.requestId, path: c.req.path, error: error.stack ?? String(error) })
  return error.overloaded === true
    ? new CodedError('unavailable', 'too much is asked of this product at the moment', { retryAfter: 5 })
    : new CodedError('internal', 'the server failed on this request')
}
