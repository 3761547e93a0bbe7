import { readSettings } from './config.ts'
import type { ExchangeCandle } from './market/aggregator.ts'
import type { ProviderLimit } from './pricing/provider-limit.ts'
import type { DailyHistory, ProviderListing, ProviderQuote } from './pricing/provider-quote.ts'
import type { ProviderAssetId, QuoteProviderName } from './pricing/quote-providers.ts'
import type { QuotePlan } from './pricing/refresh-settings.ts'
import type { Candidate } from './protocol/asset.ts'
import type { Candle, Gap } from './protocol/candle.ts'
import type { Granularity } from './protocol/granularity.ts'
import type { PortfolioPrice } from './protocol/portfolio.ts'
import type { ProductStatus } from './protocol/product.ts'
import type { Quote, QuoteLayer, StaleReason } from './protocol/quote.ts'

/** One product's leave to keep its feed open, until a time in unix milliseconds. */
export type FeedLease = { product: string; until: number }

/** A stretch of one product's candles: `start` inclusive, `end` exclusive, unix seconds; the last `limit` of them. */
export type CandleQuery = { granularity: Granularity; start?: number; end?: number; limit: number }

/**
 * What a product's object holds of the stretch, ascending. From `since` on (unix seconds) its own record is the
 * authority, what is older is in Postgres; null: it holds nothing.
 */
export type CandleQueryResult = { candles: Candle[]; gaps: Gap[]; since: number | null; position: string }

/** What others ask of one product's object. `fetch` takes a WebSocket upgrade and answers with the object's own socket. */
export interface ProductObject {
  fetch(request: Request): Promise<Response>
  candles(query: CandleQuery): Promise<CandleQueryResult>
  status(): Promise<ProductStatus>
  ensureRunning(online: boolean): Promise<void>
  dayCandles(day: number): Promise<Candle[] | null>
  repair(day: number, minutes: ExchangeCandle[]): Promise<boolean>
}

/** What others ask of the object that counts open feeds. Times in unix milliseconds. */
export interface FeedSlotsObject {
  acquire(product: string, now: number): Promise<boolean>
  release(product: string): Promise<void>
  open(now: number): Promise<FeedLease[]>
}

/** The exchange is part of the name, so that simulated state and Coinbase's are never in one object. */
export const productObjectName = (exchange: string, product: string): string => `${exchange}:${product}`

/** The product of an object's name (`ctx.id.name`). */
export const parseProductName = (name: string): string => name.slice(name.indexOf(':') + 1)

/** The object of one product of the exchange that this Worker is set to. */
export const productCandles = (env: Env, product: string): ProductObject =>
  // The platform's types of what an RPC answers forget that a gap is a pair; the object implements the interface.
  env.PRODUCT_CANDLES.getByName(productObjectName(readSettings(env).EXCHANGE, product)) as unknown as ProductObject

/** The one object that grants open feeds of the exchange that this Worker is set to. */
export const feedSlots = (env: Env): FeedSlotsObject => env.FEED_SLOTS.getByName(readSettings(env).EXCHANGE)

/** What a board knows of a name. `freshUntil` is unix milliseconds; past it the value is stale because of `trouble`. */
export type LookupResult = { name: string } & (
  | { kind: 'quote'; quote: Quote; source: QuoteLayer; freshUntil: number; trouble: StaleReason | null }
  /** No asset has this name. `asked`: the providers have said so, too, not longer than UNKNOWN_SYMBOL_TTL_MS ago. */
  | { kind: 'unknown'; asked: boolean }
  | { kind: 'ambiguous'; candidates: Candidate[] }
  /** The asset is there, its price is not: no provider could tell it yet. `retryAfter` in seconds. */
  | { kind: 'unpriced'; symbol: string; reason: StaleReason; retryAfter: number }
  /** Another board has it, under this symbol. */
  | { kind: 'moved'; symbol: string }
)

/** What came of a refresh of everything that was asked for. */
export type RefreshReport = { refreshed: number; failed: number; waiting: number }

/** Counted since `since` (unix milliseconds); readers since the object woke up. */
export type QuoteBoardStatus = {
  since: number
  assets: number
  quotes: number
  watchers: number
  position: string
  /** Answers by the layer that gave them; `none` had no price. */
  looks: Record<QuoteLayer | 'none', number>
  /** Longest that a due asset has waited beyond its interval at the last beat, milliseconds. */
  lagMs: number
  beats: number
  refreshed: number
  failed: number
  /** Quotes that Postgres has not taken yet, and writes that failed. */
  unflushed: number
  flushFailures: number
  /** As in `Counters` of a product. */
  conflations: number
  closedReaders: { slow: number; silent: number }
}

/**
 * What others ask of a board: the hot layer of quotes. `fetch` takes a WebSocket upgrade and answers with the object's
 * own socket.
 */
export interface QuoteBoardObject {
  fetch(request: Request): Promise<Response>
  /** In the order of `names`. Waits for a provider (LOOKUP_TIMEOUT_MS at most) where an asset has no price at all. */
  lookup(names: string[]): Promise<LookupResult[]>
  /** Asks the providers for a name that no asset has, and adds what they know. Costs requests: the caller limits it. */
  discover(name: string): Promise<LookupResult>
  /** Takes the plan of the minute and sees to it that the next beat comes. */
  setPlan(plan: QuotePlan): Promise<void>
  /**
   * Has what changes of these assets told to a user's object from now on, instead of what was before; and gives what is
   * known of them now. No asset: nothing any more. It ends by itself when that object says so, or cannot be reached for long.
   * `watched` are those among them that a page has open by name: they are refreshed as often as those of sockets are.
   */
  subscribe(user: string, assetIds: number[], watched: number[]): Promise<PortfolioPrice[]>
  /** Refreshes these assets now, or all, within the providers' budgets. */
  refresh(names: string[] | null): Promise<RefreshReport>
  status(): Promise<QuoteBoardStatus>
}

/** An asset to be asked for: its sources in the order in which they are tried. */
export type QuoteRequest = { asset_id: number; sources: ProviderAssetId[] }

/** What came of one asset: the first source that had a price; or why none had one: a trouble that may pass goes before one that does not. */
export type QuoteOutcome = { asset_id: number } & (
  | { ok: true; provider: QuoteProviderName; quote: ProviderQuote }
  | { ok: false; reason: Exclude<StaleReason, 'expired'>; retryAt: number | null }
)

/** What others ask of the one object through which every request to a provider of quotes goes (Q4). */
export interface ProviderGateObject {
  /** In the order of `requests`; batched by provider, as far as the budgets go. Never rejects for a provider's failure. */
  quotes(requests: QuoteRequest[]): Promise<QuoteOutcome[]>
  /** The days of one asset from the first of its sources that can tell them. */
  daily(sources: ProviderAssetId[], from: string | null): Promise<DailyOutcome>
  /** What the providers know under a name that no asset has; null: none knows it. */
  find(name: string): Promise<FindOutcome>
  limits(): Promise<ProviderLimit[]>
}

export type DailyOutcome =
  | { ok: true; provider: QuoteProviderName; history: DailyHistory }
  /** `asked`: a provider was; else its budget did not allow it. */
  | { ok: false; reason: Exclude<StaleReason, 'expired'>; retryAt: number | null; detail: string; asked: boolean }

export type FindOutcome =
  | { ok: true; found: { provider: QuoteProviderName; listing: ProviderListing } | null }
  | { ok: false; reason: Exclude<StaleReason, 'expired'>; retryAt: number | null }

/** What isolates count of one route: how many of each status class, and the time they took, in milliseconds. */
export type RouteCount = { route: string; method: string; status: string; count: number; ms: number; max_ms: number }

/** What others ask of the object that gathers the isolates' counts until cron stores them. */
export interface MeterObject {
  add(counts: RouteCount[]): Promise<void>
  /** Gives what has gathered, and begins anew. */
  drain(): Promise<RouteCount[]>
}

/**
 * What was written of a user's holdings: the assets that it touches (null: all), lots that changed, and the portfolio's
 * version since; `before` is the one that it had before that write, where that is known.
 */
export type PortfolioChange = {
  version: number
  before?: number
  asset_ids: number[] | null
  lots: string[]
  removed_lots: string[]
}

/** Counted since the object woke up, but for `loads`: how often it has read the database in all. */
export type PortfolioStatus = { sockets: number; positions: number; version: number; loads: number; position: string }

/**
 * What others ask of one user's object. `fetch` takes a WebSocket upgrade: who asks was found out before; `kerb-until` is
 * when that is over (unix milliseconds).
 */
export interface UserPortfolioObject {
  fetch(request: Request): Promise<Response>
  /** A ticket that opens one socket within TICKET_TTL_MS, for who was let in until `until` (unix milliseconds). */
  ticket(until: number): Promise<string>
  /** Until when who brings the ticket is let in; null: it is none, is over or was used. */
  redeem(ticket: string): Promise<number | null>
  /** JSON text of `Enriched`, as of now; null while it has not been made: `requestRefresh` then. */
  enriched(): Promise<string | null>
  /** Whether a job is to be queued: none is under way. */
  requestRefresh(): Promise<boolean>
  /** The job that was to be queued could not be. */
  withdrawRefresh(): Promise<void>
  /** Reads everything from the database and tells what has changed: the queue's job. */
  refresh(): Promise<void>
  /** Something was written; those who look are told before it answers. */
  changed(change: PortfolioChange): Promise<void>
  /**
   * From a board: prices that have changed, and assets that it has none of any more. False: nobody looks, do not tell me
   * any more.
   */
  prices(prices: PortfolioPrice[], gone?: number[]): Promise<boolean>
  /** Lets all sockets go: sessions have ended. */
  signedOut(): Promise<void>
  /** There is no such user any more: lets all sockets go, and forgets everything. */
  forget(): Promise<void>
  status(): Promise<PortfolioStatus>
}

/** The object of one user, by the id in the token. */
export const userPortfolio = (env: Env, userId: string): UserPortfolioObject =>
  env.USER_PORTFOLIO.getByName(`${readSettings(env).EXCHANGE}:${userId}`) as unknown as UserPortfolioObject

/** The user of an object's name (`ctx.id.name`). */
export const parseUserName = (name: string): string => name.slice(name.indexOf(':') + 1)

/** The board of one shard of the quotes. */
export const quoteBoard = (env: Env, shard: number): QuoteBoardObject =>
  env.QUOTE_BOARD.getByName(`${readSettings(env).EXCHANGE}:${shard}`) as unknown as QuoteBoardObject

/** The shard of a board's name (`ctx.id.name`). */
export const parseShardName = (name: string): number => Number(name.slice(name.indexOf(':') + 1))

/** The one object that asks the providers of quotes. */
export const providerGate = (env: Env): ProviderGateObject =>
  env.PROVIDER_GATE.getByName(readSettings(env).EXCHANGE) as unknown as ProviderGateObject

export const meter = (env: Env): MeterObject =>
  env.METER.getByName(readSettings(env).EXCHANGE) as unknown as MeterObject
