import { type Context, Hono } from 'hono'
import { readSettings } from '../../config.ts'
import { log } from '../../log.ts'
import { userPortfolio } from '../../objects.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from '../http/context.ts'
import { requiredSession } from './session.ts'

const TICKET_PATTERN = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([\w-]{16,200})$/

/** Who may open a socket as whom, until when (unix milliseconds). */
export type SocketUser = { id: string; expiresAt: number }

/**
 * Whom a ticket lets in; it is used up by that.
 * @throws CodedError `unauthorized` when it is none, is over or was used; `unavailable` while that cannot be said
 */
export async function redeemTicket(c: Context<AppEnv>, ticket: string): Promise<SocketUser> {
  const [, id, secret] = TICKET_PATTERN.exec(ticket) ?? []
  if (id !== undefined && secret !== undefined) {
    const until = await callPortfolio(c, () => userPortfolio(c.env, id).redeem(secret))
    if (until !== null && until > Date.now()) return { id, expiresAt: until }
  }
  throw new CodedError('unauthorized', 'the ticket is over, was used or never was one: get another')
}

/** @throws CodedError `unavailable` when the user's object cannot be asked */
export async function callPortfolio<T>(c: Context<AppEnv>, ask: () => Promise<T>): Promise<T> {
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
export const ticketRoutes = new Hono<AppEnv>().post('/api/v1/auth/ticket', async (c) => {
  const { user, expiresAt: until } = await requiredSession(c)
  const secret = await callPortfolio(c, () => userPortfolio(c.env, user.id).ticket(until))
  const expires_in = Math.min(readSettings(c.env).TICKET_TTL_MS, until - Date.now()) / 1_000
  return c.json({ ticket: `${user.id}.${secret}`, expires_in }, 200, { 'cache-control': 'no-store' })
})
