import { type Revaluation, revalueLot, revaluePosition } from '../../portfolio/revalue.ts'
import { parseMicros } from '../../portfolio/time.ts'
import { totalsOf } from '../../portfolio/totals.ts'
import type { LotView, PortfolioMessage, PortfolioPrice, Position, Totals } from '../../protocol/portfolio.ts'

/**
 * A portfolio as far as it was received. An item that does not change is the same object in the next state. `prices` and
 * `lots` are complete for the assets of subscribed `asset.…` channels; of others they hold what has changed.
 */
export type PortfolioState = {
  portfolio: Totals | null
  positions: readonly Position[]
  prices: readonly PortfolioPrice[]
  lots: readonly LotView[]
}

export const EMPTY_STATE: PortfolioState = { portfolio: null, positions: [], prices: [], lots: [] }

/** The product whose candles give the price of a position; null if it is not crypto, or its quantity is 0. */
export const streamedProduct = (position: Position): string | null =>
  position.type === 'crypto' && Number(position.quantity) !== 0 ? `${position.symbol}-${position.cmp_currency}` : null

/** The state after a message: a snapshot replaces what its channel covers, an update the keys that it has (P7). */
export function applyMessage(state: PortfolioState, message: PortfolioMessage): PortfolioState {
  switch (message.type) {
    case 'snapshot':
      return message.portfolio === undefined
        ? applyAssetSnapshot(state, message)
        : replacePortfolio(state, message.portfolio, message.positions)
    case 'price_update':
      return { ...state, prices: mergeByKey(state.prices, assetId, message.prices) }
    case 'position_update':
      return {
        ...state,
        // A subscriber of single assets has no totals.
        portfolio: state.portfolio && reuseObject(state.portfolio, { ...state.portfolio, ...message.portfolio }),
        positions: mergeByKey(state.positions, assetId, message.positions, new Set(message.removed)),
      }
    case 'lot_update':
      return { ...state, lots: mergeByKey(state.lots, lotId, message.lots, new Set(message.removed)) }
  }
}

/** The state with this portfolio and these positions, and no others. */
export const replacePortfolio = (
  state: PortfolioState,
  portfolio: Totals,
  positions: readonly Position[],
): PortfolioState => ({
  ...state,
  portfolio: reuseObject(state.portfolio, portfolio),
  positions: reuseList(state.positions, positions, assetId),
})

/** A snapshot of `asset.X` replaces everything known of that asset. */
function applyAssetSnapshot(
  state: PortfolioState,
  message: Extract<PortfolioMessage, { type: 'snapshot' }>,
): PortfolioState {
  const { prices = [], positions, lots = [] } = message
  const symbol = message.channel.slice('asset.'.length)
  const ids = new Set([
    ...[...state.prices, ...state.positions, ...state.lots].filter((item) => item.symbol === symbol).map(assetId),
    ...[...prices, ...positions, ...lots].map(assetId),
  ])
  const present = new Set([...positions.map(assetId), ...lots.map(lotId)])
  const removed = <T extends { asset_id: number }>(list: readonly T[], key: (item: T) => number | string) =>
    new Set(list.filter((item) => ids.has(item.asset_id) && !present.has(key(item))).map(key))
  return {
    ...state,
    prices: mergeByKey(state.prices, assetId, prices),
    positions: mergeByKey(state.positions, assetId, positions, removed(state.positions, assetId)),
    lots: mergeByKey(state.lots, lotId, lots, removed(state.lots, lotId)),
  }
}

/**
 * The state with streamed prices in place of older ones. Positions, lots and totals are valued by the same functions as on
 * the server, to the last digit. A price of the server that is as new wins.
 * @param shown the state before, whose objects are reused where they are equal
 */
export function applyTicks(
  server: PortfolioState,
  ticks: ReadonlyMap<string, Revaluation>,
  shown: PortfolioState,
): PortfolioState {
  const moved = new Map<number, Position>()
  for (const position of server.positions) {
    const tick = ticks.get(streamedProduct(position) ?? '')
    if (tick === undefined || position.cmp === null || position.as_of === null) continue
    if (parseMicros(tick.as_of) > parseMicros(position.as_of)) moved.set(position.asset_id, position)
  }
  if (moved.size === 0) return reuseState(shown, server)
  const tickOf = (position: Position) => ticks.get(streamedProduct(position) ?? '') as Revaluation
  const positions = server.positions.map((position) =>
    moved.has(position.asset_id) ? revaluePosition(position, tickOf(position)) : position,
  )
  const lots = server.lots.map((lot) => {
    const position = moved.get(lot.asset_id)
    return position ? revalueLot(lot, position, tickOf(position)) : lot
  })
  const portfolio = server.portfolio && totalsOf(positions, server.portfolio)
  return reuseState(shown, { ...server, positions, lots, portfolio })
}

const reuseState = (before: PortfolioState, next: PortfolioState): PortfolioState => {
  const state = {
    portfolio: next.portfolio && reuseObject(before.portfolio, next.portfolio),
    positions: reuseList(before.positions, next.positions, assetId),
    prices: reuseList(before.prices, next.prices, assetId),
    lots: reuseList(before.lots, next.lots, lotId),
  }
  return shallowEqual(before, state) ? before : state
}

const assetId = (item: { asset_id: number }): number => item.asset_id
const lotId = (lot: LotView): string => lot.id

/** True if all keys have the same values. Arrays are compared by their items. */
function shallowEqual(a: object, b: object): boolean {
  const keys = Object.keys(a)
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>]
  return keys.length === Object.keys(b).length && keys.every((key) => valuesEqual(left[key], right[key]))
}

const valuesEqual = (a: unknown, b: unknown): boolean =>
  a === b || (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, i) => item === b[i]))

const reuseObject = <T extends object>(before: T | null, next: T): T =>
  before !== null && shallowEqual(before, next) ? before : next

/** `next` with the objects of `before` where they are equal. */
function reuseList<T extends object>(
  before: readonly T[],
  next: readonly T[],
  key: (item: T) => unknown,
): readonly T[] {
  const known = new Map(before.map((item) => [key(item), item]))
  const list = next.map((item) => reuseObject(known.get(key(item)) ?? null, item))
  return [before, next].find((known) => valuesEqual(known, list)) ?? list
}

/** The list with these changes, by key. New items come last. */
function mergeByKey<T extends object>(
  known: readonly T[],
  key: (item: T) => unknown,
  changes: readonly Partial<T>[],
  removed: ReadonlySet<unknown> = new Set(),
): readonly T[] {
  const list = new Map(known.filter((item) => !removed.has(key(item))).map((item) => [key(item), item]))
  for (const change of changes) {
    const id = key(change as T)
    list.set(id, { ...list.get(id), ...change } as T)
  }
  return reuseList(known, [...list.values()], key)
}
