import type { Context } from 'hono'
import { z } from 'zod'
import { log } from '../../log.ts'
import { candidateSchema } from '../../protocol/asset.ts'
import { CodedError, ERROR_CODES, type ErrorCode, type Problem } from '../../protocol/errors.ts'
import type { AppEnv } from './context.ts'

/** The schema of every error code. */
export const errorCodeSchema = z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]])

export const candidatesSchema = z.array(
  candidateSchema.meta({ id: 'Candidate', description: 'One of the assets that an ambiguous symbol may mean' }),
)

export const problemSchema = z
  .object({
    type: z.string().meta({ example: 'urn:kerb:problem:unknown_symbol' }),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: errorCodeSchema.meta({ description: 'One of a closed set' }),
    request_id: z.string(),
    errors: z
      .array(
        z.object({
          field: z.string(),
          message: z.string(),
          row: z.int().optional().meta({ description: 'The row of an imported file' }),
        }),
      )
      .optional(),
    candidates: candidatesSchema.optional().meta({ description: 'With `ambiguous_symbol`: what the symbol may mean' }),
  })
  .meta({ id: 'Problem', description: 'Problem details (RFC 9457)' })

/** Responds with the problem details (RFC 9457) of an error. One without a code is logged and becomes `internal`. */
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

/** Hides an unexpected error from the client: its text may contain secrets, so only the log gets it. */
function toInternalError(error: Error & { overloaded?: boolean }, c: Context<AppEnv>): CodedError {
  log('request_failed', { request_id: c.var.requestId, path: c.req.path, error: error.stack ?? String(error) })
  return error.overloaded === true
    ? new CodedError('unavailable', 'The server is overloaded. Try again in a few seconds.', { retryAfter: 5 })
    : new CodedError('internal', 'The server failed to handle this request. Report the request_id if it happens again.')
}

/** The error of something that fails for now. @param what such as `Assets cannot be read` */
export const temporarilyUnavailable = (what: string): CodedError =>
  new CodedError('unavailable', `${what} right now. Please try again in a few seconds.`, { retryAfter: 5 })

/**
 * The result of `read`. A failure is logged as `event`, with `fields`, and becomes `unavailable`.
 * @throws CodedError what `read` throws; `unavailable` with `what`, as `temporarilyUnavailable` takes it
 */
export async function orUnavailable<T>(
  read: () => Promise<T>,
  event: string,
  what: string,
  fields: Record<string, unknown> = {},
): Promise<T> {
  try {
    return await read()
  } catch (error) {
    if (error instanceof CodedError) throw error
    log(event, { ...fields, error: String(error) })
    throw temporarilyUnavailable(what)
  }
}
