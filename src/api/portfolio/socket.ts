import { Hono } from 'hono'
import { authenticateSocket } from '../accounts/socket-user.ts'
import type { AppEnv } from '../http/context.ts'
import { clientAddress, socketLimit } from '../http/rate-limits.ts'
import { PORTFOLIO_KEY } from '../streams/channels.ts'
import { openObjectSocket } from '../streams/object-socket.ts'
import { requireUpgrade } from '../streams/sockets.ts'

/** `/ws/portfolio` hands over the own socket of the user's object. */
export const portfolioSocketRoutes = new Hono<AppEnv>().get('/ws/portfolio', requireUpgrade, socketLimit, async (c) => {
  const viewer = { client: clientAddress(c), passive: false, user: await authenticateSocket(c) }
  const webSocket = await openObjectSocket(c.env, PORTFOLIO_KEY, viewer)
  // The headers: cookies that had to be renewed.
  return new Response(null, { status: 101, webSocket, headers: c.res.headers })
})
