import type { FeedSlotsObject } from '../../src/objects.ts'
import type { ObjectContext } from '../object-context.ts'
import type { ConnectionSet } from '../sockets/connection-set.ts'
import type { ExchangeFeed } from './exchange-feed.ts'

/** An open feed renews its lease this often; the lease lasts two minutes. */
const LEASE_RENEWAL_MS = 60_000

/** Pause after no slot was free. */
const LEASE_RETRY_MS = 30_000

/** The object wakes at least this often while the feed is open: an outgoing socket alone does not keep it in memory. */
const MAX_SLEEP_MS = 30_000

/** Storage key of the fact that the exchange does not trade the pair. */
const OFFLINE_KEY = 'offline'

/**
 * Opens a product's feed for its viewers, or for good if it is always on, and closes it a while after the last viewer
 * left. An open feed holds one of the exchange's slots.
 */
export class FeedControl {
  readonly #context: ObjectContext
  readonly #product: string
  readonly #feed: ExchangeFeed
  readonly #slots: () => FeedSlotsObject
  readonly #connections: Pick<ConnectionSet<number>, 'viewers'>
  readonly #onChange: () => void
  #isTraded: boolean
  #lastViewerAt: number
  #leaseRenewAt = 0
  #leaseRefusedUntil = 0
  /** Requests for a slot that were refused. */
  refusals = 0

  /** @param onChange called when a slot was granted or refused */
  constructor(
    context: ObjectContext,
    product: string,
    feed: ExchangeFeed,
    slots: () => FeedSlotsObject,
    connections: Pick<ConnectionSet<number>, 'viewers'>,
    onChange: () => void,
  ) {
    this.#context = context
    this.#product = product
    this.#feed = feed
    this.#slots = slots
    this.#connections = connections
    this.#onChange = onChange
    this.#isTraded = context.storage.kv.get<boolean>(OFFLINE_KEY) !== true
    this.#lastViewerAt = context.now()
  }

  /** False while the exchange does not trade the pair: it has no feed and no history then. */
  get isTraded(): boolean {
    return this.#isTraded
  }

  set isTraded(isTraded: boolean) {
    this.#context.storage.kv.put(OFFLINE_KEY, !isTraded)
    this.#isTraded = isTraded
  }

  /** True while the exchange's slots are all taken. */
  get isRefused(): boolean {
    return this.#leaseRefusedUntil > this.#context.now()
  }

  /** Call when a viewer left. */
  onViewerLeft(): void {
    if (this.#connections.viewers === 0) this.#lastViewerAt = this.#context.now()
  }

  /** When `tick` is due, unix milliseconds; infinite when nothing is. */
  get dueAt(): number {
    const due = this.#isWanted ? this.#leaseDueAt : this.#closeAt
    return this.#feed.isClosed ? due : Math.min(due, this.#context.now() + MAX_SLEEP_MS)
  }

  get #leaseDueAt(): number {
    return Math.max(this.#leaseRenewAt, this.#leaseRefusedUntil)
  }

  /** Acquires or renews the lease, or closes the feed, whichever is due. */
  tick(): void {
    const now = this.#context.now()
    if (this.#isWanted) {
      if (now >= this.#leaseDueAt) this.#acquireLease(now)
      return
    }
    if (now < this.#closeAt) return
    this.#feed.close(this.#isTraded ? 'no viewers' : 'not traded')
    this.#leaseRenewAt = 0
    this.#context.track(this.#slots().release(this.#product))
  }

  get #isWanted(): boolean {
    const { ALWAYS_ON } = this.#context.settings
    return this.#isTraded && (ALWAYS_ON.includes(this.#product) || this.#connections.viewers > 0)
  }

  get #closeAt(): number {
    if (this.#feed.isClosed) return Number.POSITIVE_INFINITY
    return this.#isTraded ? this.#lastViewerAt + this.#context.settings.FEED_LINGER_MS : 0
  }

  #acquireLease(now: number): void {
    this.#leaseRenewAt = now + LEASE_RENEWAL_MS
    this.#context.track(this.#openIfGranted(now))
  }

  async #openIfGranted(now: number): Promise<void> {
    const isGranted = await this.#slots().acquire(this.#product, now)
    this.#leaseRefusedUntil = isGranted ? 0 : this.#context.now() + LEASE_RETRY_MS
    if (isGranted) this.#feed.open()
    else {
      this.refusals++
      this.#feed.close('too many open feeds')
    }
    this.#onChange()
  }
}
