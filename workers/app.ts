import { Hono, type MiddlewareHandler } from 'hono'
import { cors } from 'hono/cors'
import { settings } from '../config.ts'
import { accountPages } from '../pages/account-routes.ts'
import { importPages } from '../pages/import-routes.ts'
import { notFoundPage, pages } from '../pages/routes.ts'
import { userPages } from '../pages/user-routes.ts'
import { CodedError } from '../protocol/errors.ts'
import { activities } from './activities.ts'
import { assets } from './assets.ts'
import { audit } from './audit.ts'
import { auth } from './auth.ts'
import { candles } from './candles.ts'
import { type AppEnv, log } from './context.ts'
import { datastar } from './datastar.ts'
import { enrichedPortfolio } from './enriched.ts'
import { exports } from './export.ts'
import { health } from './health.ts'
import { imports } from './import.ts'
import { requestLimit } from './limits.ts'
import { metered } from './meter.ts'
import { openapi } from './openapi.ts'
import { portfolioHistory } from './portfolio-history.ts'
import { portfolioSocket } from './portfolio-socket.ts'
import { priceHistory } from './price-history.ts'
import { prices } from './prices.ts'
import { problem } from './problems.ts'
import { products } from './products.ts'
import { profile } from './profile.ts'
import { refresh } from './refresh.ts'
import { refreshPortfolio } from './refresh-portfolio.ts'
import { sockets } from './sockets.ts'
import { stocks } from './stocks.ts'
import { streams } from './streams.ts'
import { tickets } from './tickets.ts'

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

/** Lets any origin read, without credentials. */
function openTo(allowMethods: string[], allowHeaders: string[]): MiddlewareHandler<AppEnv> {
  const preflight = cors({ origin: '*', allowMethods, allowHeaders, maxAge: 86_400 })
  return async (c, next) => {
    if (c.req.method === 'OPTIONS') return preflight(c, next)
    await next()
    // Not before: an answer that finds headers set is made anew around its body, which costs more than most answers.
    c.res.headers.set('access-control-allow-origin', '*')
    c.res.headers.set('access-control-expose-headers', 'etag,location,retry-after')
  }
}

/** The Worker's routes. The data is public: any origin may read it, without credentials. */
export const app = new Hono<AppEnv>()
app.onError(problem)
app.notFound((c) =>
  c.req.header('accept')?.includes('text/html') && !c.req.path.startsWith('/api/')
    ? notFoundPage(c)
    : problem(new CodedError('not_found', `there is nothing at ${c.req.path}`), c),
)
app.use(metered)
app.use(requestLog)
const open = openTo(['GET', 'HEAD', 'OPTIONS'], ['authorization', 'last-event-id'])
const openPost = openTo(['POST', 'OPTIONS'], ['authorization', 'content-type'])
// For pages of other origins that bring a bearer token; cookies come with none of them.
const openWrites = openTo(
  ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE', 'OPTIONS'],
  ['authorization', 'content-type', 'idempotency-key', 'if-match'],
)
app.use('/api/v1/auth/ticket', openPost)
for (const path of ['stocks', 'activities', 'portfolio', 'users']) app.use(`/api/v1/${path}/*`, openWrites)
app.use('/refresh-portfolio', openPost)
for (const path of ['/api/*', '/health', '/get-price', '/get-history', '/openapi.json']) app.use(path, open)
app.use('/get-batch-prices', openPost)
app.use(usableSettings)
app.use(requestLimit)
const features = [products, candles, audit, streams, datastar, sockets, prices, priceHistory, assets, refresh, health]
// A ticket is for pages of other origins, too, that bring a bearer token: before what auth asks of everybody.
// The portfolio's own addresses below /api/v1/stocks go before those of a lot.
const portfolios = [
  portfolioHistory,
  tickets,
  enrichedPortfolio,
  refreshPortfolio,
  portfolioSocket,
  stocks,
  activities,
  imports,
  exports,
]
const accounts = [auth, profile, accountPages, userPages, importPages]
for (const feature of [...features, ...portfolios, ...accounts, openapi, pages]) app.route('/', feature)

/** The methods of every address, as they are told to a client that tries another one. */
const allowed = new Map<string, Set<string>>()
for (const { method, path } of app.routes)
  if (method !== 'ALL') allowed.set(path, (allowed.get(path) ?? new Set()).add(method === 'GET' ? 'GET, HEAD' : method))
for (const [path, methods] of allowed)
  app.all(path, (c) => {
    c.header('allow', [...methods, 'OPTIONS'].join(', '))
    if (c.req.method === 'OPTIONS') return c.body(null, 204)
    throw new CodedError('method_not_allowed', `${c.req.method} is not possible here`)
  })
