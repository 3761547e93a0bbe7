import { Hono, type MiddlewareHandler } from 'hono'
import { cors } from 'hono/cors'
import { settings } from '../config.ts'
import { notFoundPage, pages } from '../pages/routes.ts'
import { CodedError } from '../protocol/errors.ts'
import { audit } from './audit.ts'
import { candles } from './candles.ts'
import { type AppEnv, log } from './context.ts'
import { datastar } from './datastar.ts'
import { health } from './health.ts'
import { requestLimit } from './limits.ts'
import { problem } from './problems.ts'
import { products } from './products.ts'
import { sockets } from './sockets.ts'
import { streams } from './streams.ts'

/** Numbers the request and logs it; its query may hold what is not for logs. A stream is logged when it begins. */
const requestLog: MiddlewareHandler<AppEnv> = async (c, next) => {
  const began = Date.now()
  c.set('requestId', c.req.header('cf-ray') ?? crypto.randomUUID())
  await next()
  log('request', {
    method: c.req.method,
    path: c.req.path,
    status: c.res.status,
    ms: Date.now() - began,
    request_id: c.var.requestId,
  })
}

/** Settings that cannot be used are told in the log alone: what is in them is not for clients. */
const usableSettings: MiddlewareHandler<AppEnv> = async (c, next) => {
  try {
    settings(c.env)
  } catch (error) {
    log('settings_unusable', { error: error instanceof Error ? error.message : String(error) })
    throw new CodedError('internal', 'this server is not set up rightly; its log says what is wrong')
  }
  await next()
}

/** The Worker's routes. The data is public: any origin may read it, without credentials. */
export const app = new Hono<AppEnv>()
app.onError(problem)
app.notFound((c) =>
  c.req.header('accept')?.includes('text/html') && !c.req.path.startsWith('/api/')
    ? notFoundPage(c)
    : problem(new CodedError('not_found', `there is nothing at ${c.req.path}`), c),
)
app.use(requestLog)
const open = cors({
  origin: '*',
  allowMethods: ['GET', 'HEAD', 'OPTIONS'],
  allowHeaders: ['last-event-id'],
  exposeHeaders: ['retry-after'],
  maxAge: 86_400,
})
app.use('/api/*', open)
app.use('/health', open)
app.use(usableSettings)
app.use(requestLimit)
for (const feature of [products, candles, audit, streams, datastar, sockets, health, pages]) app.route('/', feature)

// Every address is for reading: another method on one that exists is told which there are.
for (const path of new Set(app.routes.filter(({ method }) => method === 'GET').map((route) => route.path)))
  app.all(path, (c) => {
    c.header('allow', 'GET, HEAD, OPTIONS')
    throw new CodedError('method_not_allowed', `${c.req.method} is not possible here`)
  })
