import { changedKeys, changedTotals } from '../../src/portfolio/updates.ts'
import {
  lotUpdateFrame,
  portfolioSnapshotFrame,
  positionUpdateFrame,
  priceUpdateFrame,
} from '../../src/protocol/messages.ts'
import type { LotView, PortfolioMessage } from '../../src/protocol/portfolio.ts'
import { formatStreamPosition, parseStreamPosition } from '../../src/protocol/stream-position.ts'
import type { OpenLots } from './connection.ts'
import type { PortfolioState, PortfolioUpdate } from './state.ts'
import type { PortfolioSubscription } from './subscription.ts'

/** Lots that were written and are remembered, for those who are behind or come back; they get a snapshot beyond that. */
const MAX_LOT_CHANGES = 500

type PositionUpdate = Omit<Extract<PortfolioMessage, { type: 'position_update' }>, 'type' | 'position'>

/** A lot that was written; `lot` is null when it is gone. `asset_id` is null where that is not known then. */
type LotChange = { n: number; lot: LotView | null }

/** The frames up to the present offset, each made once for all who subscribe to the same and lack the same (D1). */
export class PortfolioFrames {
  readonly #state: PortfolioState
  /** By where they begin and what they are of. */
  readonly #frameCache = new Map<string, string[]>()
  #latestUpdate: PortfolioUpdate | null = null
  /** By id, in the order of their last change. */
  readonly #lotChanges = new Map<string, LotChange>()
  /** Lots that were written up to this offset may have been forgotten. */
  #lotsFloor: number

  constructor(book: PortfolioState) {
    this.#state = book
    this.#lotsFloor = book.head.lotsAt
  }

  get position(): string {
    return this.#positionAt(this.#state.offset)
  }

  #positionAt(offset: number): string {
    return formatStreamPosition({ epoch: this.#state.head.epoch, offset })
  }

  /** The offset that a position of this epoch names; null for any other text, and for what is not sent yet. */
  offsetOf(text: string): number | null {
    const position = parseStreamPosition(text)
    return position?.epoch === this.#state.head.epoch && position.offset <= this.#state.offset ? position.offset : null
  }

  /** Whether all that has changed after an offset is known. */
  canResumeFrom(offset: number): boolean {
    return offset >= Math.max(this.#state.head.floor, this.#lotsFloor)
  }

  /** A change has come. */
  advance(change: PortfolioUpdate): void {
    this.#frameCache.clear()
    this.#latestUpdate = change
    const { n } = change
    for (const lot of change.lots) this.#recordLot(lot.id, { n, lot })
    for (const id of change.removedLots) this.#recordLot(id, { n, lot: null })
    for (const [id, written] of this.#lotChanges) {
      if (this.#lotChanges.size <= MAX_LOT_CHANGES) break
      this.#lotChanges.delete(id)
      this.#lotsFloor = written.n
    }
  }

  #recordLot(id: string, written: LotChange): void {
    this.#lotChanges.delete(id)
    this.#lotChanges.set(id, written)
  }

  /**
   * What has changed after `from`, of what is subscribed to: changed keys for who lacks the newest change alone, else the
   * state of now of what has changed. Only the last frame has the present position, so that a cut between them loses none.
   */
  updates(what: PortfolioSubscription, from: number): string[] {
    const name = `${from}/${what.key}`
    const made = this.#frameCache.get(name)
    if (made) return made
    const isNewest =
      this.#latestUpdate !== null && this.#latestUpdate.n === this.#state.offset && from === this.#latestUpdate.n - 1
    const { prices, lots, removedLots, update } = isNewest
      ? this.#latestChanges(what, this.#latestUpdate!)
      : this.#changesSince(what, from)
    const makes: ((position: string) => string)[] = []
    if (prices.length > 0) makes.push((position) => priceUpdateFrame(position, prices))
    if (lots.length > 0 || removedLots.length > 0) makes.push((at) => lotUpdateFrame(at, lots, removedLots))
    const { positions, removed, portfolio } = update
    if (positions.length > 0 || removed.length > 0 || Object.keys(portfolio).length > 0)
      makes.push((position) => positionUpdateFrame(position, update))
    const before = this.#positionAt(from)
    const frames = makes.map((make, i) => make(i === makes.length - 1 ? this.position : before))
    this.#frameCache.set(name, frames)
    return frames
  }

  #latestChanges(what: PortfolioSubscription, change: PortfolioUpdate) {
    const update: PositionUpdate = { positions: [], removed: [], portfolio: {} }
    for (const [id, { before, after }] of change.positions) {
      if (!includesAsset(what, id)) continue
      const keys = after && changedKeys(before, after)
      if (keys) update.positions.push(keys)
      else if (after === null) update.removed.push(id)
    }
    if (what.portfolio) update.portfolio = changedTotals(change.totals.before, change.totals.after)
    const prices = [...change.prices.values()].filter(({ asset_id }) => this.#isPriced(what, asset_id))
    const lots = change.lots.filter(({ asset_id }) => includesAsset(what, asset_id))
    return { prices, lots, removedLots: change.removedLots, update }
  }

  #changesSince(what: PortfolioSubscription, from: number) {
    const { prices, positions, removed } = this.#state.changesSince(from)
    const update: PositionUpdate = {
      positions: positions.filter(({ asset_id }) => includesAsset(what, asset_id)),
      removed: removed.filter((id) => includesAsset(what, id)),
      portfolio: {},
    }
    if (what.portfolio && from < this.#state.offset) update.portfolio = this.#state.totals
    const lots: LotView[] = []
    const removedLots: string[] = []
    for (const [id, { n, lot }] of this.#lotChanges) {
      if (n <= from) continue
      if (lot === null) removedLots.push(id)
      else if (includesAsset(what, lot.asset_id)) lots.push(this.#state.lot(lot))
    }
    return { prices: prices.filter(({ asset_id }) => this.#isPriced(what, asset_id)), lots, removedLots, update }
  }

  #isPriced(what: PortfolioSubscription, id: number): boolean {
    return what.assets.has(id) || (what.portfolio && this.#state.isHeld(id))
  }

  /**
   * The state of now of everything that is subscribed to, a frame a channel. Only the last has a position that can be
   * returned to.
   * @param lots the open lots of the assets that `lotsNeeded` names
   */
  snapshots(what: PortfolioSubscription, lots: OpenLots): string[] {
    const book = this.#state
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
        lots: (lots.byAsset.get(id) ?? []).map((lot) => book.lot(lot)),
      }
      makes.push((position) => portfolioSnapshotFrame(position, channel, state))
    }
    return makes.map((make, i) => make(i === makes.length - 1 ? this.position : this.#positionAt(0)))
  }

  /** The assets of which a snapshot has lots. */
  assetsWithLots(what: PortfolioSubscription): number[] {
    return [...what.assets.keys()].filter((id) => this.#state.isHeld(id))
  }
}

const includesAsset = ({ portfolio, assets }: PortfolioSubscription, id: number): boolean => portfolio || assets.has(id)
