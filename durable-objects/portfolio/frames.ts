import { changedKeys, changedTotals } from '../../src/portfolio/updates.ts'
import {
  lotUpdateFrame,
  portfolioSnapshotFrame,
  positionUpdateFrame,
  priceUpdateFrame,
} from '../../src/protocol/messages.ts'
import type { LotView, PortfolioMessage } from '../../src/protocol/portfolio.ts'
import { formatStreamPosition } from '../../src/protocol/stream-position.ts'
import type { PortfolioState, PortfolioUpdate } from './state.ts'
import type { PortfolioSubscription } from './subscription.ts'

/** Lot changes that are stored for connections that are behind or return; beyond them they get a snapshot. */
const MAX_LOT_CHANGES = 500

/** Open lots by asset, as they were read when lots had changed at `lotsAt` last. */
export type OpenLots = { lotsAt: number; byAsset: ReadonlyMap<number, readonly LotView[]> }

type PositionUpdate = Omit<Extract<PortfolioMessage, { type: 'position_update' }>, 'type' | 'position'>

/** Makes a frame with a stream position. */
type FrameMaker = (position: string) => string

/** A lot that was written by change `n`; `lot` is null when it was removed. */
type LotChange = { n: number; lot: LotView | null }

/** The frames of one portfolio, each made once for all connections that subscribe to the same and lack the same (D1). */
export class PortfolioFrames {
  readonly #state: PortfolioState
  /** Frames up to the present offset, by the offset they begin after and the subscription. */
  readonly #frameCache = new Map<string, string[]>()
  #latestUpdate: PortfolioUpdate | null = null
  /** By id, in the order of their last change. */
  readonly #lotChanges = new Map<string, LotChange>()
  /** Lot changes up to this offset may have been dropped. */
  #lotsFloor: number

  constructor(state: PortfolioState) {
    this.#state = state
    this.#lotsFloor = state.head.lotsAt
  }

  get position(): string {
    return this.#positionAt(this.#state.offset)
  }

  #positionAt(offset: number): string {
    return formatStreamPosition({ epoch: this.#state.head.epoch, offset })
  }

  /** True if every change after an offset is known. */
  canResumeFrom(offset: number): boolean {
    return offset >= Math.max(this.#state.head.floor, this.#lotsFloor)
  }

  /** Takes in the newest change. */
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
   * The subscribed changes after `from`: changed keys for a connection that lacks only the newest change, otherwise the
   * current state of what has changed. Only the last frame has the present position, so that a cut between frames loses
   * none.
   */
  updates(subscription: PortfolioSubscription, from: number): string[] {
    const cacheKey = `${from}/${subscription.key}`
    const cached = this.#frameCache.get(cacheKey)
    if (cached) return cached
    const isNewest =
      this.#latestUpdate !== null && this.#latestUpdate.n === this.#state.offset && from === this.#latestUpdate.n - 1
    const { prices, lots, removedLots, update } = isNewest
      ? this.#latestChanges(subscription, this.#latestUpdate!)
      : this.#changesSince(subscription, from)
    const makes: FrameMaker[] = []
    if (prices.length > 0) makes.push((position) => priceUpdateFrame(position, prices))
    if (lots.length > 0 || removedLots.length > 0) makes.push((position) => lotUpdateFrame(position, lots, removedLots))
    const { positions, removed, portfolio } = update
    if (positions.length > 0 || removed.length > 0 || Object.keys(portfolio).length > 0)
      makes.push((position) => positionUpdateFrame(position, update))
    const frames = this.#makeFrames(makes, from)
    this.#frameCache.set(cacheKey, frames)
    return frames
  }

  #latestChanges(subscription: PortfolioSubscription, change: PortfolioUpdate) {
    const update: PositionUpdate = { positions: [], removed: [], portfolio: {} }
    for (const [id, { before, after }] of change.positions) {
      if (!includesAsset(subscription, id)) continue
      const keys = after && changedKeys(before, after)
      if (keys) update.positions.push(keys)
      else if (after === null) update.removed.push(id)
    }
    if (subscription.portfolio) update.portfolio = changedTotals(change.totals.before, change.totals.after)
    const prices = [...change.prices.values()].filter(({ asset_id }) => this.#isPriced(subscription, asset_id))
    const lots = change.lots.filter(({ asset_id }) => includesAsset(subscription, asset_id))
    return { prices, lots, removedLots: change.removedLots, update }
  }

  #changesSince(subscription: PortfolioSubscription, from: number) {
    const { prices, positions, removed } = this.#state.changesSince(from)
    const update: PositionUpdate = {
      positions: positions.filter(({ asset_id }) => includesAsset(subscription, asset_id)),
      removed: removed.filter((id) => includesAsset(subscription, id)),
      portfolio: {},
    }
    if (subscription.portfolio && from < this.#state.offset) update.portfolio = this.#state.totals
    const lots: LotView[] = []
    const removedLots: string[] = []
    for (const [id, { n, lot }] of this.#lotChanges) {
      if (n <= from) continue
      if (lot === null) removedLots.push(id)
      else if (includesAsset(subscription, lot.asset_id)) lots.push(this.#state.lot(lot))
    }
    return {
      prices: prices.filter(({ asset_id }) => this.#isPriced(subscription, asset_id)),
      lots,
      removedLots,
      update,
    }
  }

  #isPriced(subscription: PortfolioSubscription, id: number): boolean {
    return subscription.assets.has(id) || (subscription.portfolio && this.#state.isHeld(id))
  }

  /**
   * The current state of every subscribed channel, one frame each. Only the last has a position that can be resumed.
   * @param lots the open lots of `assetsWithLots`
   */
  snapshots(subscription: PortfolioSubscription, lots: OpenLots): string[] {
    const state = this.#state
    const makes: FrameMaker[] = []
    if (subscription.portfolio)
      makes.push((at) =>
        portfolioSnapshotFrame(at, 'portfolio', { portfolio: state.totals, positions: state.positions() }),
      )
    for (const [id, { channel }] of subscription.assets) {
      const price = state.price(id)
      const position = state.position(id)
      const asset = {
        positions: position ? [position] : [],
        prices: price ? [price] : [],
        lots: (lots.byAsset.get(id) ?? []).map((lot) => state.lot(lot)),
      }
      makes.push((at) => portfolioSnapshotFrame(at, channel, asset))
    }
    return this.#makeFrames(makes, 0)
  }

  /** Only the last frame has the present position; the others have the one of `from`. */
  #makeFrames(makes: readonly FrameMaker[], from: number): string[] {
    return makes.map((make, i) => make(i === makes.length - 1 ? this.position : this.#positionAt(from)))
  }

  /** The assets whose snapshots have lots. */
  assetsWithLots({ assets }: PortfolioSubscription): number[] {
    return [...assets.keys()].filter((id) => this.#state.isHeld(id))
  }
}

const includesAsset = ({ portfolio, assets }: PortfolioSubscription, id: number): boolean => portfolio || assets.has(id)
