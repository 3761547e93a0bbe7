import type { PortfolioPrice } from '../../src/protocol/portfolio.ts'
import { WatchCounts } from './connection.ts'

/** Calls to users' objects that may be under way at once. */
const MAX_CALLS = 32
/** A call that was not answered for so long has failed, milliseconds. */
const CALL_TIMEOUT_MS = 10_000
/** Pause before an object that could not be reached is tried again: doubles from the first to the last, milliseconds. */
const RETRY_MIN_MS = 1_000
const RETRY_MAX_MS = 60_000
/** One that could not be reached for so long is forgotten; it asks anew when somebody looks. Milliseconds. */
const UNREACHABLE_TTL_MS = 600_000

/** Where it is kept up to which batch followers have been told. */
const PUBLISHED_KEY = 'followers_told'

/** What followers need of the object that holds them. Times are unix milliseconds. */
export type PortfolioSubscribersHost = {
  now(): number
  /** The last batch. */
  offset(): number
  /** A price as clients are told, and the batch in which that has changed last; null where there is none. */
  price(id: number): { price: PortfolioPrice; changed: number } | null
  /** Tells a user's object of prices, and of assets that have none any more; false: it wants no more. */
  sendPrices(user: string, prices: PortfolioPrice[], gone: number[]): Promise<boolean>
  track(work: Promise<unknown>): void
  log(event: string, fields: Record<string, unknown>): void
}

/**
 * `asked`: how often it has said what it follows, so that an answer to what was before is known. `failing`: since when it
 * cannot be reached, and when it is tried again.
 */
type Subscriber = {
  ids: ReadonlySet<number>
  generation: number
  pending: Set<number>
  failing: { since: number; pause: number; retryAt: number } | null
}

/** A call that is under way: since when, for which `asked`, and of which assets. */
type PriceCall = { at: number; generation: number; ids: ReadonlySet<number> }

/**
 * The users' objects that are told of prices: kept in SQLite, so that they outlive the board's sleep. Each is called for
 * one thing at a time; what changes meanwhile is told together, as it is then. It sets no timers.
 */
export class PortfolioSubscribers {
  readonly #storage: DurableObjectStorage
  readonly #host: PortfolioSubscribersHost
  readonly #subscribers = new Map<string, Subscriber>()
  readonly #byAsset = new Map<number, Set<string>>()
  /** What users have open by name. */
  readonly #watchedByUser = new Map<string, number[]>()
  readonly #watchCounts = new WatchCounts()
  /** Those to be called, in their order. */
  readonly #queue = new Set<string>()
  readonly #calls = new Map<string, PriceCall>()
  /** Those that could not be reached and wait for another try. */
  readonly #failing = new Set<string>()
  /** The batch up to which all were told. */
  #publishedOffset: number

  constructor(storage: DurableObjectStorage, host: PortfolioSubscribersHost) {
    this.#storage = storage
    this.#host = host
    storage.sql.exec('CREATE TABLE IF NOT EXISTS followers (user TEXT PRIMARY KEY, ids TEXT NOT NULL) WITHOUT ROWID')
    storage.sql.exec(
      'CREATE TABLE IF NOT EXISTS watchers (user TEXT PRIMARY KEY, ids TEXT NOT NULL, since INTEGER NOT NULL) WITHOUT ROWID',
    )
    this.#publishedOffset = storage.kv.get<number>(PUBLISHED_KEY) ?? 0
    for (const { user, ids } of storage.sql.exec<{ user: string; ids: string }>('SELECT user, ids FROM followers'))
      this.#add(user, { ids: new Set(JSON.parse(ids) as number[]), generation: 0, pending: new Set(), failing: null })
    const watchers = storage.sql.exec<{ user: string; ids: string; since: number }>('SELECT * FROM watchers')
    for (const { user, ids, since } of watchers) this.#watch(user, JSON.parse(ids), since)
    // What was stored, and not told to all, when this object died.
    this.#enqueue([...this.#byAsset.keys()].filter((id) => (host.price(id)?.changed ?? 0) > this.#publishedOffset))
  }

  get isEmpty(): boolean {
    return this.#subscribers.size === 0
  }

  isSubscribed(id: number): boolean {
    return this.#byAsset.has(id)
  }

  /** The assets that users have open by name. */
  watched(): Iterable<number> {
    return this.#watchCounts.ids()
  }

  /** Since when one of them is, unix milliseconds; null: it is not. */
  watchedSince(id: number): number | null {
    return this.#watchCounts.since(id)
  }

  /**
   * A user follows these assets from now on, and knows their prices of now; none: it follows nothing any more.
   * @param open those among them that it has open by name
   */
  subscribe(user: string, assetIds: readonly number[], open: readonly number[] = []): void {
    this.#setWatched(user, open)
    const before = this.#subscribers.get(user)
    const ids = new Set(assetIds)
    const isSame = before ? before.ids.size === ids.size && assetIds.every((id) => before.ids.has(id)) : ids.size === 0
    this.#remove(user)
    if (ids.size > 0)
      this.#add(user, { ids, generation: (before?.generation ?? 0) + 1, pending: new Set(), failing: null })
    if (isSame) return
    const text = JSON.stringify([...ids])
    if (ids.size === 0) this.#storage.sql.exec('DELETE FROM followers WHERE user = ?', user)
    else this.#storage.sql.exec('INSERT OR REPLACE INTO followers (user, ids) VALUES (?, ?)', user, text)
  }

  #setWatched(user: string, ids: readonly number[]): void {
    const before = this.#watchedByUser.get(user) ?? []
    if (before.length === ids.length && before.every((id) => ids.includes(id))) return
    const since = this.#host.now()
    this.#watchCounts.remove(before.filter((id) => !ids.includes(id)))
    this.#watchCounts.add(
      ids.filter((id) => !before.includes(id)),
      since,
    )
    if (ids.length === 0) {
      this.#watchedByUser.delete(user)
      this.#storage.sql.exec('DELETE FROM watchers WHERE user = ?', user)
      return
    }
    this.#watchedByUser.set(user, [...ids])
    const put = 'INSERT OR REPLACE INTO watchers (user, ids, since) VALUES (?, ?, ?)'
    this.#storage.sql.exec(put, user, JSON.stringify(ids), since)
  }

  #watch(user: string, ids: number[], since: number): void {
    this.#watchedByUser.set(user, ids)
    this.#watchCounts.add(ids, since)
  }

  #add(user: string, follower: Subscriber): void {
    this.#subscribers.set(user, follower)
    for (const id of follower.ids) {
      const users = this.#byAsset.get(id)
      if (users) users.add(user)
      else this.#byAsset.set(id, new Set([user]))
    }
  }

  #remove(user: string): void {
    for (const id of this.#subscribers.get(user)?.ids ?? []) {
      const users = this.#byAsset.get(id)
      users?.delete(user)
      if (users?.size === 0) this.#byAsset.delete(id)
    }
    this.#subscribers.delete(user)
    this.#queue.delete(user)
    this.#failing.delete(user)
  }

  /** Tells those who follow one of these that clients see a change of it, or that it is gone. */
  broadcast(ids: readonly number[]): void {
    this.#enqueue(ids)
    this.#sendQueued()
  }

  /** When `tick` is to be called, unix milliseconds; infinite when nothing is to come. */
  get dueAt(): number {
    let due = this.#queue.size > 0 && this.#calls.size < MAX_CALLS ? this.#host.now() : Number.POSITIVE_INFINITY
    for (const { at } of this.#calls.values()) due = Math.min(due, at + CALL_TIMEOUT_MS)
    for (const user of this.#failing) due = Math.min(due, this.#subscribers.get(user)?.failing?.retryAt ?? due)
    return due
  }

  /** Does what is due: gives up calls that were never answered, tries those again that could not be reached. */
  tick(): void {
    const now = this.#host.now()
    for (const [user, call] of [...this.#calls])
      if (call.at + CALL_TIMEOUT_MS <= now) this.#onFailure(user, call, 'no answer')
    for (const user of [...this.#failing]) {
      if ((this.#subscribers.get(user)?.failing?.retryAt ?? now) > now) continue
      this.#failing.delete(user)
      this.#queue.add(user)
    }
    this.#sendQueued()
  }

  #enqueue(ids: readonly number[]): void {
    for (const id of ids)
      for (const user of this.#byAsset.get(id) ?? []) {
        this.#subscribers.get(user)?.pending.add(id)
        if (!this.#calls.has(user) && !this.#failing.has(user)) this.#queue.add(user)
      }
  }

  #sendQueued(): void {
    for (const user of this.#queue) {
      if (this.#calls.size >= MAX_CALLS) return
      this.#queue.delete(user)
      const follower = this.#subscribers.get(user)
      if (follower) this.#send(user, follower)
    }
    if (this.#calls.size > 0 || this.#failing.size > 0 || this.#publishedOffset === this.#host.offset()) return
    this.#publishedOffset = this.#host.offset()
    this.#storage.kv.put(PUBLISHED_KEY, this.#publishedOffset)
  }

  #send(user: string, follower: Subscriber): void {
    const { now, price, sendPrices: tell, track } = this.#host
    const call: PriceCall = { at: now(), generation: follower.generation, ids: follower.pending }
    follower.pending = new Set()
    this.#calls.set(user, call)
    const ids = [...call.ids]
    const told = tell(
      user,
      ids.flatMap((id) => price(id)?.price ?? []),
      ids.filter((id) => price(id) === null),
    )
    track(
      told.then(
        (listens) => this.#onAnswer(user, call, listens),
        (error: unknown) => this.#onFailure(user, call, String(error)),
      ),
    )
  }

  #onAnswer(user: string, call: PriceCall, listens: boolean): void {
    const follower = this.#endCall(user, call)
    if (follower && listens) follower.failing = null
    else if (follower) this.subscribe(user, [])
    this.#requeue(user)
  }

  #onFailure(user: string, call: PriceCall, error: string): void {
    const follower = this.#endCall(user, call)
    if (follower) {
      const now = this.#host.now()
      const { since = now, pause = RETRY_MIN_MS } = follower.failing ?? {}
      this.#host.log('portfolio_subscriber_unreachable', { since, error })
      if (now - since >= UNREACHABLE_TTL_MS) this.subscribe(user, [])
      else {
        follower.failing = { since, pause: Math.min(RETRY_MAX_MS, pause * 2), retryAt: now + pause }
        for (const id of call.ids) follower.pending.add(id)
        this.#failing.add(user)
      }
    }
    this.#requeue(user)
  }

  /** A call is over; gives its follower, unless that was given up or has asked anew meanwhile. */
  #endCall(user: string, call: PriceCall): Subscriber | null {
    if (this.#calls.get(user) !== call) return null
    this.#calls.delete(user)
    const follower = this.#subscribers.get(user)
    return follower?.generation === call.generation ? follower : null
  }

  #requeue(user: string): void {
    const isIdle = !this.#calls.has(user) && !this.#failing.has(user)
    if (isIdle && (this.#subscribers.get(user)?.pending.size ?? 0) > 0) this.#queue.add(user)
    this.#sendQueued()
  }
}
