import { Hono } from 'hono'
import { PORTFOLIO_KEY } from './channels.ts'
import type { AppEnv } from './context.ts'
import { clientOf, socketLimit } from './limits.ts'
import { openObjectSocket } from './object-socket.ts'
import { socketUser } from './socket-user.ts'
import { upgradeOnly } from './sockets.ts'

/** `/ws/portfolio` hands over the own socket of the user's object. */
export const portfolioSocket = new Hono<AppEnv>().get('/ws/portfolio', upgradeOnly, socketLimit, async (c) => {
  const viewer = { client: clientOf(c), passive: false, user: await socketUser(c) }
  const webSocket = await openObjectSocket(c.env, PORTFOLIO_KEY, viewer)
  // The headers: cookies that had to be renewed.
  return new Response(null, { status: 101, webSocket, headers: c.res.headers })
})
