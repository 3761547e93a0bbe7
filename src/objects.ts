import { readSettings } from './config.ts'
import type { ExchangeCandle } from './market/aggregator.ts'
import type { ProviderLimit } from './pricing/provider-limit.ts'
import type { DailyHistory, ProviderAssetId, ProviderListing, ProviderQuote } from './pricing/provider-quote.ts'
import type { QuotePlan } from './pricing/refresh-settings.ts'
import type { Candidate, QuoteProviderName } from './protocol/asset.ts'
import type { Candle, Gap } from './protocol/candle.ts'
import type { Granularity } from './protocol/granularity.ts'
import type { PortfolioPrice } from './protocol/portfolio.ts'
import type { ProductStatus } from './protocol/product.ts'
import type { Quote, QuoteLayer, StaleReason } from './protocol/quote.ts'

/** Permission for one product to have an open feed until a time in Unix milliseconds. */
export type FeedLease = { product: string; until: number }

/** Selects the last `limit` candles of a range: `start` inclusive, `end` exclusive, in Unix seconds. */
export type CandleQuery = { granularity: Granularity; start?: number; end?: number; limit: number }

/**
 * A product object's candles of a range, ascending. The object is the authority from `since` on (Unix seconds); older
 * candles are in Postgres. `since` is null if the object has none.
 */
export type CandleQueryResult = { candles: Candle[]; gaps: Gap[]; since: number | null; position: string }

/** The RPC interface of a product's object. `fetch` accepts a WebSocket upgrade and responds with the object's own socket. */
export interface ProductObject {
  fetch(request: Request): Promise<Response>
  candles(query: CandleQuery): Promise<CandleQueryResult>
  status(): Promise<ProductStatus>
  ensureRunning(online: boolean): Promise<void>
  dayCandles(day: number): Promise<Candle[] | null>
  repair(day: number, minutes: ExchangeCandle[]): Promise<boolean>
}

/** The RPC interface of the object that grants open feeds. Times in Unix milliseconds. */
export interface FeedSlotsObject {
  acquire(product: string, now: number): Promise<boolean>
  release(product: string): Promise<void>
  open(now: number): Promise<FeedLease[]>
}

/** Contains the exchange, so that simulated and real state never share an object. */
export const productObjectName = (exchange: string, product: string): string => `${exchange}:${product}`

/** The product of an object's name (`ctx.id.name`). */
export const parseProductName = (name: string): string => name.slice(name.indexOf(':') + 1)

/** The object of one product of the configured exchange. */
export const productCandles = (env: Env, product: string): ProductObject =>
  // The platform's RPC types lose that a gap is a pair; the object implements the interface.
  env.PRODUCT_CANDLES.getByName(productObjectName(readSettings(env).EXCHANGE, product)) as unknown as ProductObject

/** The one object that grants open feeds of the configured exchange. */
export const feedSlots = (env: Env): FeedSlotsObject => env.FEED_SLOTS.getByName(readSettings(env).EXCHANGE)

/** A board's result for a symbol. After `freshUntil` (Unix milliseconds) the quote is stale because of `trouble`. */
export type LookupResult = { name: string } & (
  | { kind: 'quote'; quote: Quote; source: QuoteLayer; freshUntil: number; trouble: StaleReason | null }
  /** No asset has this name. `asked`: the providers do not know it either, as of UNKNOWN_SYMBOL_TTL_MS ago at most. */
  | { kind: 'unknown'; asked: boolean }
  | { kind: 'ambiguous'; candidates: Candidate[] }
  /** The asset has no price: no provider has returned one yet. `retryAfter` in seconds. */
  | { kind: 'unpriced'; symbol: string; reason: StaleReason; retryAfter: number }
  /** Another board has the asset, under this symbol. */
  | { kind: 'moved'; symbol: string }
)

/** How many assets a refresh has updated, could not update, and left for later because of rate limits. */
export type RefreshReport = { refreshed: number; failed: number; waiting: number }

/** Counts since `since` (Unix milliseconds); of connections since the object woke up. */
export type QuoteBoardStatus = {
  since: number
  assets: number
  quotes: number
  watchers: number
  position: string
  /** Lookups by the layer that answered; `none` had no price. */
  looks: Record<QuoteLayer | 'none', number>
  /** How long the most overdue asset was overdue at the last refresh, in milliseconds. */
  lagMs: number
  beats: number
  refreshed: number
  failed: number
  /** Quotes not yet written to Postgres, and failed writes. */
  unflushed: number
  flushFailures: number
  /** As in `ProductCounters`. */
  conflations: number
  closedReaders: { slow: number; silent: number }
}

/** The RPC interface of a quote board. `fetch` accepts a WebSocket upgrade and responds with the object's own socket. */
export interface QuoteBoardObject {
  fetch(request: Request): Promise<Response>
  /** Results in the order of `names`. Waits up to LOOKUP_TIMEOUT_MS for a provider if an asset has no price at all. */
  lookup(names: string[]): Promise<LookupResult[]>
  /** Asks the providers about an unknown symbol, and adds the asset. Uses up their rate limits: the caller limits it. */
  discover(name: string): Promise<LookupResult>
  /** Sets the refresh plan of this minute, and schedules the next refresh. */
  setPlan(plan: QuotePlan): Promise<void>
  /**
   * Sends price changes of these assets to a user's object from now on, replacing its earlier subscription, and returns
   * the current prices. No assets: unsubscribes. The subscription ends when the object says so or stays unreachable.
   * Assets in `watched` are open on a page, and are refreshed as often as those of connections.
   */
  subscribe(user: string, assetIds: number[], watched: number[]): Promise<PortfolioPrice[]>
  /** Refreshes these assets, or all for null, within the providers' rate limits. */
  refresh(names: string[] | null): Promise<RefreshReport>
  status(): Promise<QuoteBoardStatus>
}

/** An asset to quote, with its providers in the order in which they are tried. */
export type QuoteRequest = { asset_id: number; sources: ProviderAssetId[] }

/** Why providers have no answer. `retryAt` is in Unix milliseconds, null where waiting may not help. */
export type ProviderFault = { ok: false; reason: Exclude<StaleReason, 'expired'>; retryAt: number | null }

/** The quote of the first provider with a price, or why none had one: temporary reasons before permanent ones. */
export type QuoteOutcome = { asset_id: number } & (
  | { ok: true; provider: QuoteProviderName; quote: ProviderQuote }
  | ProviderFault
)

/** The RPC interface of the one object that sends all requests to quote providers (Q4). */
export interface ProviderGateObject {
  /** Outcomes in the order of `requests`, batched by provider, within the rate limits. Never rejects for a provider's failure. */
  quotes(requests: QuoteRequest[]): Promise<QuoteOutcome[]>
  /** The daily bars of one asset from the first of its providers that has them. */
  daily(sources: ProviderAssetId[], from: string | null): Promise<DailyOutcome>
  /** Finds an unknown symbol at the providers. */
  find(name: string): Promise<FindOutcome>
  limits(): Promise<ProviderLimit[]>
}

export type DailyOutcome =
  | { ok: true; provider: QuoteProviderName; history: DailyHistory }
  /** `asked`: false if the rate limits allowed no request. */
  | (ProviderFault & { detail: string; asked: boolean })

export type FindOutcome =
  | { ok: true; found: { provider: QuoteProviderName; listing: ProviderListing } | null }
  | ProviderFault

/** Responses of one route, method and status class, with their total and longest duration in milliseconds. */
export type RouteCount = { route: string; method: string; status: string; count: number; ms: number; max_ms: number }

/** The RPC interface of the object that collects the isolates' counts until cron stores them. */
export interface MeterObject {
  add(counts: RouteCount[]): Promise<void>
  /** Returns the counts and resets them. */
  drain(): Promise<RouteCount[]>
}

/**
 * A write to a user's holdings: the affected assets (null: all), the changed and removed lots, and the portfolio's new
 * version; `before` is its version before the write, if known.
 */
export type PortfolioChange = {
  version: number
  before?: number
  asset_ids: number[] | null
  lots: string[]
  removed_lots: string[]
}

/** Counts since the object woke up; `loads` counts all its reads of the database. */
export type PortfolioStatus = { sockets: number; positions: number; version: number; loads: number; position: string }

/**
 * The RPC interface of a user's object. `fetch` accepts a WebSocket upgrade of the user, who is authenticated until
 * `kerb-until` (a header, Unix milliseconds).
 */
export interface UserPortfolioObject {
  fetch(request: Request): Promise<Response>
  /** A ticket for one socket within TICKET_TTL_MS, for a session that expires at `until` (Unix milliseconds). */
  issueTicket(until: number): Promise<string>
  /** When the ticket's session expires (Unix milliseconds); null for an invalid, expired or used ticket. */
  redeemTicket(ticket: string): Promise<number | null>
  /** The live portfolio as JSON text of `Enriched`; null until a refresh has computed it: call `requestRefresh`. */
  enriched(): Promise<string | null>
  /** True if the caller must queue a refresh job; false if one is under way. */
  requestRefresh(): Promise<boolean>
  /** Withdraws `requestRefresh` when the job could not be queued. */
  cancelRefresh(): Promise<void>
  /** Reads everything from the database and publishes the changes: the queue's job. */
  refresh(): Promise<void>
  /** Applies a write. Connections get their updates before it returns. */
  applyChange(change: PortfolioChange): Promise<void>
  /** Receives a board's changed prices, and the assets without a price. False ends the subscription: nobody watches. */
  updatePrices(prices: PortfolioPrice[], gone?: number[]): Promise<boolean>
  /** Closes all sockets: the sessions have ended. */
  closeSockets(): Promise<void>
  /** Closes all sockets and deletes all state: the user no longer exists. */
  forget(): Promise<void>
  status(): Promise<PortfolioStatus>
}

/** The object of one user, by user id. */
export const userPortfolio = (env: Env, userId: string): UserPortfolioObject =>
  env.USER_PORTFOLIO.getByName(`${readSettings(env).EXCHANGE}:${userId}`) as unknown as UserPortfolioObject

/** The user of an object's name (`ctx.id.name`). */
export const parseUserName = (name: string): string => name.slice(name.indexOf(':') + 1)

/** The board of one shard of the quotes. */
export const quoteBoard = (env: Env, shard: number): QuoteBoardObject =>
  env.QUOTE_BOARD.getByName(`${readSettings(env).EXCHANGE}:${shard}`) as unknown as QuoteBoardObject

/** The shard of a board's name (`ctx.id.name`). */
export const parseShardName = (name: string): number => Number(name.slice(name.indexOf(':') + 1))

/** The one object that sends requests to quote providers. */
export const providerGate = (env: Env): ProviderGateObject =>
  env.PROVIDER_GATE.getByName(readSettings(env).EXCHANGE) as unknown as ProviderGateObject

export const meter = (env: Env): MeterObject =>
  env.METER.getByName(readSettings(env).EXCHANGE) as unknown as MeterObject
