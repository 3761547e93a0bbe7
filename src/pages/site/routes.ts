import { Hono } from 'hono'
import { findAudits } from '../../api/candles/candle-audit.ts'
import { readCandleHistory } from '../../api/candles/candle-history.ts'
import { parseAuditInput } from '../../api/candles/input.ts'
import { activeProducts } from '../../api/candles/products.ts'
import { type AppEnv, lookupScope } from '../../api/http/context.ts'
import { getOpenApiDocument } from '../../api/openapi.ts'
import { parseAssetsInput } from '../../api/quotes/input.ts'
import { readSettings } from '../../config.ts'
import { productCandles } from '../../objects.ts'
import { CodedError } from '../../protocol/errors.ts'
import { GRANULARITIES, isGranularity } from '../../protocol/granularity.ts'
import type { Product } from '../../protocol/product.ts'
import { assetFacts, assetPage } from '../assets/asset.ts'
import { assetsPage } from '../assets/list.ts'
import { readAsset, readAssetHistory, readAssets } from '../assets/read-asset.ts'
import { auditPage } from '../market/audit.ts'
import { listPage } from '../market/list.ts'
import { factsPanel, productPage } from '../market/product.ts'
import { docsPage } from './docs.ts'
import { parseRange } from './ranges.ts'
import { errorPage, renderPage, renderPart, securityHeaders } from './respond.ts'

/** Candles in a page's chart: more than a wide screen shows at first. */
const CHART_CANDLES = 300

/** Days on the page of audits. */
const AUDIT_DAYS = 14

/** @throws CodedError `unknown_product` */
async function activeProduct(env: Env, id: string): Promise<Product> {
  const product = (await activeProducts(env)).find(({ product_id }) => product_id === id)
  if (!product) throw new CodedError('unknown_product', `We couldn't find a product called ${id}.`)
  return product
}

/** The public pages: products, assets, audits and the API's documentation. */
export const marketPages = new Hono<AppEnv>()
  .get('/', securityHeaders, async (c) => renderPage(c, listPage(await activeProducts(c.env), Date.now())))
  .get('/products/:id', securityHeaders, async (c) => {
    const granularity = c.req.query('granularity') ?? 'ONE_MINUTE'
    if (!isGranularity(granularity))
      throw new CodedError('unknown_granularity', `The granularity must be one of ${GRANULARITIES.join(', ')}.`)
    const product = await activeProduct(c.env, c.req.param('id'))
    const now = Date.now()
    const [history, status] = await Promise.all([
      readCandleHistory(c.env, product.product_id, { granularity, limit: CHART_CANDLES }, Math.floor(now / 1_000)),
      productCandles(c.env, product.product_id).status(),
    ])
    return renderPage(c, productPage({ ...history, product, status, granularity, now }))
  })
  .get('/products/:id/facts', securityHeaders, async (c) => {
    const product = await activeProduct(c.env, c.req.param('id'))
    const status = await productCandles(c.env, product.product_id).status()
    return renderPart(c, factsPanel({ product, status, now: Date.now() }))
  })
  .get('/assets', securityHeaders, async (c) => {
    const { q, after } = parseAssetsInput(new URL(c.req.url).searchParams)
    const results = await readAssets(lookupScope(c), q, after)
    return renderPage(c, assetsPage({ ...results, q, first: after === null }))
  })
  .get('/assets/:symbol', securityHeaders, async (c) => {
    const range = parseRange(c.req.query('range'))
    const asset = await readAsset(c, c.req.param('symbol'))
    const history = await readAssetHistory(c.env, asset, range)
    return renderPage(c, assetPage({ ...asset, range, history }))
  })
  .get('/assets/:symbol/facts', securityHeaders, async (c) =>
    renderPart(c, assetFacts(await readAsset(c, c.req.param('symbol')))),
  )
  .get('/audit', securityHeaders, async (c) => {
    const { product, day } = parseAuditInput(new URL(c.req.url).searchParams, readSettings(c.env))
    const audits = await findAudits(c.env, { product, day }, AUDIT_DAYS, Date.now())
    return renderPage(c, auditPage(audits, product !== null && day !== null ? { product, day } : null))
  })
  .get('/docs', securityHeaders, (c) => {
    const document = getOpenApiDocument(readSettings(c.env).VERSION)
    return renderPage(c, docsPage(document), 200, 'public, max-age=300')
  })

marketPages.onError(errorPage)
