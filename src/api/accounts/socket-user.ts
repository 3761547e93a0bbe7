import type { Context } from 'hono'
import { readSettings } from '../../config.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from '../http/context.ts'
import { publicOrigin } from './accounts.ts'
import { currentSession } from './session.ts'
import { redeemTicket, type SocketUser } from './tickets.ts'

/** Query parameters that clients might use for a token. URLs end up in logs and histories: tokens must not. */
const TOKEN_PARAMS = ['token', 'access_token']

const isAllowedOrigin = (c: Context<AppEnv>, origin: string): boolean =>
  origin === publicOrigin(c) || readSettings(c.env).WS_ALLOWED_ORIGINS.includes(origin)

/** @throws CodedError `invalid_request` for a token in the URL */
function rejectTokenParams(c: Context<AppEnv>): void {
  const name = TOKEN_PARAMS.find((param) => c.req.query(param) !== undefined)
  if (name === undefined) return
  const detail = 'Do not put tokens in the URL. Send the token as a header, or use a ticket of /api/v1/auth/ticket.'
  throw new CodedError('invalid_request', detail, { errors: [{ field: name, message: 'must not be in the URL' }] })
}

/**
 * The user who opens a socket, by a ticket, a bearer token or cookies; null for a client that is not signed in. A page
 * must be ours or of WS_ALLOWED_ORIGINS, whatever it sends: browsers let every page open sockets anywhere.
 * @throws CodedError `invalid_request` for a token in the URL, `forbidden` for a page of another origin or for cookies
 *   without `Origin`, `unauthorized` for an invalid ticket or token, `unavailable`
 */
export async function authenticateSocket(c: Context<AppEnv>): Promise<SocketUser | null> {
  rejectTokenParams(c)
  const origin = c.req.header('origin')
  if (origin !== undefined && !isAllowedOrigin(c, origin))
    throw new CodedError('forbidden', 'Pages of this origin cannot open sockets of users; see WS_ALLOWED_ORIGINS.')
  const ticket = c.req.query('ticket')
  if (ticket !== undefined) return redeemTicket(c, ticket)
  const session = await currentSession(c)
  if (session === null) return null
  if (session.by === 'cookies' && origin === undefined)
    throw new CodedError('forbidden', 'A program that sends cookies must send Origin, too.')
  return { id: session.user.id, expiresAt: session.expiresAt }
}

/**
 * The user who opens a public socket, if any: cookies that cannot be used are ignored.
 * @throws CodedError as `authenticateSocket`, for a token in the URL and for an invalid ticket or bearer token
 */
export async function authenticatePublicSocket(c: Context<AppEnv>): Promise<SocketUser | null> {
  rejectTokenParams(c)
  if (c.req.query('ticket') !== undefined || c.req.header('authorization') !== undefined) return authenticateSocket(c)
  const origin = c.req.header('origin')
  if (c.req.header('cookie') === undefined || origin === undefined || !isAllowedOrigin(c, origin)) return null
  try {
    return await authenticateSocket(c)
  } catch (error) {
    if (error instanceof CodedError) return null
    throw error
  }
}
