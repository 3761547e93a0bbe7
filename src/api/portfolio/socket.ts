import { Hono } from 'hono'
import { socketUser } from '../accounts/socket-user.ts'
import type { AppEnv } from '../http/context.ts'
import { clientOf, socketLimit } from '../http/rate-limits.ts'
import { PORTFOLIO_KEY } from '../streams/channels.ts'
import { openObjectSocket } from '../streams/object-socket.ts'
import { upgradeOnly } from '../streams/sockets.ts'

/** `/ws/portfolio` hands over the own socket of the user's object. */
export const portfolioSocket = new Hono<AppEnv>().get('/ws/portfolio', upgradeOnly, socketLimit, async (c) => {
  const viewer = { client: clientOf(c), passive: false, user: await socketUser(c) }
  const webSocket = await openObjectSocket(c.env, PORTFOLIO_KEY, viewer)
  // The headers: cookies that had to be renewed.
  return new Response(null, { status: 101, webSocket, headers: c.res.headers })
})
