import type { Hono } from 'hono'
import { AUTH_OPERATIONS, authRoutes } from './accounts/auth.ts'
import { PROFILE_OPERATIONS, profileRoutes } from './accounts/profile.ts'
import { TICKET_OPERATIONS, ticketRoutes } from './accounts/socket-user.ts'
import { CANDLE_AUDIT_OPERATIONS, candleAuditRoutes } from './candles/candle-audit.ts'
import { CANDLE_OPERATIONS, candleRoutes } from './candles/candles.ts'
import { PRODUCT_OPERATIONS, productRoutes } from './candles/products.ts'
import { HEALTH_OPERATIONS, healthRoutes } from './health.ts'
import type { AppEnv } from './http/context.ts'
import type { Operations } from './http/operation.ts'
import { ACTIVITY_OPERATIONS, activityRoutes } from './portfolio/activities.ts'
import { EXPORT_OPERATIONS, exportRoutes } from './portfolio/export.ts'
import { IMPORT_OPERATIONS, importRoutes } from './portfolio/import/import.ts'
import { LIVE_PORTFOLIO_OPERATIONS, livePortfolioRoutes } from './portfolio/live-portfolio.ts'
import { LOT_OPERATIONS, lotRoutes } from './portfolio/lots.ts'
import { PORTFOLIO_HISTORY_OPERATIONS, portfolioHistoryRoutes } from './portfolio/value-history.ts'
import { ASSET_OPERATIONS, assetRoutes } from './quotes/assets.ts'
import { PRICE_HISTORY_OPERATIONS, priceHistoryRoutes } from './quotes/price-history.ts'
import { PRICE_OPERATIONS, priceRoutes } from './quotes/prices.ts'
import { REFRESH_PRICES_OPERATIONS, refreshPricesRoutes } from './quotes/refresh-prices.ts'
import { SOCKET_OPERATIONS, socketRoutes } from './streams/sockets.ts'
import { STREAM_OPERATIONS, streamRoutes } from './streams/streams.ts'

/**
 * The API: the routes of each feature, and their part of the OpenAPI document. Tickets come before the other auth routes,
 * whose middleware refuses pages of other origins. The live portfolio's paths below /api/v1/stocks come before
 * `/api/v1/stocks/:id`.
 */
export const FEATURES: readonly (readonly [Hono<AppEnv>, Operations])[] = [
  [priceRoutes, PRICE_OPERATIONS],
  [priceHistoryRoutes, PRICE_HISTORY_OPERATIONS],
  [refreshPricesRoutes, REFRESH_PRICES_OPERATIONS],
  [assetRoutes, ASSET_OPERATIONS],
  [productRoutes, PRODUCT_OPERATIONS],
  [candleRoutes, CANDLE_OPERATIONS],
  [candleAuditRoutes, CANDLE_AUDIT_OPERATIONS],
  [streamRoutes, STREAM_OPERATIONS],
  [socketRoutes, SOCKET_OPERATIONS],
  [ticketRoutes, TICKET_OPERATIONS],
  [authRoutes, AUTH_OPERATIONS],
  [profileRoutes, PROFILE_OPERATIONS],
  [livePortfolioRoutes, LIVE_PORTFOLIO_OPERATIONS],
  [portfolioHistoryRoutes, PORTFOLIO_HISTORY_OPERATIONS],
  [lotRoutes, LOT_OPERATIONS],
  [activityRoutes, ACTIVITY_OPERATIONS],
  [importRoutes, IMPORT_OPERATIONS],
  [exportRoutes, EXPORT_OPERATIONS],
  [healthRoutes, HEALTH_OPERATIONS],
]
