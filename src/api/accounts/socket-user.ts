import { type Context, Hono } from 'hono'
import { z } from 'zod'
import { readSettings } from '../../config.ts'
import { userPortfolio } from '../../objects.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from '../http/context.ts'
import { type Operations, operation, response } from '../http/operation.ts'
import { callPortfolio } from '../portfolio/call-portfolio.ts'
import { publicOrigin } from './accounts.ts'
import { currentSession, requiredSession } from './session-cookies.ts'

/** `<user id>.<secret>` */
const TICKET_PATTERN = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([\w-]{16,200})$/

/** The user of a socket, until `expiresAt` (Unix milliseconds). */
export type SocketUser = { id: string; expiresAt: number }

/**
 * Redeems a ticket, which works once.
 * @throws CodedError `unauthorized` for an invalid, expired or used ticket; `unavailable`
 */
async function redeemTicket(c: Context<AppEnv>, ticket: string): Promise<SocketUser> {
  const [, id, secret] = TICKET_PATTERN.exec(ticket) ?? []
  if (id !== undefined && secret !== undefined) {
    const expiresAt = await callPortfolio(() => userPortfolio(c.env, id).redeemTicket(secret))
    if (expiresAt !== null && expiresAt > Date.now()) return { id, expiresAt }
  }
  throw new CodedError('unauthorized', 'The ticket is invalid, expired or already used. Get another one.')
}

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

/** `POST /api/v1/auth/ticket`: opens one socket from a browser, which cannot send a header with it. */
export const ticketRoutes = new Hono<AppEnv>().post('/api/v1/auth/ticket', async (c) => {
  const { user, expiresAt } = await requiredSession(c)
  const secret = await callPortfolio(() => userPortfolio(c.env, user.id).issueTicket(expiresAt))
  const expires_in = Math.min(readSettings(c.env).TICKET_TTL_MS, expiresAt - Date.now()) / 1_000
  return c.json({ ticket: `${user.id}.${secret}`, expires_in }, 200, { 'cache-control': 'no-store' })
})

/** The query parameter of sockets. */
export const ticketParam = z.string().optional().meta({ description: 'From POST /api/v1/auth/ticket' })

const ticketResponseSchema = z.object({
  ticket: z.string().meta({ description: 'Opens one socket: /ws/portfolio?ticket=…' }),
  expires_in: z.number().meta({ description: 'Seconds' }),
})

export const TICKET_OPERATIONS: Operations = {
  'post /api/v1/auth/ticket': operation('Accounts', 'getTicket', {
    summary: 'Get a ticket to open one socket from a browser, which cannot send a header with it',
    responses: response(200, 'The ticket', ticketResponseSchema),
    errors: ['unauthorized', 'forbidden', 'unavailable'],
  }),
}
