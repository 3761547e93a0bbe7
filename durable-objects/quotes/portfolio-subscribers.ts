import { backoffMs } from '../../src/backoff.ts'
import type { PortfolioPrice } from '../../src/protocol/portfolio.ts'
import { MINUTE_MS } from '../../src/time.ts'
import type { ObjectContext, WorkContext } from '../object-context.ts'
import type { PublishedQuotes } from './published.ts'
import type { WatchCounts } from './watch-counts.ts'

/** Calls to users' objects that may be in flight at once. */
const MAX_CALLS = 32
/** A call without an answer for this long has failed. */
const CALL_TIMEOUT_MS = 10_000
/** The pause before an unreachable object is called again: doubles from the first to the last. */
const RETRY_MIN_MS = 1_000
const RETRY_MAX_MS = MINUTE_MS
/** An object that was unreachable for this long is removed; it subscribes again when its portfolio is opened. */
const UNREACHABLE_TTL_MS = 10 * MINUTE_MS

/** The key of the last batch that was sent to all subscribers. */
const PUBLISHED_KEY = 'followers_told'

type SubscriberContext = WorkContext & Pick<ObjectContext, 'storage'>

/** Sends a user's object prices, and the assets that have none any more; false: it has no subscription any more. */
type SendPrices = (user: string, prices: PortfolioPrice[], gone: number[]) => Promise<boolean>

/**
 * `generation` counts the subscriptions of a user, so that the answer to a call from before the last one is ignored.
 * `failing`: since when the object is unreachable, and when it is called again.
 */
type Subscriber = {
  ids: ReadonlySet<number>
  generation: number
  pending: Set<number>
  failing: { since: number; failures: number; retryAt: number } | null
}

/** A call in flight: since when (unix milliseconds), for which `generation`, and with which assets. */
type PriceCall = { at: number; generation: number; ids: ReadonlySet<number> }

/**
 * The users' objects that subscribe to prices, in SQLite, so that they survive hibernation. Each gets one call at a time;
 * what changes meanwhile is sent in the next one, in its latest state. It sets no timers.
 */
export class PortfolioSubscribers {
  readonly #context: SubscriberContext
  readonly #published: Pick<PublishedQuotes, 'offset' | 'get'>
  readonly #sendPrices: SendPrices
  readonly #subscribers = new Map<string, Subscriber>()
  readonly #byAsset = new Map<number, Set<string>>()
  /** The assets that each user has open by name. */
  readonly #watchedByUser = new Map<string, number[]>()
  readonly #watches: WatchCounts
  /** The users to call, in order. */
  readonly #queue = new Set<string>()
  readonly #calls = new Map<string, PriceCall>()
  /** The users whose object is unreachable, and waits for its next call. */
  readonly #failing = new Set<string>()
  /** The last batch that was sent to all. */
  #publishedOffset: number

  constructor(
    context: SubscriberContext,
    published: Pick<PublishedQuotes, 'offset' | 'get'>,
    watches: WatchCounts,
    sendPrices: SendPrices,
  ) {
    this.#context = context
    const { storage } = context
    this.#published = published
    this.#watches = watches
    this.#sendPrices = sendPrices
    this.#publishedOffset = storage.kv.get<number>(PUBLISHED_KEY) ?? 0
    for (const { user, ids } of storage.sql.exec<{ user: string; ids: string }>('SELECT user, ids FROM followers'))
      this.#add(user, { ids: new Set(JSON.parse(ids) as number[]), generation: 0, pending: new Set(), failing: null })
    const watchers = storage.sql.exec<{ user: string; ids: string; since: number }>('SELECT * FROM watchers')
    for (const { user, ids, since } of watchers) this.#watch(user, JSON.parse(ids), since)
    // Changes that were stored, but not sent to all, before a restart.
    this.#enqueue([...this.#byAsset.keys()].filter((id) => (published.get(id)?.changed ?? 0) > this.#publishedOffset))
  }

  get isEmpty(): boolean {
    return this.#subscribers.size === 0
  }

  isSubscribed(id: number): boolean {
    return this.#byAsset.has(id)
  }

  /**
   * Replaces a user's subscription; the caller sends its current prices. Without assets the subscription ends.
   * @param open the assets among them that the user has open by name
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
    if (ids.size === 0) this.#context.storage.sql.exec('DELETE FROM followers WHERE user = ?', user)
    else this.#context.storage.sql.exec('INSERT OR REPLACE INTO followers (user, ids) VALUES (?, ?)', user, text)
  }

  #setWatched(user: string, ids: readonly number[]): void {
    const before = this.#watchedByUser.get(user) ?? []
    if (before.length === ids.length && before.every((id) => ids.includes(id))) return
    const since = this.#context.now()
    const added = ids.filter((id) => !before.includes(id))
    this.#watches.remove(before.filter((id) => !ids.includes(id)))
    this.#watches.add(added, since)
    if (ids.length === 0) {
      this.#watchedByUser.delete(user)
      this.#context.storage.sql.exec('DELETE FROM watchers WHERE user = ?', user)
      return
    }
    this.#watchedByUser.set(user, [...ids])
    const put = 'INSERT OR REPLACE INTO watchers (user, ids, since) VALUES (?, ?, ?)'
    this.#context.storage.sql.exec(put, user, JSON.stringify(ids), since)
  }

  #watch(user: string, ids: number[], since: number): void {
    this.#watchedByUser.set(user, ids)
    this.#watches.add(ids, since)
  }

  #add(user: string, subscriber: Subscriber): void {
    this.#subscribers.set(user, subscriber)
    for (const id of subscriber.ids) {
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

  /** Sends visible changes and removals of these assets to their subscribers. */
  broadcast(ids: readonly number[]): void {
    this.#enqueue(ids)
    this.#sendQueued()
  }

  /** When `tick` is to be called, unix milliseconds; infinite when nothing is to come. */
  get dueAt(): number {
    let due = this.#queue.size > 0 && this.#calls.size < MAX_CALLS ? this.#context.now() : Number.POSITIVE_INFINITY
    for (const { at } of this.#calls.values()) due = Math.min(due, at + CALL_TIMEOUT_MS)
    for (const user of this.#failing) due = Math.min(due, this.#subscribers.get(user)?.failing?.retryAt ?? due)
    return due
  }

  /** Does what is due: ends calls without an answer, and calls unreachable objects again. */
  tick(): void {
    const now = this.#context.now()
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
      const subscriber = this.#subscribers.get(user)
      if (subscriber) this.#send(user, subscriber)
    }
    if (this.#calls.size > 0 || this.#failing.size > 0 || this.#publishedOffset === this.#published.offset) return
    this.#publishedOffset = this.#published.offset
    this.#context.storage.kv.put(PUBLISHED_KEY, this.#publishedOffset)
  }

  #send(user: string, subscriber: Subscriber): void {
    const call: PriceCall = { at: this.#context.now(), generation: subscriber.generation, ids: subscriber.pending }
    subscriber.pending = new Set()
    this.#calls.set(user, call)
    const ids = [...call.ids]
    const prices = ids.flatMap((id) => this.#published.get(id)?.price ?? [])
    const gone = ids.filter((id) => this.#published.get(id) === null)
    this.#context.track(
      this.#sendPrices(user, prices, gone).then(
        (isSubscribed) => this.#onAnswer(user, call, isSubscribed),
        (error: unknown) => this.#onFailure(user, call, String(error)),
      ),
    )
  }

  #onAnswer(user: string, call: PriceCall, isSubscribed: boolean): void {
    const subscriber = this.#endCall(user, call)
    if (subscriber && isSubscribed) subscriber.failing = null
    else if (subscriber) this.subscribe(user, [])
    this.#requeue(user)
  }

  #onFailure(user: string, call: PriceCall, error: string): void {
    const subscriber = this.#endCall(user, call)
    if (subscriber) {
      const now = this.#context.now()
      const { since = now, failures = 0 } = subscriber.failing ?? {}
      this.#context.log('portfolio_subscriber_unreachable', { since, error })
      if (now - since >= UNREACHABLE_TTL_MS) this.subscribe(user, [])
      else {
        // Without jitter: this board alone calls the object.
        const pauseMs = backoffMs(failures, RETRY_MIN_MS, RETRY_MAX_MS, 1)
        subscriber.failing = { since, failures: failures + 1, retryAt: now + pauseMs }
        for (const id of call.ids) subscriber.pending.add(id)
        this.#failing.add(user)
      }
    }
    this.#requeue(user)
  }

  /** Ends a call; returns its subscriber, unless the call has timed out or the subscription was replaced. */
  #endCall(user: string, call: PriceCall): Subscriber | null {
    if (this.#calls.get(user) !== call) return null
    this.#calls.delete(user)
    const subscriber = this.#subscribers.get(user)
    return subscriber?.generation === call.generation ? subscriber : null
  }

  #requeue(user: string): void {
    const isIdle = !this.#calls.has(user) && !this.#failing.has(user)
    if (isIdle && (this.#subscribers.get(user)?.pending.size ?? 0) > 0) this.#queue.add(user)
    this.#sendQueued()
  }
}
