import { type ActivitiesChange, type ActivityRefusal, changeActivities, lockPortfolio } from '../../db/activities.ts'
import type { UserSql } from '../../db/client.ts'
import { findActivity, findCustomAsset, isCryptoCode } from '../../db/read-activities.ts'
import type { Activity, NamedLot } from '../../portfolio/activity.ts'
import { formatDecimal, parseDecimal, ZERO } from '../../portfolio/decimal.ts'
import type { ActivityView } from '../../protocol/activity.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { ActivityChange } from '../../protocol/lot-input.ts'
import type { UserRequest } from '../http/context.ts'
import { invalidField, isCurrency } from '../http/input.ts'
import { withUser } from '../http/user-transaction.ts'
import { findAsset } from '../quotes/assets.ts'
import { parseAssetName } from '../quotes/input.ts'

/** The asset of a symbol, and the currency of its amounts unless another is given. */
export type ResolvedAsset = { asset_id: number; currency: string }

/**
 * The asset of a symbol: the user's custom asset, or else the listed asset with this name. The providers are asked about a
 * name that no asset has, within the client's rate limit.
 * @throws CodedError `unknown_symbol`, `ambiguous_symbol`, `too_many_requests`, `unavailable`
 */
export async function resolveAsset(
  request: UserRequest,
  symbol: string,
  currency: string | undefined,
): Promise<ResolvedAsset> {
  const custom = await withUser(request, (sql) => findCustomAsset(sql, request.user.id, symbol, currency ?? null))
  return custom ?? findAsset(request, parseAssetName(symbol))
}

/** Rejects a currency that does not exist: after a typing error, a lot would never have a value. @throws CodedError */
export async function checkCurrency(sql: UserSql, code: string, usual: string): Promise<void> {
  if (code === usual || isCurrency(code) || (await isCryptoCode(sql, code))) return
  throw invalidField('currency', 'must be an ISO 4217 currency such as USD, or the code of a crypto')
}

/** @throws CodedError naming `traded_at` when it is in the future */
export function checkNotInFuture(traded_at: string | undefined, now: Date): void {
  if (traded_at !== undefined && Date.parse(traded_at) > now.getTime())
    throw invalidField('traded_at', "The date can't be in the future.")
}

/** @throws CodedError naming `lots` when named lots do not add up to the quantity */
export function checkLots(lots: readonly NamedLot[] | null, quantity: string): void {
  if (lots === null) return
  const sum = lots.reduce((all, lot) => all.plus(parseDecimal(lot.quantity)), ZERO)
  if (!sum.eq(parseDecimal(quantity)))
    throw invalidField('lots', `must add up to the quantity: they are ${formatDecimal(sum)} of ${quantity}`)
}

/** The `ETag` of something that has a version. */
export const versionEtag = ({ version }: { version: number }) => ({ etag: `"v${version}"` })

/** @throws CodedError `version_conflict` when `If-Match` names another version */
function checkIfMatch(ifMatch: string | undefined, version: number): void {
  const tags = ifMatch?.split(',').map((tag) => tag.trim())
  if (tags === undefined || tags.includes('*') || tags.includes(`"v${version}"`)) return
  throw new CodedError('version_conflict', `This was changed elsewhere: the current version is ${version}.`)
}

/** The error for a refused write of the activity `id`. */
function refusalError(refused: ActivityRefusal, id: string): CodedError {
  const { reason, detail } = refused
  if (reason === 'too_many_activities') return new CodedError('invalid_request', detail)
  if (reason === 'unknown_activity' || reason === 'version_conflict') return new CodedError(reason, detail)
  if (refused.activity_id !== id)
    return new CodedError(
      'insufficient_quantity',
      `A later sale (${refused.activity_id}) needs these shares: ${detail}`,
    )
  if (reason === 'unknown_lot') return new CodedError(reason, detail, { errors: [{ field: 'lots', message: detail }] })
  return new CodedError(reason, `quantity: ${detail}`, { errors: [{ field: 'quantity', message: detail }] })
}

/**
 * Writes activities, all or nothing.
 * @param id the activity that the user writes, which errors are about
 * @throws CodedError `insufficient_quantity` (also where later sales would lack what they took), `unknown_lot`, …
 */
export async function writeActivities(sql: UserSql, userId: string, now: Date, id: string, change: ActivitiesChange) {
  const written = await changeActivities(sql, userId, now, change)
  if (!written.ok) throw refusalError(written.refused, id)
  return written.change
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** Any other text is the id of nothing. */
export const isUuid = (id: string): boolean => UUID.test(id)

/**
 * The activity to be changed; other writes of the user wait until the transaction ends.
 * @throws CodedError `unknown_activity`, `version_conflict`
 */
export async function lockActivityForChange(
  sql: UserSql,
  userId: string,
  id: string,
  ifMatch: string | undefined,
): Promise<ActivityView> {
  const activity = isUuid(id) ? await lockAndFindActivity(sql, userId, id) : null
  if (!activity) throw new CodedError('unknown_activity', "This activity doesn't exist.")
  checkIfMatch(ifMatch, activity.version)
  return activity
}

async function lockAndFindActivity(sql: UserSql, userId: string, id: string): Promise<ActivityView | null> {
  await lockPortfolio(sql, userId)
  return findActivity(sql, userId, id)
}

const SELLING_KINDS: ReadonlySet<string> = new Set(['sell', 'transfer_out'])
const NON_SPLIT_FIELDS = ['quantity', 'price', 'fees', 'currency'] as const

/**
 * An activity after a change; what the change leaves out stays.
 * @param asset the asset of the change's `symbol`; null when it has none
 * @throws CodedError naming a field that an activity of this kind does not have
 */
export function applyChange(
  before: ActivityView,
  { symbol: _symbol, ...given }: ActivityChange,
  asset: ResolvedAsset | null,
): Activity & { version: number } {
  const of = `must not be given for a ${before.kind}`
  if (given.split !== undefined && before.kind !== 'split') throw invalidField('split', of)
  if (given.lots != null && !SELLING_KINDS.has(before.kind)) throw invalidField('lots', of)
  if (before.kind === 'split')
    for (const field of NON_SPLIT_FIELDS) if (given[field] !== undefined) throw invalidField(field, of)
  const after = { ...before, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) }
  checkLots(after.lots, after.quantity)
  return { ...after, asset_id: asset?.asset_id ?? before.asset_id }
}
