import { settings } from '../../config.ts'
import { type Look, quoteBoard } from '../../objects.ts'
import { staleOf } from '../../pricing/freshness.ts'
import { shardOf } from '../../pricing/symbol.ts'
import { quoteText, type StaleReason } from '../../protocol/quote.ts'
import { log } from '../http/context.ts'

/** A copy of what a board said of a price is used for so long, milliseconds. */
const COPY_MS = 1_000
/** A copy that another request is having renewed is used until it is so old: one request waits, the others do not. */
const WORST_MS = 2 * COPY_MS
/** That there is no such asset, or several, changes seldom: milliseconds. */
const NO_QUOTE_MS = 5_000
/** While a board cannot be reached, prices that it told so long ago are still told, for what they are. */
const LOST_MS = 300_000
/** Who renews a copy takes the others along that are over and were used within this time. */
const USED_MS = 5_000
/** The most names of one look that nobody has asked for in that moment. */
const MAX_ALONG = 1_000
/** About 15 MB of quotes. */
const MAX_COPIES = 10_000
/** Copies that are looked at for one that may go, when there are too many. */
const EVICTION_LOOKS = 16
/** Seconds after which to ask again when a board could not be reached. */
const RETRY_S = 2

/** What is known of a name, wherever its board is. */
export type Known = Exclude<Look, { kind: 'moved' }>
type Told = Extract<Look, { kind: 'quote' }>

type Copy = {
  look: Look
  /** When the board told it, and when somebody last wanted it: unix milliseconds. */
  at: number
  usedAt: number
  /** When it was last asked for anew. */
  askedAt: number
  /** What to ask for, and where: another name than its own once its board has said so. */
  ask: string
  shard: number
  /** The quote as JSON, and what it says of being stale. */
  text: string | null
  textStale: StaleReason | null
}

/** Copies by name, and when each shard's were last renewed together. */
type Mirror = { copies: Map<string, Copy>; renewedAt: Map<number, number> }

const mirrors = new WeakMap<object, Mirror>()

function mirrorOf(env: object): Mirror {
  let mirror = mirrors.get(env)
  if (!mirror) {
    mirror = { copies: new Map(), renewedAt: new Map() }
    mirrors.set(env, mirror)
  }
  return mirror
}

function isUsable(copy: Copy, now: number): boolean {
  const { kind } = copy.look
  const age = now - copy.at
  if (age < (kind === 'unknown' || kind === 'ambiguous' ? NO_QUOTE_MS : COPY_MS)) return true
  return age < WORST_MS && now - copy.askedAt < COPY_MS && kind === 'quote'
}

/**
 * The JSON text of a quote whose copy is good, without waiting; null where a board has to be asked. What it says of its
 * age is true at `now`.
 * @param name as the client wrote it: one that is not in capitals is not found
 */
export function quoteAtHand(env: object, name: string, now: number): string | null {
  const copy = mirrors.get(env)?.copies.get(name)
  if (copy === undefined || copy.look.kind !== 'quote' || !isUsable(copy, now)) return null
  copy.usedAt = now
  const stale = staleOf(copy.look, now)
  if (copy.text === null || copy.textStale !== stale) {
    copy.text = quoteText(copy.look.quote, 'cache', stale)
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
export async function lookUp(env: Env, names: readonly string[], now = Date.now()): Promise<Known[]> {
  const mirror = mirrorOf(env)
  const found = new Map<string, Known>()
  const missing: string[] = []
  for (const name of new Set(names)) {
    const copy = mirror.copies.get(name)
    if (copy) copy.usedAt = now
    if (copy && copy.look.kind !== 'moved' && isUsable(copy, now)) found.set(name, copy.look)
    else missing.push(name)
  }
  if (missing.length > 0)
    for (const [name, look] of await ask(env, mirror, missing, now)) if (!found.has(name)) found.set(name, look)
  return names.map((name) => found.get(name) ?? unreached(name))
}

/** Has the providers asked for a name that no asset has. Costs their requests: the caller limits it. Never rejects. */
export async function discover(env: Env, name: string): Promise<Known> {
  const mirror = mirrorOf(env)
  const place = elsewhere(env, name)
  try {
    const look = { ...(await quoteBoard(env, place.shard).discover(name)), name }
    keep(mirror, name, look, place, Date.now())
    if (look.kind !== 'moved') return look
  } catch (error) {
    log('discovery_failed', { name, error: String(error) })
    return unreached(name)
  }
  const [followed] = await lookUp(env, [name])
  return followed ?? unreached(name)
}

type Place = Pick<Copy, 'ask' | 'shard'>

function placeOf(env: Env, mirror: Mirror, name: string): Place {
  const copy = mirror.copies.get(name)
  if (copy?.look.kind === 'moved') return elsewhere(env, copy.look.symbol)
  // What has no asset any more where it had moved to is looked for from the start.
  return copy === undefined || copy.look.kind === 'unknown' ? elsewhere(env, name) : copy
}

const elsewhere = (env: Env, name: string): Place => ({ ask: name, shard: shardOf(name, settings(env).QUOTE_SHARDS) })

/** Asks the boards, one RPC a shard, and once more for names that have moved. */
async function ask(env: Env, mirror: Mirror, names: readonly string[], now: number): Promise<Map<string, Known>> {
  const found = new Map<string, Known>()
  let left = names
  for (let round = 0; round < 2 && left.length > 0; round++) {
    const byShard = new Map<number, Map<string, Place>>()
    for (const name of left) {
      const place = placeOf(env, mirror, name)
      const shard = byShard.get(place.shard) ?? new Map<string, Place>()
      byShard.set(place.shard, shard.set(name, place))
    }
    if (round === 0) for (const [shard, places] of byShard) takeAlong(mirror, shard, places, now)
    const answers = await Promise.all([...byShard].map(([shard, places]) => askShard(env, mirror, shard, places, now)))
    const moved: string[] = []
    for (const [name, look] of answers.flat())
      if (look.kind === 'moved') moved.push(name)
      else found.set(name, look)
    left = moved
  }
  // Boards that send each other's callers round are at odds about the number of shards: a deploy is under way.
  for (const name of left) found.set(name, unreached(name))
  return found
}

/** Adds the quotes of a shard that were used lately and whose copies are over, at most once in a copy's life. */
function takeAlong(mirror: Mirror, shard: number, places: Map<string, Place>, now: number): void {
  if (now - (mirror.renewedAt.get(shard) ?? 0) < COPY_MS) return
  mirror.renewedAt.set(shard, now)
  let along = 0
  for (const [name, copy] of mirror.copies) {
    if (copy.shard !== shard || copy.look.kind !== 'quote' || now - copy.usedAt > USED_MS) continue
    if (isUsable(copy, now) || places.has(name)) continue
    places.set(name, copy)
    if (++along >= MAX_ALONG) return
  }
}

async function askShard(
  env: Env,
  mirror: Mirror,
  shard: number,
  places: ReadonlyMap<string, Place>,
  now: number,
): Promise<[string, Look][]> {
  for (const name of places.keys()) {
    const copy = mirror.copies.get(name)
    if (copy) copy.askedAt = now
  }
  try {
    const asked = [...new Set([...places.values()].map((place) => place.ask))]
    const looks = await quoteBoard(env, shard).look(asked)
    const at = Date.now()
    const byAsked = new Map(asked.map((name, i) => [name, looks[i]]))
    return [...places].map(([name, place]) => {
      const look = byAsked.get(place.ask)
      if (look === undefined) throw new Error(`board ${shard} said nothing of ${place.ask}`)
      const told = { ...look, name }
      keep(mirror, name, told, place, at)
      return [name, told]
    })
  } catch (error) {
    log('quotes_unread', { shard, names: places.size, error: String(error) })
    return [...places.keys()].map((name) => {
      const copy = mirror.copies.get(name)
      return [name, copy?.look.kind === 'quote' && now - copy.at < LOST_MS ? copy.look : unreached(name)]
    })
  }
}

const unreached = (name: string): Known => ({
  name,
  kind: 'unpriced',
  symbol: name,
  reason: 'unavailable',
  retryAfter: RETRY_S,
})

/** Keeps a copy; from now on it is from the cache. */
function keep({ copies }: Mirror, name: string, look: Look, { ask, shard }: Place, at: number): void {
  const before = copies.get(name)
  if (before === undefined && copies.size >= MAX_COPIES) evict(copies, at)
  const kept: Look = look.kind === 'quote' ? ({ ...look, source: 'cache' } satisfies Told) : look
  const usedAt = before?.usedAt ?? at
  copies.set(name, { look: kept, at, usedAt, askedAt: before?.askedAt ?? 0, ask, shard, text: null, textStale: null })
}

/** Drops the oldest copy that nobody used lately; where the oldest are all in use, the oldest of all. */
function evict(copies: Map<string, Copy>, now: number): void {
  const oldest: [string, Copy][] = []
  for (const entry of copies) if (oldest.push(entry) === EVICTION_LOOKS) break
  const idle = oldest.find(([, copy]) => now - copy.usedAt > USED_MS || copy.look.kind === 'unknown') ?? oldest[0]
  for (const [name, copy] of oldest) {
    copies.delete(name)
    if (name !== idle?.[0]) copies.set(name, copy)
  }
}

/** The boards that have these names, as far as a look has told, and what each calls them. */
export function placesOf(env: Env, names: readonly string[]): Map<number, string[]> {
  const mirror = mirrorOf(env)
  const places = new Map<number, Set<string>>()
  for (const name of names) {
    const { ask, shard } = placeOf(env, mirror, name)
    places.set(shard, (places.get(shard) ?? new Set()).add(ask))
  }
  return new Map([...places].map(([shard, of]) => [shard, [...of]]))
}
