import { DurableObject } from 'cloudflare:workers'
import { readSettings } from '../../src/config.ts'
import type { FeedLease } from '../../src/objects.ts'
import { type Migration, migrateStorage } from '../store-schema.ts'

/** A lease expires when it is not renewed for this long, so a dead object frees its slot. An open feed renews each minute. */
const LEASE_MS = 120_000

const MIGRATIONS: readonly Migration[] = [
  (sql) => sql.exec('CREATE TABLE IF NOT EXISTS leases (product TEXT PRIMARY KEY, until INTEGER NOT NULL)'),
]

/**
 * Leases to hold a feed open: at most MAX_OPEN_FEEDS products at once, since an open feed stops its object from
 * hibernating. One object per exchange. It reads no clock: leases expire by the caller's `now`.
 */
export class FeedSlots extends DurableObject<Env> {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    migrateStorage(ctx.storage, MIGRATIONS)
  }

  /**
   * Takes a lease for `product`, or renews the one it has. `now` in unix milliseconds.
   * @returns false if every slot is taken by other products
   */
  acquire(product: string, now: number): boolean {
    const others = this.open(now).filter((lease) => lease.product !== product)
    if (others.length >= readSettings(this.env).MAX_OPEN_FEEDS) return false
    this.ctx.storage.sql.exec('DELETE FROM leases WHERE until <= ?', now)
    this.ctx.storage.sql.exec('INSERT OR REPLACE INTO leases (product, until) VALUES (?, ?)', product, now + LEASE_MS)
    return true
  }

  /** Gives the lease back; does nothing when the product has none. */
  release(product: string): void {
    this.ctx.storage.sql.exec('DELETE FROM leases WHERE product = ?', product)
  }

  /** The leases that have not expired at `now` (unix milliseconds), ordered by product id. */
  open(now: number): FeedLease[] {
    return this.ctx.storage.sql
      .exec<FeedLease>('SELECT product, until FROM leases WHERE until > ? ORDER BY product', now)
      .toArray()
  }
}
