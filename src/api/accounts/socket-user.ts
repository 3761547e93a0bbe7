import type { Context } from 'hono'
import { readSettings } from '../../config.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from '../http/context.ts'
import { publicOrigin } from './accounts.ts'
import { currentSession } from './session.ts'
import { redeemTicket, type SocketUser } from './tickets.ts'

/** Names under which somebody might put a token into an address, which stands in logs and histories. */
const TOKEN_PARAMS = ['token', 'access_token']

const isAllowedOrigin = (c: Context<AppEnv>, origin: string): boolean =>
  origin === publicOrigin(c) || readSettings(c.env).WS_ALLOWED_ORIGINS.includes(origin)

/** @throws CodedError `invalid_request` */
function rejectTokenParams(c: Context<AppEnv>): void {
  const name = TOKEN_PARAMS.find((each) => c.req.query(each) !== undefined)
  if (name === undefined) return
  const detail = `${name}: no token belongs into an address: send it as a header, or use a ticket of /api/v1/auth/ticket`
  throw new CodedError('invalid_request', detail, { errors: [{ field: name, message: 'must not be in the address' }] })
}

/**
 * Who opens a socket: by a ticket, a bearer token, or cookies; null for nobody. A page that does may be ours, or of
 * WS_ALLOWED_ORIGINS, whatever it brings: no rule of browsers keeps other pages from opening sockets.
 * @throws CodedError `invalid_request` for a token in the address, `forbidden` for the page of another origin, and for
 *   cookies of whoever does not tell an origin, `unauthorized` for a ticket or a token that is refused, `unavailable`
 */
export async function authenticateSocket(c: Context<AppEnv>): Promise<SocketUser | null> {
  rejectTokenParams(c)
  const origin = c.req.header('origin')
  if (origin !== undefined && !isAllowedOrigin(c, origin))
    throw new CodedError('forbidden', 'pages of this origin may not open sockets of users')
  const ticket = c.req.query('ticket')
  if (ticket !== undefined) return redeemTicket(c, ticket)
  const session = await currentSession(c)
  if (session === null) return null
  if (session.by === 'cookies' && origin === undefined)
    throw new CodedError('forbidden', 'a program that sends cookies has to send Origin, too')
  return { id: session.user.id, expiresAt: session.expiresAt }
}

/**
 * Who opens a socket that is for everybody: nobody is refused for cookies that came along and cannot be used.
 * @throws CodedError as `socketUser` does, for a token in the address, and where a ticket or a bearer token is brought
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
