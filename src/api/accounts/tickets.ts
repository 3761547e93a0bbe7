import { type Context, Hono } from 'hono'
import { z } from 'zod'
import type { ZodOpenApiPathsObject } from 'zod-openapi'
import { readSettings } from '../../config.ts'
import { userPortfolio } from '../../objects.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from '../http/context.ts'
import { jsonResponse, operation, USER_SECURITY } from '../http/operation.ts'
import { callPortfolio } from '../portfolio/call-portfolio.ts'
import { requiredSession } from './session.ts'

/** `<user id>.<secret>` */
const TICKET_PATTERN = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([\w-]{16,200})$/

/** The user of a socket, until `expiresAt` (Unix milliseconds). */
export type SocketUser = { id: string; expiresAt: number }

/**
 * Redeems a ticket, which works once.
 * @throws CodedError `unauthorized` for an invalid, expired or used ticket; `unavailable`
 */
export async function redeemTicket(c: Context<AppEnv>, ticket: string): Promise<SocketUser> {
  const [, id, secret] = TICKET_PATTERN.exec(ticket) ?? []
  if (id !== undefined && secret !== undefined) {
    const expiresAt = await callPortfolio(() => userPortfolio(c.env, id).redeemTicket(secret))
    if (expiresAt !== null && expiresAt > Date.now()) return { id, expiresAt }
  }
  throw new CodedError('unauthorized', 'The ticket is invalid, expired or already used. Get another one.')
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

export const TICKET_PATHS: ZodOpenApiPathsObject = {
  '/api/v1/auth/ticket': {
    post: operation(
      {
        operationId: 'getTicket',
        summary: 'Get a ticket to open one socket from a browser, which cannot send a header with it',
        tags: ['Accounts'],
        security: USER_SECURITY,
      },
      jsonResponse('The ticket', ticketResponseSchema),
      ['unauthorized', 'forbidden', 'unavailable'],
    ),
  },
}
