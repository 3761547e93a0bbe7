import { Hono } from 'hono'
import { z } from 'zod'
import type { ZodOpenApiPathsObject } from 'zod-openapi'
import { authenticateSocket } from '../accounts/socket-user.ts'
import { ticketParam } from '../accounts/tickets.ts'
import type { AppEnv } from '../http/context.ts'
import { operation, USER_SECURITY } from '../http/operation.ts'
import { clientAddress, rateLimit } from '../http/rate-limits.ts'
import { PORTFOLIO_KEY } from '../streams/channels.ts'
import { openObjectSocket } from '../streams/object-socket.ts'
import { requireUpgrade } from '../streams/sockets.ts'

/** `/ws/portfolio` answers with the socket of the user's object itself. */
export const portfolioSocketRoutes = new Hono<AppEnv>().get(
  '/ws/portfolio',
  requireUpgrade,
  rateLimit('SOCKET_LIMIT'),
  async (c) => {
    const viewer = { client: clientAddress(c), passive: false, user: await authenticateSocket(c) }
    const webSocket = await openObjectSocket(c.env, PORTFOLIO_KEY, viewer)
    // The headers carry cookies that were renewed.
    return new Response(null, { status: 101, webSocket, headers: c.res.headers })
  },
)

export const PORTFOLIO_SOCKET_PATHS: ZodOpenApiPathsObject = {
  '/ws/portfolio': {
    get: operation(
      {
        operationId: 'openPortfolioSocket',
        summary: 'A WebSocket of your own portfolio: channels portfolio, asset.AAPL',
        description:
          'Let in are a bearer token, a ticket, and the cookies of our own pages. A browser’s page has to be ours, or of an allowed origin.',
        tags: ['Live'],
        security: [...USER_SECURITY, {}],
        requestParams: {
          query: z.object({ ticket: ticketParam }),
        },
      },
      {
        101: {
          description: 'The socket is open; the messages are those of the schemas named Socket… and PortfolioMessage',
        },
      },
      ['invalid_request', 'unauthorized', 'forbidden', 'upgrade_required', 'too_many_sockets', 'unavailable'],
    ),
  },
}
