import { changedKeys, changedTotals } from '../../src/portfolio/updates.ts'
import {
  lotUpdateFrame,
  portfolioSnapshotFrame,
  positionUpdateFrame,
  priceUpdateFrame,
} from '../../src/protocol/messages.ts'
import type { LotView, PortfolioMessage } from '../../src/protocol/portfolio.ts'
import { parsePosition, positionText } from '../../src/protocol/stream-position.ts'
import type { Lots } from './connection.ts'
import type { Change, PortfolioBook } from './state.ts'
import type { PortfolioSubscription } from './subscription.ts'

/** Lots that were written and are remembered, for those who are behind or come back; they get a snapshot beyond that. */
const MAX_LOTS = 500

type PositionUpdate = Omit<Extract<PortfolioMessage, { type: 'position_update' }>, 'type' | 'position'>

/** A lot that was written; `lot` is null when it is gone. `asset_id` is null where that is not known then. */
type Written = { n: number; lot: LotView | null }

/** The frames up to the present offset, each made once for all who subscribe to the same and lack the same (D1). */
export class PortfolioFrames {
  readonly #book: PortfolioBook
  /** By where they begin and what they are of. */
  readonly #made = new Map<string, string[]>()
  #newest: Change | null = null
  /** By id, in the order of their last change. */
  readonly #lots = new Map<string, Written>()
  /** Lots that were written up to this offset may have been forgotten. */
  #lotsFloor: number

  constructor(book: PortfolioBook) {
    this.#book = book
    this.#lotsFloor = book.head.lotsAt
  }

  get position(): string {
    return this.#at(this.#book.n)
  }

  #at(offset: number): string {
    return positionText({ epoch: this.#book.head.epoch, offset })
  }

  /** The offset that a position of this epoch names; null for any other text, and for what is not sent yet. */
  offsetOf(text: string): number | null {
    const position = parsePosition(text)
    return position?.epoch === this.#book.head.epoch && position.offset <= this.#book.n ? position.offset : null
  }

  /** Whether all that has changed after an offset is known. */
  reaches(offset: number): boolean {
    return offset >= Math.max(this.#book.head.floor, this.#lotsFloor)
  }

  /** A change has come. */
  advance(change: Change): void {
    this.#made.clear()
    this.#newest = change
    const { n } = change
    for (const lot of change.lots) this.#note(lot.id, { n, lot })
    for (const id of change.removedLots) this.#note(id, { n, lot: null })
    for (const [id, written] of this.#lots) {
      if (this.#lots.size <= MAX_LOTS) break
      this.#lots.delete(id)
      this.#lotsFloor = written.n
    }
  }

  #note(id: string, written: Written): void {
    this.#lots.delete(id)
    this.#lots.set(id, written)
  }

  /**
   * What has changed after `from`, of what is subscribed to: changed keys for who lacks the newest change alone, else the
   * state of now of what has changed. Only the last frame has the present position, so that a cut between them loses none.
   */
  updates(what: PortfolioSubscription, from: number): string[] {
    const name = `${from}/${what.key}`
    const made = this.#made.get(name)
    if (made) return made
    const isNewest = this.#newest !== null && this.#newest.n === this.#book.n && from === this.#newest.n - 1
    const { prices, lots, removedLots, update } = isNewest ? this.#step(what, this.#newest!) : this.#leap(what, from)
    const makes: ((position: string) => string)[] = []
    if (prices.length > 0) makes.push((position) => priceUpdateFrame(position, prices))
    if (lots.length > 0 || removedLots.length > 0) makes.push((at) => lotUpdateFrame(at, lots, removedLots))
    const { positions, removed, portfolio } = update
    if (positions.length > 0 || removed.length > 0 || Object.keys(portfolio).length > 0)
      makes.push((position) => positionUpdateFrame(position, update))
    const before = this.#at(from)
    const frames = makes.map((make, i) => make(i === makes.length - 1 ? this.position : before))
    this.#made.set(name, frames)
    return frames
  }

  #step(what: PortfolioSubscription, change: Change) {
    const update: PositionUpdate = { positions: [], removed: [], portfolio: {} }
    for (const [id, { before, after }] of change.positions) {
      if (!concerns(what, id)) continue
      const keys = after && changedKeys(before, after)
      if (keys) update.positions.push(keys)
      else if (after === null) update.removed.push(id)
    }
    if (what.portfolio) update.portfolio = changedTotals(change.totals.before, change.totals.after)
    const prices = [...change.prices.values()].filter(({ asset_id }) => this.#isPriced(what, asset_id))
    const lots = change.lots.filter(({ asset_id }) => concerns(what, asset_id))
    return { prices, lots, removedLots: change.removedLots, update }
  }

  #leap(what: PortfolioSubscription, from: number) {
    const { prices, positions, removed } = this.#book.since(from)
    const update: PositionUpdate = {
      positions: positions.filter(({ asset_id }) => concerns(what, asset_id)),
      removed: removed.filter((id) => concerns(what, id)),
      portfolio: {},
    }
    if (what.portfolio && from < this.#book.n) update.portfolio = this.#book.totals
    const lots: LotView[] = []
    const removedLots: string[] = []
    for (const [id, { n, lot }] of this.#lots) {
      if (n <= from) continue
      if (lot === null) removedLots.push(id)
      else if (concerns(what, lot.asset_id)) lots.push(this.#book.lot(lot))
    }
    return { prices: prices.filter(({ asset_id }) => this.#isPriced(what, asset_id)), lots, removedLots, update }
  }

  #isPriced(what: PortfolioSubscription, id: number): boolean {
    return what.assets.has(id) || (what.portfolio && this.#book.isHeld(id))
  }

  /**
   * The state of now of everything that is subscribed to, a frame a channel. Only the last has a position that can be
   * returned to.
   * @param lots the open lots of the assets that `lotsNeeded` names
   */
  snapshots(what: PortfolioSubscription, lots: Lots): string[] {
    const book = this.#book
    const makes: ((position: string) => string)[] = []
    if (what.portfolio)
      makes.push((position) =>
        portfolioSnapshotFrame(position, 'portfolio', { portfolio: book.totals, positions: book.positions() }),
      )
    for (const [id, { channel }] of what.assets) {
      const price = book.price(id)
      const held = book.position(id)
      const state = {
        positions: held ? [held] : [],
        prices: price ? [price] : [],
        lots: (lots.of.get(id) ?? []).map((lot) => book.lot(lot)),
      }
      makes.push((position) => portfolioSnapshotFrame(position, channel, state))
    }
    return makes.map((make, i) => make(i === makes.length - 1 ? this.position : this.#at(0)))
  }

  /** The assets of which a snapshot has lots. */
  lotsNeeded(what: PortfolioSubscription): number[] {
    return [...what.assets.keys()].filter((id) => this.#book.isHeld(id))
  }
}

const concerns = ({ portfolio, assets }: PortfolioSubscription, id: number): boolean => portfolio || assets.has(id)
