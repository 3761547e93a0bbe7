import { Hono } from 'hono'
import { requestId } from 'hono/request-id'
import { FEATURES } from '../src/api/features.ts'
import type { AppEnv } from '../src/api/http/context.ts'
import { cors, requestDatabase, requestLog, requireSettings } from '../src/api/http/middleware.ts'
import { problemResponse } from '../src/api/http/problems.ts'
import { rateLimit } from '../src/api/http/rate-limits.ts'
import { requestMetrics } from '../src/api/http/request-metrics.ts'
import { openApiRoutes } from '../src/api/openapi.ts'
import { accountPages } from '../src/pages/account/routes.ts'
import { importPages } from '../src/pages/portfolio/import-routes.ts'
import { userPages } from '../src/pages/portfolio/routes.ts'
import { notFoundPage } from '../src/pages/site/respond.ts'
import { marketPages } from '../src/pages/site/routes.ts'
import { datastarRoutes } from '../src/pages/streams/datastar.ts'
import { CodedError } from '../src/protocol/errors.ts'

/** The Worker's routes. Market data is public: pages of any origin may read it, without credentials. */
export const app = new Hono<AppEnv>()
app.onError(problemResponse)
app.notFound((c) =>
  c.req.header('accept')?.includes('text/html') && !c.req.path.startsWith('/api/')
    ? notFoundPage(c)
    : problemResponse(new CodedError('not_found', `There is nothing at ${c.req.path}.`), c),
)
app.use(requestMetrics())
// Cloudflare's id of the request, which no client can choose. Without a header name, none is added to the response.
app.use(requestId({ headerName: '', generator: (c) => c.req.header('cf-ray') ?? crypto.randomUUID() }))
app.use(requestLog())
app.use(requestDatabase())

const readCors = cors(['GET', 'HEAD', 'OPTIONS'], ['authorization', 'last-event-id'])
const postCors = cors(['POST', 'OPTIONS'], ['authorization', 'content-type'])
// For pages of other origins with a bearer token; cookies are never accepted from them.
const writeCors = cors(
  ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE', 'OPTIONS'],
  ['authorization', 'content-type', 'idempotency-key', 'if-match'],
)
app.use('/api/v1/auth/ticket', postCors)
for (const path of ['stocks', 'activities', 'portfolio', 'users']) app.use(`/api/v1/${path}/*`, writeCors)
app.use('/refresh-portfolio', postCors)
for (const path of ['/api/*', '/health', '/get-price', '/get-history', '/openapi.json']) app.use(path, readCors)
app.use('/get-batch-prices', postCors)

app.use(requireSettings())
app.use(rateLimit('REQUEST_LIMIT'))

for (const [routes] of FEATURES) app.route('/', routes)
for (const pages of [datastarRoutes, accountPages, userPages, importPages, openApiRoutes, marketPages])
  app.route('/', pages)

/** The `Allow` header of each path, for a request with another method. */
const allowedMethods = new Map<string, Set<string>>()
for (const { method, path } of app.routes)
  if (method !== 'ALL')
    allowedMethods.set(path, (allowedMethods.get(path) ?? new Set()).add(method === 'GET' ? 'GET, HEAD' : method))
for (const [path, methods] of allowedMethods)
  app.all(path, (c) => {
    c.header('allow', [...methods, 'OPTIONS'].join(', '))
    if (c.req.method === 'OPTIONS') return c.body(null, 204)
    throw new CodedError('method_not_allowed', `${c.req.method} is not allowed here. See the Allow header.`)
  })
