import { type Context, Hono } from 'hono'
import { secureHeaders } from 'hono/secure-headers'
import { findAudits } from '../../api/candles/candle-audit.ts'
import { readCandleHistory } from '../../api/candles/candle-history.ts'
import { parseAuditInput } from '../../api/candles/input.ts'
import { activeProducts } from '../../api/candles/products.ts'
import { type AppEnv, lookupScope } from '../../api/http/context.ts'
import { getOpenApiDocument } from '../../api/openapi.ts'
import { parseAssetsInput } from '../../api/quotes/input.ts'
import { readSettings } from '../../config.ts'
import { log } from '../../log.ts'
import { productCandles } from '../../objects.ts'
import { CodedError, ERROR_CODES, type ErrorCode } from '../../protocol/errors.ts'
import { GRANULARITIES, isGranularity } from '../../protocol/granularity.ts'
import { HISTORY_RANGES, type HistoryRange } from '../../protocol/price-history.ts'
import type { Product } from '../../protocol/product.ts'
import { ambiguousPage, assetFacts, assetPage } from '../assets/asset.ts'
import { assetsPage } from '../assets/list.ts'
import { readAsset, readAssetHistory, readAssets } from '../assets/read-asset.ts'
import { auditPage } from '../market/audit.ts'
import { listPage } from '../market/list.ts'
import { factsPanel, productPage } from '../market/product.ts'
import { docsPage } from './docs.ts'
import type { Site } from './layout.ts'
import { problemPage } from './problem-page.ts'

/** Candles that a page comes with: more than a wide screen shows at the chart's own spacing. */
const CHART_CANDLES = 300

/** Days that the page of audits shows. */
const AUDIT_DAYS = 14

/** What every page knows of the Kerb that serves it. */
export const siteInfo = (env: Env): Site => ({
  exchange: readSettings(env).EXCHANGE,
  version: readSettings(env).VERSION,
})

/** Nothing from elsewhere and nothing inline; sockets and streams go to where the page came from. */
export const securityHeaders = secureHeaders({
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'"],
    imgSrc: ["'self'"],
    connectSrc: ["'self'"],
    baseUri: ["'none'"],
    formAction: ["'self'"],
    frameAncestors: ["'none'"],
  },
  referrerPolicy: 'strict-origin-when-cross-origin',
  xFrameOptions: 'DENY',
})

/** What is on a page is of this moment: a stored copy would be older than it says. */
export const NO_STORE = { 'cache-control': 'no-store' }

/** @throws CodedError `unknown_product` */
async function activeProduct(env: Env, id: string): Promise<Product> {
  const product = (await activeProducts(env)).find(({ product_id }) => product_id === id)
  if (!product) throw new CodedError('unknown_product', `There is no product ${id} here.`)
  return product
}

/** The range that an address asks for. @throws CodedError `unknown_range` */
export function parseRange(text = '1m'): HistoryRange {
  const range = HISTORY_RANGES.find((known) => known === text)
  if (!range) throw new CodedError('unknown_range', `Ranges are ${HISTORY_RANGES.join(', ')}.`)
  return range
}

/** The page of an error; what is not coded is logged, and its own text is not shown. */
export function errorPage(c: Context<AppEnv>, error: Error): Response | Promise<Response> {
  if (error instanceof CodedError && error.candidates) {
    const page = ambiguousPage(siteInfo(c.env), c.req.param('symbol') ?? '', error.candidates)
    return c.html(page, ERROR_CODES[error.code].status, NO_STORE)
  }
  if (error instanceof CodedError) return codedPage(c, error.code, error.message)
  log('page_failed', { request_id: c.var.requestId, path: c.req.path, error: error.stack ?? String(error) })
  return codedPage(c, 'internal', 'The server failed on this request. Trying again may help.')
}

/** The page for an address that is none. */
export const notFoundPage = (c: Context<AppEnv>): Response | Promise<Response> =>
  codedPage(c, 'not_found', `There is no page at ${c.req.path}.`)

function codedPage(c: Context<AppEnv>, code: ErrorCode, detail: string): Response | Promise<Response> {
  const { status, title } = ERROR_CODES[code]
  return c.html(problemPage(siteInfo(c.env), { status, title, detail, request_id: c.var.requestId }), status, NO_STORE)
}

/** The pages: products, assets and audits, and the parts of them that are read again from time to time. */
export const marketPages = new Hono<AppEnv>()
  .get('/', securityHeaders, async (c) =>
    c.html(listPage(siteInfo(c.env), await activeProducts(c.env), Date.now()), 200, NO_STORE),
  )
  .get('/products/:id', securityHeaders, async (c) => {
    const granularity = c.req.query('granularity') ?? 'ONE_MINUTE'
    if (!isGranularity(granularity))
      throw new CodedError('unknown_granularity', `Candles come in ${GRANULARITIES.join(', ')}.`)
    const product = await activeProduct(c.env, c.req.param('id'))
    const now = Date.now()
    const [history, status] = await Promise.all([
      readCandleHistory(c.env, product.product_id, { granularity, limit: CHART_CANDLES }, Math.floor(now / 1_000)),
      productCandles(c.env, product.product_id).status(),
    ])
    return c.html(productPage(siteInfo(c.env), { ...history, product, status, granularity, now }), 200, NO_STORE)
  })
  .get('/products/:id/facts', securityHeaders, async (c) => {
    const product = await activeProduct(c.env, c.req.param('id'))
    const status = await productCandles(c.env, product.product_id).status()
    return c.html(factsPanel({ product, status, now: Date.now() }), 200, NO_STORE)
  })
  .get('/assets', securityHeaders, async (c) => {
    const { q, after } = parseAssetsInput(new URL(c.req.url).searchParams)
    const page = await readAssets(lookupScope(c), q, after)
    return c.html(assetsPage(siteInfo(c.env), { ...page, q, first: after === null }), 200, NO_STORE)
  })
  .get('/assets/:symbol', securityHeaders, async (c) => {
    const range = parseRange(c.req.query('range'))
    const asset = await readAsset(c, c.req.param('symbol'))
    const history = await readAssetHistory(c.env, asset, range)
    return c.html(assetPage(siteInfo(c.env), { ...asset, range, history }), 200, NO_STORE)
  })
  .get('/assets/:symbol/facts', securityHeaders, async (c) => {
    const asset = await readAsset(c, c.req.param('symbol'))
    return c.html(assetFacts(asset), 200, NO_STORE)
  })
  .get('/audit', securityHeaders, async (c) => {
    const { product, day } = parseAuditInput(new URL(c.req.url).searchParams, readSettings(c.env))
    const audits = await findAudits(c.env, { product, day }, AUDIT_DAYS, Date.now())
    const detail = product !== null && day !== null ? { product, day } : null
    return c.html(auditPage(siteInfo(c.env), audits, detail), 200, NO_STORE)
  })
  .get('/docs', securityHeaders, (c) =>
    c.html(docsPage(siteInfo(c.env), getOpenApiDocument(readSettings(c.env).VERSION)), 200, {
      'cache-control': 'public, max-age=300',
    }),
  )

marketPages.onError((error, c) => errorPage(c, error))
