import { type Context, Hono } from 'hono'
import { settings } from '../../config.ts'
import { userPortfolio } from '../../objects.ts'
import { CodedError } from '../../protocol/errors.ts'
import { type AppEnv, log } from '../http/context.ts'
import { requiredSession } from './session.ts'

const TICKET = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([\w-]{16,200})$/

/** Who may open a socket as whom, until when (unix milliseconds). */
export type SocketUser = { id: string; until: number }

/**
 * Whom a ticket lets in; it is used up by that.
 * @throws CodedError `unauthorized` when it is none, is over or was used; `unavailable` while that cannot be said
 */
export async function redeemTicket(c: Context<AppEnv>, ticket: string): Promise<SocketUser> {
  const [, id, secret] = TICKET.exec(ticket) ?? []
  if (id !== undefined && secret !== undefined) {
    const until = await asked(c, () => userPortfolio(c.env, id).redeem(secret))
    if (until !== null && until > Date.now()) return { id, until }
  }
  throw new CodedError('unauthorized', 'the ticket is over, was used or never was one: get another')
}

/** @throws CodedError `unavailable` when the user's object cannot be asked */
export async function asked<T>(c: Context<AppEnv>, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    log('portfolio_unreachable', { request_id: c.var.requestId, error: String(error) })
    throw new CodedError('unavailable', 'your portfolio cannot be reached at the moment', { retryAfter: 5 })
  }
}

/**
 * `POST /api/v1/auth/ticket`: what a browser opens one socket with, since it cannot send a header there, and an address is
 * no place for a token.
 */
export const tickets = new Hono<AppEnv>().post('/api/v1/auth/ticket', async (c) => {
  const { user, until } = await requiredSession(c)
  const secret = await asked(c, () => userPortfolio(c.env, user.id).ticket(until))
  const expires_in = Math.min(settings(c.env).TICKET_MS, until - Date.now()) / 1_000
  return c.json({ ticket: `${user.id}.${secret}`, expires_in }, 200, { 'cache-control': 'no-store' })
})
