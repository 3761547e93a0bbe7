import { Hono, type MiddlewareHandler } from 'hono'
import { cors } from 'hono/cors'
import { auth } from '../src/api/accounts/auth.ts'
import { profile } from '../src/api/accounts/profile.ts'
import { tickets } from '../src/api/accounts/tickets.ts'
import { audit } from '../src/api/candles/candle-audit.ts'
import { candles } from '../src/api/candles/candles.ts'
import { products } from '../src/api/candles/products.ts'
import { health } from '../src/api/health.ts'
import { type AppEnv, log } from '../src/api/http/context.ts'
import { metered } from '../src/api/http/meter.ts'
import { problem } from '../src/api/http/problems.ts'
import { requestLimit } from '../src/api/http/rate-limits.ts'
import { openapi } from '../src/api/openapi.ts'
import { activities } from '../src/api/portfolio/activities.ts'
import { exports } from '../src/api/portfolio/export.ts'
import { imports } from '../src/api/portfolio/import/import.ts'
import { enrichedPortfolio } from '../src/api/portfolio/live-portfolio.ts'
import { stocks } from '../src/api/portfolio/lots.ts'
import { refreshPortfolio } from '../src/api/portfolio/refresh-portfolio.ts'
import { portfolioSocket } from '../src/api/portfolio/socket.ts'
import { portfolioHistory } from '../src/api/portfolio/value-history.ts'
import { assets } from '../src/api/quotes/assets.ts'
import { priceHistory } from '../src/api/quotes/price-history.ts'
import { prices } from '../src/api/quotes/prices.ts'
import { refresh } from '../src/api/quotes/refresh-prices.ts'
import { sockets } from '../src/api/streams/sockets.ts'
import { streams } from '../src/api/streams/streams.ts'
import { settings } from '../src/config.ts'
import { accountPages } from '../src/pages/account/routes.ts'
import { importPages } from '../src/pages/portfolio/import-routes.ts'
import { userPages } from '../src/pages/portfolio/routes.ts'
import { notFoundPage, pages } from '../src/pages/site/routes.ts'
import { datastar } from '../src/pages/streams/datastar.ts'
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
