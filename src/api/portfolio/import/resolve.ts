import { addCustomAssets } from '../../../db/activities.ts'
import type { UserSql } from '../../../db/client.ts'
import { readCustomAssets } from '../../../db/import-activities.ts'
import type { ImportedActivity } from '../../../portfolio/import/row.ts'
import { MAX_NOTE_CHARS } from '../../../protocol/lot-input.ts'
import type { UserRequest } from '../../http/context.ts'
import { resolveImportAssets } from './assets.ts'
import type { RowError } from './result.ts'

/** A stored asset, or a custom asset to find or create; only to find if `refused` says why. Null for no asset. */
type Target =
  | { asset_id: number; symbol: string; name: string }
  | { own: NewCustomAsset; refused: string | null }
  | null
type NewCustomAsset = { symbol: string; name: string; currency: string }

/** An activity of a file with its asset and currency. */
export type ResolvedActivity = { imported: ImportedActivity; target: Target; currency: string }

/** Longest texts that the columns take. */
const MAX_CUSTOM_SYMBOL = 100
const MAX_CUSTOM_NAME = 200

/** Replaces control characters and lone surrogates, which Postgres does not accept, by spaces. */
const stripControls = (text: string): string => text.replace(/[^\P{Cc}\t\r\n]|\p{Cs}/gu, ' ')
const truncate = (text: string, most: number): string => (text.length <= most ? text : `${text.slice(0, most - 1)}…`)
/** A note as it is stored; a longer one ends in `…`. */
export const toNote = (note: string | null): string | null =>
  note === null ? null : stripControls(truncate(note, MAX_NOTE_CHARS))

/** Ascending ids (UUIDv7), so that activities of the same time stay in the order of the file. */
function orderedIds(count: number, now: number): string[] {
  const time = now.toString(16).padStart(12, '0')
  return Array.from({ length: count }, (_, at) => {
    const random = crypto.randomUUID().slice(24)
    const [high, low] = [Math.floor(at / 4_096), at % 4_096].map((part) => part.toString(16).padStart(3, '0'))
    return `${time.slice(0, 8)}-${time.slice(8)}-7${high}-8${low}-${random}`
  })
}

/** An id for each activity, ascending by time, then by order of events. */
export function assignIds(activities: readonly ResolvedActivity[], now: Date): string[] {
  const times = activities.map(({ imported }) => imported.traded_at)
  const order = times.map((_, i) => i)
  // Some brokers list the newest first, others the oldest.
  if ((times[0] ?? '') > (times.at(-1) ?? '')) order.reverse()
  order.sort((a, b) => Date.parse(times[a]!) - Date.parse(times[b]!))
  const ids = orderedIds(order.length, now.getTime())
  const assigned: string[] = []
  for (const [rank, i] of order.entries()) assigned[i] = ids[rank]!
  return assigned
}

const toCustomAsset = ({ asset, currency }: ImportedActivity): NewCustomAsset | null => {
  const symbol = stripControls(truncate(asset?.symbol ?? asset?.isin ?? '', MAX_CUSTOM_SYMBOL))
  const name = stripControls(truncate(asset?.name ?? symbol, MAX_CUSTOM_NAME))
  const money = asset?.currency ?? currency
  return money === null || symbol === '' ? null : { symbol, name, currency: money }
}

/** Finds the asset and currency of each activity, or adds an error. */
export async function resolveActivities(
  request: UserRequest,
  activities: readonly ImportedActivity[],
  unknown: 'refuse' | 'own',
  errors: RowError[],
): Promise<ResolvedActivity[]> {
  const assets = await resolveImportAssets(request, activities)
  return activities.flatMap((imported): ResolvedActivity[] => {
    const { row, asset, currency } = imported
    const fail = (field: string, message: string): ResolvedActivity[] => {
      errors.push({ row, field, message })
      return []
    }
    if (currency !== null && !assets.isCurrency(currency))
      return fail('currency', `${currency} is not a valid currency`)
    if (asset === null)
      return currency === null ? fail('currency', 'is missing') : [{ imported, target: null, currency }]
    const resolution = asset.manual ? null : assets.resolve(asset)
    if (resolution?.kind === 'asset')
      return [{ imported, target: resolution.asset, currency: currency ?? resolution.asset.currency }]
    const own = toCustomAsset(imported)
    if (own === null) return fail('currency', 'is missing')
    if (resolution?.kind === 'ambiguous') return fail('symbol', resolution.message)
    // An asset that a provider may know is not made a custom asset, which would stay at cost forever.
    const isCreated = resolution === null || (unknown === 'own' && resolution.kind !== 'not_asked')
    const target = { own, refused: isCreated ? null : resolution.message }
    return [{ imported, target, currency: currency ?? own.currency }]
  })
}

/** Equal for equal custom assets, in any case. */
const customAssetKey = ({ symbol, currency }: { symbol: string; currency: string }): string =>
  `${currency} ${symbol.toUpperCase()}`

/** The asset id of each activity; missing custom assets are created, unless they were refused. */
export async function assignAssetIds(
  sql: UserSql,
  userId: string,
  activities: readonly ResolvedActivity[],
  errors: RowError[],
): Promise<Map<ResolvedActivity, number | null>> {
  // Reversed, so that the newest wins.
  const stored = (await readCustomAssets(sql, userId)).reverse()
  const idsByKey = new Map(stored.map((own) => [customAssetKey(own), own.asset_id]))
  const idsBySymbol = new Map(stored.map(({ symbol, asset_id }) => [symbol.toUpperCase(), asset_id]))
  const missing = new Map<string, NewCustomAsset>()
  for (const { target } of activities) {
    if (target === null || 'asset_id' in target || target.refused !== null) continue
    const key = customAssetKey(target.own)
    if (!idsByKey.has(key) && !missing.has(key)) missing.set(key, target.own)
  }
  const created = missing.size === 0 ? [] : await addCustomAssets(sql, userId, [...missing.values()])
  for (const [i, key] of [...missing.keys()].entries()) idsByKey.set(key, created[i]!)
  const assetIds = new Map<ResolvedActivity, number | null>()
  for (const activity of activities) {
    const { imported, target } = activity
    if (target === null || 'asset_id' in target) {
      assetIds.set(activity, target?.asset_id ?? null)
      continue
    }
    const { own, refused } = target
    const id =
      idsByKey.get(customAssetKey(own)) ?? (refused === null ? null : idsBySymbol.get(own.symbol.toUpperCase()))
    if (id != null) assetIds.set(activity, id)
    else if (refused !== null) errors.push({ row: imported.row, field: 'symbol', message: refused })
  }
  return assetIds
}
