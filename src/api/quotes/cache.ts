import { readSettings } from '../../config.ts'
import { log } from '../../log.ts'
import { type LookupResult, quoteBoard } from '../../objects.ts'
import { perEnv } from '../../per-env.ts'
import { staleReason } from '../../pricing/freshness.ts'
import { shardOf } from '../../pricing/symbol.ts'
import { formatQuote, type StaleReason } from '../../protocol/quote.ts'

/** A cached result is fresh for this long. */
const CACHE_TTL_MS = 1_000
/** While another request refreshes an entry, it is used until this age: one request waits, the others do not. */
const MAX_AGE_REFRESHING_MS = 2 * CACHE_TTL_MS
/** An unknown or ambiguous symbol rarely changes: it is fresh for this long. */
const NEGATIVE_TTL_MS = 5_000
/** While a board cannot be reached, its cached quotes are used until this age, marked as stale by their own rules. */
const MAX_AGE_UNREACHABLE_MS = 300_000
/** A lookup also refreshes expired entries that were used within this time. */
const RECENT_USE_MS = 5_000
/** Most expired entries that one lookup refreshes in addition to its own symbols. */
const MAX_EXTRA_NAMES = 1_000
/** About 15 MB of quotes. */
const MAX_ENTRIES = 10_000
/** The oldest entries, among which an eviction prefers one that is not in use. */
const EVICTION_CANDIDATES = 16
/** `Retry-After` when a board cannot be reached, in seconds. */
const RETRY_AFTER_S = 2

/** The result of a lookup, whichever board has the symbol. */
export type ResolvedLookup = Exclude<LookupResult, { kind: 'moved' }>
type QuoteLookupResult = Extract<LookupResult, { kind: 'quote' }>

/** Where to look a symbol up: a board, and the name that the board knows it by. */
type BoardRoute = { ask: string; shard: number }

/** Times in Unix milliseconds. */
type CacheEntry = BoardRoute & {
  result: LookupResult
  fetchedAt: number
  usedAt: number
  /** The last time that a request asked its board. */
  requestedAt: number
  /** The quote as JSON, with the stale reason in it. */
  text: string | null
  textStale: StaleReason | null
}

/** Entries by name, in the order in which they were fetched, and when each shard's expired entries were last refreshed. */
type LookupCache = { entries: Map<string, CacheEntry>; refreshedAt: Map<number, number> }

const lookupCache = perEnv((_: object): LookupCache => ({ entries: new Map(), refreshedAt: new Map() }))

function isFresh(entry: CacheEntry, now: number): boolean {
  const { kind } = entry.result
  const age = now - entry.fetchedAt
  if (age < (kind === 'unknown' || kind === 'ambiguous' ? NEGATIVE_TTL_MS : CACHE_TTL_MS)) return true
  return age < MAX_AGE_REFRESHING_MS && now - entry.requestedAt < CACHE_TTL_MS && kind === 'quote'
}

/**
 * The JSON text of a fresh cached quote, with its age as of `now` (Unix milliseconds); null if a board must be asked.
 * @param name a symbol in capitals; another is not found
 */
export function cachedQuoteText(env: object, name: string, now: number): string | null {
  const entry = lookupCache(env).entries.get(name)
  if (entry === undefined || entry.result.kind !== 'quote' || !isFresh(entry, now)) return null
  entry.usedAt = now
  const stale = staleReason(entry.result, now)
  if (entry.text === null || entry.textStale !== stale) {
    entry.text = formatQuote(entry.result.quote, 'cache', stale)
    entry.textStale = stale
  }
  return entry.text
}

/**
 * Looks symbols up, in the order of `names`: in the isolate's cache, or else on their boards. Never rejects: symbols of an
 * unreachable board have their cached quote, or are `unpriced`.
 *
 * Requests share values only: in Workers, one request cannot wait for a promise of another.
 * @param names as `normalizeName` returns them
 * @param now Unix milliseconds
 */
export async function lookupQuotes(env: Env, names: readonly string[], now = Date.now()): Promise<ResolvedLookup[]> {
  const cache = lookupCache(env)
  const results = new Map<string, ResolvedLookup>()
  const missing: string[] = []
  for (const name of new Set(names)) {
    const entry = cache.entries.get(name)
    if (entry) entry.usedAt = now
    if (entry && entry.result.kind !== 'moved' && isFresh(entry, now)) results.set(name, entry.result)
    else missing.push(name)
  }
  if (missing.length > 0)
    for (const [name, result] of await lookupOnBoards(env, cache, missing, now))
      if (!results.has(name)) results.set(name, result)
  return names.map((name) => results.get(name) ?? unreachableResult(name))
}

/** Asks the providers about an unknown symbol, which uses up their rate limits: the caller limits it. Never rejects. */
export async function discoverQuote(env: Env, name: string): Promise<ResolvedLookup> {
  const route = routeByHash(env, name)
  try {
    const result = { ...(await quoteBoard(env, route.shard).discover(name)), name }
    cacheResult(lookupCache(env), result, route, Date.now())
    if (result.kind !== 'moved') return result
  } catch (error) {
    log('discovery_failed', { name, error: String(error) })
    return unreachableResult(name)
  }
  const [followed] = await lookupQuotes(env, [name])
  return followed ?? unreachableResult(name)
}

const routeByHash = (env: Env, name: string): BoardRoute => ({
  ask: name,
  shard: shardOf(name, readSettings(env).QUOTE_SHARDS),
})

function routeName(env: Env, { entries }: LookupCache, name: string): BoardRoute {
  const entry = entries.get(name)
  if (entry?.result.kind === 'moved') return routeByHash(env, entry.result.symbol)
  // A symbol that has moved and is unknown on the other board starts from the beginning.
  return entry === undefined || entry.result.kind === 'unknown' ? routeByHash(env, name) : entry
}

/** Asks the boards, one RPC for each shard, and once more for symbols that have moved. */
async function lookupOnBoards(
  env: Env,
  cache: LookupCache,
  names: readonly string[],
  now: number,
): Promise<Map<string, ResolvedLookup>> {
  const results = new Map<string, ResolvedLookup>()
  let pending = names
  for (let round = 0; round < 2 && pending.length > 0; round++) {
    const byShard = new Map<number, Map<string, BoardRoute>>()
    for (const name of pending) {
      const route = routeName(env, cache, name)
      const routes = byShard.get(route.shard) ?? new Map<string, BoardRoute>()
      byShard.set(route.shard, routes.set(name, route))
    }
    if (round === 0) for (const [shard, routes] of byShard) addExpiredEntries(cache, shard, routes, now)
    const answers = await Promise.all(
      [...byShard].map(([shard, routes]) => lookupOnShard(env, cache, shard, routes, now)),
    )
    const moved: string[] = []
    for (const result of answers.flat())
      if (result.kind === 'moved') moved.push(result.name)
      else results.set(result.name, result)
    pending = moved
  }
  // Boards that refer to each other disagree about the number of shards: a deployment is under way.
  for (const name of pending) results.set(name, unreachableResult(name))
  return results
}

/** Adds a shard's expired quotes that were used recently, at most once in the lifetime of an entry. */
function addExpiredEntries(cache: LookupCache, shard: number, routes: Map<string, BoardRoute>, now: number): void {
  if (now - (cache.refreshedAt.get(shard) ?? 0) < CACHE_TTL_MS) return
  cache.refreshedAt.set(shard, now)
  let added = 0
  for (const [name, entry] of cache.entries) {
    if (entry.shard !== shard || entry.result.kind !== 'quote' || now - entry.usedAt > RECENT_USE_MS) continue
    if (isFresh(entry, now) || routes.has(name)) continue
    routes.set(name, entry)
    if (++added >= MAX_EXTRA_NAMES) return
  }
}

async function lookupOnShard(
  env: Env,
  cache: LookupCache,
  shard: number,
  routes: ReadonlyMap<string, BoardRoute>,
  now: number,
): Promise<LookupResult[]> {
  for (const name of routes.keys()) {
    const entry = cache.entries.get(name)
    if (entry) entry.requestedAt = now
  }
  try {
    const asked = [...new Set([...routes.values()].map((route) => route.ask))]
    const answers = await quoteBoard(env, shard).lookup(asked)
    const fetchedAt = Date.now()
    const byAsked = new Map(asked.map((name, i) => [name, answers[i]]))
    return [...routes].map(([name, route]) => {
      const answer = byAsked.get(route.ask)
      if (answer === undefined) throw new Error(`board ${shard} returned no result for ${route.ask}`)
      const result = { ...answer, name }
      cacheResult(cache, result, route, fetchedAt)
      return result
    })
  } catch (error) {
    log('quotes_read_failed', { shard, names: routes.size, error: String(error) })
    return [...routes.keys()].map((name) => {
      const entry = cache.entries.get(name)
      const isUsable = entry?.result.kind === 'quote' && now - entry.fetchedAt < MAX_AGE_UNREACHABLE_MS
      return isUsable ? entry.result : unreachableResult(name)
    })
  }
}

const unreachableResult = (name: string): ResolvedLookup => ({
  name,
  kind: 'unpriced',
  symbol: name,
  reason: 'unavailable',
  retryAfter: RETRY_AFTER_S,
})

/** Caches a result, whose layer is the cache from now on. */
function cacheResult({ entries }: LookupCache, result: LookupResult, { ask, shard }: BoardRoute, at: number): void {
  const { name } = result
  const before = entries.get(name)
  if (before === undefined && entries.size >= MAX_ENTRIES) evict(entries, at)
  entries.set(name, {
    result: result.kind === 'quote' ? ({ ...result, source: 'cache' } satisfies QuoteLookupResult) : result,
    fetchedAt: at,
    usedAt: before?.usedAt ?? at,
    requestedAt: before?.requestedAt ?? 0,
    ask,
    shard,
    text: null,
    textStale: null,
  })
}

/**
 * Drops one of the oldest entries, preferably one that is unknown or not in use, and moves the others to the end. Plain
 * least-recently-used would let a flood of unknown symbols push out the quotes in use.
 */
function evict(entries: Map<string, CacheEntry>, now: number): void {
  const oldest: [string, CacheEntry][] = []
  for (const entry of entries) if (oldest.push(entry) === EVICTION_CANDIDATES) break
  const victim =
    oldest.find(([, entry]) => now - entry.usedAt > RECENT_USE_MS || entry.result.kind === 'unknown') ?? oldest[0]
  for (const [name, entry] of oldest) {
    entries.delete(name)
    if (name !== victim?.[0]) entries.set(name, entry)
  }
}

/** Groups symbols by shard, under the names that their boards know them by. */
export function namesByShard(env: Env, names: readonly string[]): Map<number, string[]> {
  const cache = lookupCache(env)
  const byShard = new Map<number, Set<string>>()
  for (const name of names) {
    const { ask, shard } = routeName(env, cache, name)
    byShard.set(shard, (byShard.get(shard) ?? new Set()).add(ask))
  }
  return new Map([...byShard].map(([shard, group]) => [shard, [...group]]))
}
