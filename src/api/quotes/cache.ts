import { readSettings } from '../../config.ts'
import { log } from '../../log.ts'
import { type LookupResult, quoteBoard } from '../../objects.ts'
import { staleReason } from '../../pricing/freshness.ts'
import { shardOf } from '../../pricing/symbol.ts'
import { formatQuote, type StaleReason } from '../../protocol/quote.ts'

/** A copy of what a board said of a price is used for so long, milliseconds. */
const CACHE_TTL_MS = 1_000
/** A copy that another request is having renewed is used until it is so old: one request waits, the others do not. */
const MAX_AGE_REFRESHING_MS = 2 * CACHE_TTL_MS
/** That there is no such asset, or several, changes seldom: milliseconds. */
const NEGATIVE_TTL_MS = 5_000
/** While a board cannot be reached, prices that it told so long ago are still told, for what they are. */
const MAX_AGE_UNREACHABLE_MS = 300_000
/** Who renews a copy takes the others along that are over and were used within this time. */
const RECENT_USE_MS = 5_000
/** The most names of one look that nobody has asked for in that moment. */
const MAX_EXTRA_NAMES = 1_000
/** About 15 MB of quotes. */
const MAX_ENTRIES = 10_000
/** Copies that are looked at for one that may go, when there are too many. */
const EVICTION_CANDIDATES = 16
/** Seconds after which to ask again when a board could not be reached. */
const RETRY_AFTER_S = 2

/** What is known of a name, wherever its board is. */
export type ResolvedLookup = Exclude<LookupResult, { kind: 'moved' }>
type QuoteLookupResult = Extract<LookupResult, { kind: 'quote' }>

type CacheEntry = {
  result: LookupResult
  /** When the board told it, and when somebody last wanted it: unix milliseconds. */
  fetchedAt: number
  usedAt: number
  /** When it was last asked for anew. */
  requestedAt: number
  /** What to ask for, and where: another name than its own once its board has said so. */
  ask: string
  shard: number
  /** The quote as JSON, and what it says of being stale. */
  text: string | null
  textStale: StaleReason | null
}

/** Copies by name, and when each shard's were last renewed together. */
type LookupCache = { entries: Map<string, CacheEntry>; refreshedAt: Map<number, number> }

const lookupCaches = new WeakMap<object, LookupCache>()

function getCache(env: object): LookupCache {
  let mirror = lookupCaches.get(env)
  if (!mirror) {
    mirror = { entries: new Map(), refreshedAt: new Map() }
    lookupCaches.set(env, mirror)
  }
  return mirror
}

function isFresh(copy: CacheEntry, now: number): boolean {
  const { kind } = copy.result
  const age = now - copy.fetchedAt
  if (age < (kind === 'unknown' || kind === 'ambiguous' ? NEGATIVE_TTL_MS : CACHE_TTL_MS)) return true
  return age < MAX_AGE_REFRESHING_MS && now - copy.requestedAt < CACHE_TTL_MS && kind === 'quote'
}

/**
 * The JSON text of a quote whose copy is good, without waiting; null where a board has to be asked. What it says of its
 * age is true at `now`.
 * @param name as the client wrote it: one that is not in capitals is not found
 */
export function cachedQuoteText(env: object, name: string, now: number): string | null {
  const copy = lookupCaches.get(env)?.entries.get(name)
  if (copy === undefined || copy.result.kind !== 'quote' || !isFresh(copy, now)) return null
  copy.usedAt = now
  const stale = staleReason(copy.result, now)
  if (copy.text === null || copy.textStale !== stale) {
    copy.text = formatQuote(copy.result.quote, 'cache', stale)
    copy.textStale = stale
  }
  return copy.text
}

/**
 * What the boards know of each name, in the order of `names`. Copies of a second ago are used; what they
 * say is then from the `cache`. Never rejects: what a lost board has is told as it was, or as `unpriced`.
 *
 * Requests share values alone: in Workers, one request cannot wait for what another has begun.
 * @param names as `normalName` gives them
 * @param now unix milliseconds
 */
export async function lookupQuotes(env: Env, names: readonly string[], now = Date.now()): Promise<ResolvedLookup[]> {
  const mirror = getCache(env)
  const found = new Map<string, ResolvedLookup>()
  const missing: string[] = []
  for (const name of new Set(names)) {
    const copy = mirror.entries.get(name)
    if (copy) copy.usedAt = now
    if (copy && copy.result.kind !== 'moved' && isFresh(copy, now)) found.set(name, copy.result)
    else missing.push(name)
  }
  if (missing.length > 0)
    for (const [name, look] of await lookupOnBoards(env, mirror, missing, now))
      if (!found.has(name)) found.set(name, look)
  return names.map((name) => found.get(name) ?? unreachableResult(name))
}

/** Has the providers asked for a name that no asset has. Costs their requests: the caller limits it. Never rejects. */
export async function discoverQuote(env: Env, name: string): Promise<ResolvedLookup> {
  const mirror = getCache(env)
  const place = routeByHash(env, name)
  try {
    const look = { ...(await quoteBoard(env, place.shard).discover(name)), name }
    cacheResult(mirror, name, look, place, Date.now())
    if (look.kind !== 'moved') return look
  } catch (error) {
    log('discovery_failed', { name, error: String(error) })
    return unreachableResult(name)
  }
  const [followed] = await lookupQuotes(env, [name])
  return followed ?? unreachableResult(name)
}

type BoardRoute = Pick<CacheEntry, 'ask' | 'shard'>

function routeName(env: Env, mirror: LookupCache, name: string): BoardRoute {
  const copy = mirror.entries.get(name)
  if (copy?.result.kind === 'moved') return routeByHash(env, copy.result.symbol)
  // What has no asset any more where it had moved to is looked for from the start.
  return copy === undefined || copy.result.kind === 'unknown' ? routeByHash(env, name) : copy
}

const routeByHash = (env: Env, name: string): BoardRoute => ({
  ask: name,
  shard: shardOf(name, readSettings(env).QUOTE_SHARDS),
})

/** Asks the boards, one RPC a shard, and once more for names that have moved. */
async function lookupOnBoards(
  env: Env,
  mirror: LookupCache,
  names: readonly string[],
  now: number,
): Promise<Map<string, ResolvedLookup>> {
  const found = new Map<string, ResolvedLookup>()
  let left = names
  for (let round = 0; round < 2 && left.length > 0; round++) {
    const byShard = new Map<number, Map<string, BoardRoute>>()
    for (const name of left) {
      const place = routeName(env, mirror, name)
      const shard = byShard.get(place.shard) ?? new Map<string, BoardRoute>()
      byShard.set(place.shard, shard.set(name, place))
    }
    if (round === 0) for (const [shard, places] of byShard) addExpiredEntries(mirror, shard, places, now)
    const answers = await Promise.all(
      [...byShard].map(([shard, places]) => lookupOnShard(env, mirror, shard, places, now)),
    )
    const moved: string[] = []
    for (const [name, look] of answers.flat())
      if (look.kind === 'moved') moved.push(name)
      else found.set(name, look)
    left = moved
  }
  // Boards that send each other's callers round are at odds about the number of shards: a deploy is under way.
  for (const name of left) found.set(name, unreachableResult(name))
  return found
}

/** Adds the quotes of a shard that were used lately and whose copies are over, at most once in a copy's life. */
function addExpiredEntries(mirror: LookupCache, shard: number, places: Map<string, BoardRoute>, now: number): void {
  if (now - (mirror.refreshedAt.get(shard) ?? 0) < CACHE_TTL_MS) return
  mirror.refreshedAt.set(shard, now)
  let along = 0
  for (const [name, copy] of mirror.entries) {
    if (copy.shard !== shard || copy.result.kind !== 'quote' || now - copy.usedAt > RECENT_USE_MS) continue
    if (isFresh(copy, now) || places.has(name)) continue
    places.set(name, copy)
    if (++along >= MAX_EXTRA_NAMES) return
  }
}

async function lookupOnShard(
  env: Env,
  mirror: LookupCache,
  shard: number,
  places: ReadonlyMap<string, BoardRoute>,
  now: number,
): Promise<[string, LookupResult][]> {
  for (const name of places.keys()) {
    const copy = mirror.entries.get(name)
    if (copy) copy.requestedAt = now
  }
  try {
    const asked = [...new Set([...places.values()].map((place) => place.ask))]
    const looks = await quoteBoard(env, shard).lookup(asked)
    const at = Date.now()
    const byAsked = new Map(asked.map((name, i) => [name, looks[i]]))
    return [...places].map(([name, place]) => {
      const look = byAsked.get(place.ask)
      if (look === undefined) throw new Error(`board ${shard} said nothing of ${place.ask}`)
      const told = { ...look, name }
      cacheResult(mirror, name, told, place, at)
      return [name, told]
    })
  } catch (error) {
    log('quotes_read_failed', { shard, names: places.size, error: String(error) })
    return [...places.keys()].map((name) => {
      const copy = mirror.entries.get(name)
      return [
        name,
        copy?.result.kind === 'quote' && now - copy.fetchedAt < MAX_AGE_UNREACHABLE_MS
          ? copy.result
          : unreachableResult(name),
      ]
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

/** Keeps a copy; from now on it is from the cache. */
function cacheResult(
  { entries: copies }: LookupCache,
  name: string,
  look: LookupResult,
  { ask, shard }: BoardRoute,
  at: number,
): void {
  const before = copies.get(name)
  if (before === undefined && copies.size >= MAX_ENTRIES) evict(copies, at)
  const kept: LookupResult = look.kind === 'quote' ? ({ ...look, source: 'cache' } satisfies QuoteLookupResult) : look
  const usedAt = before?.usedAt ?? at
  copies.set(name, {
    result: kept,
    fetchedAt: at,
    usedAt,
    requestedAt: before?.requestedAt ?? 0,
    ask,
    shard,
    text: null,
    textStale: null,
  })
}

/** Drops the oldest copy that nobody used lately; where the oldest are all in use, the oldest of all. */
function evict(copies: Map<string, CacheEntry>, now: number): void {
  const oldest: [string, CacheEntry][] = []
  for (const entry of copies) if (oldest.push(entry) === EVICTION_CANDIDATES) break
  const idle =
    oldest.find(([, copy]) => now - copy.usedAt > RECENT_USE_MS || copy.result.kind === 'unknown') ?? oldest[0]
  for (const [name, copy] of oldest) {
    copies.delete(name)
    if (name !== idle?.[0]) copies.set(name, copy)
  }
}

/** The boards that have these names, as far as a look has told, and what each calls them. */
export function namesByShard(env: Env, names: readonly string[]): Map<number, string[]> {
  const mirror = getCache(env)
  const places = new Map<number, Set<string>>()
  for (const name of names) {
    const { ask, shard } = routeName(env, mirror, name)
    places.set(shard, (places.get(shard) ?? new Set()).add(ask))
  }
  return new Map([...places].map(([shard, of]) => [shard, [...of]]))
}
