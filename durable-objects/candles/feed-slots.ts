import { DurableObject } from 'cloudflare:workers'
import { readSettings } from '../../src/config.ts'
import type { FeedLease } from '../../src/objects.ts'

/** A lease not renewed for this long is over: a dead object must not keep its slot. The feed's alarm renews every 30 s. */
const LEASE_MS = 120_000

/**
 * Who may keep a feed open: at most MAX_OPEN_FEEDS products at once, since each pins its object. One object per
 * exchange. It has no timer and reads no clock: leases end by the `now` of whoever asks.
 */
export class FeedSlots extends DurableObject<Env> {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    ctx.storage.sql.exec('CREATE TABLE IF NOT EXISTS leases (product TEXT PRIMARY KEY, until INTEGER NOT NULL)')
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

  /** Gives the lease back; one that is not held is no error. */
  release(product: string): void {
    this.ctx.storage.sql.exec('DELETE FROM leases WHERE product = ?', product)
  }

  /** The leases that are alive at `now` (unix milliseconds), by product id. */
  open(now: number): FeedLease[] {
    return this.ctx.storage.sql
      .exec<FeedLease>('SELECT product, until FROM leases WHERE until > ? ORDER BY product', now)
      .toArray()
  }
}
