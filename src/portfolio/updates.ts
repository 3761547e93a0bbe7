import type { Position, Totals } from '../protocol/portfolio.ts'

const isEqual = (a: unknown, b: unknown): boolean =>
  a === b || (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((one, i) => one === b[i]))

function changedFields<T extends object>(before: T, after: T): Partial<T> {
  const update: Partial<T> = {}
  for (const key of Object.keys(after) as (keyof T)[]) if (!isEqual(before[key], after[key])) update[key] = after[key]
  return update
}

/** A position's keys that have changed, with its `asset_id`; all of them when it is new. Null: nothing has changed. */
export function changedKeys(
  before: Position | null,
  after: Position,
): (Partial<Position> & Pick<Position, 'asset_id'>) | null {
  if (before === null) return after
  const update = changedFields(before, after)
  return Object.keys(update).length === 0 ? null : { ...update, asset_id: after.asset_id }
}

/** The totals' keys that have changed: an empty object when none has; all of them when there were none. */
export const changedTotals = (before: Totals | null, after: Totals): Partial<Totals> =>
  before === null ? after : changedFields(before, after)
