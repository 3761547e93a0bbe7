import { Hono, type MiddlewareHandler } from 'hono'
import { cors } from 'hono/cors'
import { authRoutes } from '../src/api/accounts/auth.ts'
import { profileRoutes } from '../src/api/accounts/profile.ts'
import { ticketRoutes } from '../src/api/accounts/tickets.ts'
import { candleAuditRoutes } from '../src/api/candles/candle-audit.ts'
import { candleRoutes } from '../src/api/candles/candles.ts'
import { productRoutes } from '../src/api/candles/products.ts'
import { healthRoutes } from '../src/api/health.ts'
import type { AppEnv } from '../src/api/http/context.ts'
import { requestMetrics } from '../src/api/http/meter.ts'
import { problemResponse } from '../src/api/http/problems.ts'
import { requestLimit } from '../src/api/http/rate-limits.ts'
import { openApiRoutes } from '../src/api/openapi.ts'
import { activityRoutes } from '../src/api/portfolio/activities.ts'
import { exportRoutes } from '../src/api/portfolio/export.ts'
import { importRoutes } from '../src/api/portfolio/import/import.ts'
import { enrichedPortfolioRoutes } from '../src/api/portfolio/live-portfolio.ts'
import { lotRoutes } from '../src/api/portfolio/lots.ts'
import { refreshPortfolioRoutes } from '../src/api/portfolio/refresh-portfolio.ts'
import { portfolioSocketRoutes } from '../src/api/portfolio/socket.ts'
import { portfolioHistoryRoutes } from '../src/api/portfolio/value-history.ts'
import { assetRoutes } from '../src/api/quotes/assets.ts'
import { priceHistoryRoutes } from '../src/api/quotes/price-history.ts'
import { priceRoutes } from '../src/api/quotes/prices.ts'
import { refreshPricesRoutes } from '../src/api/quotes/refresh-prices.ts'
import { socketRoutes } from '../src/api/streams/sockets.ts'
import { streamRoutes } from '../src/api/streams/streams.ts'
import { readSettings } from '../src/config.ts'
import { log } from '../src/log.ts'
import { accountPages } from '../src/pages/account/routes.ts'
import { importPages } from '../src/pages/portfolio/import-routes.ts'
import { userPages } from '../src/pages/portfolio/routes.ts'
import { marketPages, notFoundPage } from '../src/pages/site/routes.ts'
import { datastarRoutes } from '../src/pages/streams/datastar.ts'
import { CodedError } from '../src/protocol/errors.ts'

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
const checkSettings: MiddlewareHandler<AppEnv> = async (c, next) => {
  try {
    readSettings(c.env)
  } catch (error) {
    log('settings_invalid', { error: error instanceof Error ? error.message : String(error) })
    throw new CodedError('internal', 'this server is not set up rightly; its log says what is wrong')
  }
  await next()
}

/** Lets any origin read, without credentials. */
function publicCors(allowMethods: string[], allowHeaders: string[]): MiddlewareHandler<AppEnv> {
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
app.onError(problemResponse)
app.notFound((c) =>
  c.req.header('accept')?.includes('text/html') && !c.req.path.startsWith('/api/')
    ? notFoundPage(c)
    : problemResponse(new CodedError('not_found', `there is nothing at ${c.req.path}`), c),
)
app.use(requestMetrics)
app.use(requestLog)
const readCors = publicCors(['GET', 'HEAD', 'OPTIONS'], ['authorization', 'last-event-id'])
const postCors = publicCors(['POST', 'OPTIONS'], ['authorization', 'content-type'])
// For pages of other origins that bring a bearer token; cookies come with none of them.
const writeCors = publicCors(
  ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE', 'OPTIONS'],
  ['authorization', 'content-type', 'idempotency-key', 'if-match'],
)
app.use('/api/v1/auth/ticket', postCors)
for (const path of ['stocks', 'activities', 'portfolio', 'users']) app.use(`/api/v1/${path}/*`, writeCors)
app.use('/refresh-portfolio', postCors)
for (const path of ['/api/*', '/health', '/get-price', '/get-history', '/openapi.json']) app.use(path, readCors)
app.use('/get-batch-prices', postCors)
app.use(checkSettings)
app.use(requestLimit)
const marketRoutes = [
  productRoutes,
  candleRoutes,
  candleAuditRoutes,
  streamRoutes,
  datastarRoutes,
  socketRoutes,
  priceRoutes,
  priceHistoryRoutes,
  assetRoutes,
  refreshPricesRoutes,
  healthRoutes,
]
// A ticket is for pages of other origins, too, that bring a bearer token: before what auth asks of everybody.
// The portfolio's own addresses below /api/v1/stocks go before those of a lot.
const portfolioRoutes = [
  portfolioHistoryRoutes,
  ticketRoutes,
  enrichedPortfolioRoutes,
  refreshPortfolioRoutes,
  portfolioSocketRoutes,
  lotRoutes,
  activityRoutes,
  importRoutes,
  exportRoutes,
]
const accountRoutes = [authRoutes, profileRoutes, accountPages, userPages, importPages]
for (const feature of [...marketRoutes, ...portfolioRoutes, ...accountRoutes, openApiRoutes, marketPages])
  app.route('/', feature)

/** The methods of every address, as they are told to a client that tries another one. */
const allowedMethods = new Map<string, Set<string>>()
for (const { method, path } of app.routes)
  if (method !== 'ALL')
    allowedMethods.set(path, (allowedMethods.get(path) ?? new Set()).add(method === 'GET' ? 'GET, HEAD' : method))
for (const [path, methods] of allowedMethods)
  app.all(path, (c) => {
    c.header('allow', [...methods, 'OPTIONS'].join(', '))
    if (c.req.method === 'OPTIONS') return c.body(null, 204)
    throw new CodedError('method_not_allowed', `${c.req.method} is not possible here`)
  })
