import { addCustomAssets } from '../../../db/activities.ts'
import type { UserSql } from '../../../db/client.ts'
import { readCustomAssets } from '../../../db/import-activities.ts'
import type { ImportedActivity } from '../../../portfolio/import/row.ts'
import { MAX_NOTE_CHARS } from '../../../protocol/lot-input.ts'
import type { UserRequest } from '../../http/context.ts'
import { resolveImportAssets } from './assets.ts'
import type { RowError } from './result.ts'

/** A stored asset, or a custom asset to be found or created; with `refused` it is only found. Null for no asset. */
type Target =
  | { asset_id: number; symbol: string; name: string }
  | { own: NewCustomAsset; refused: string | null }
  | null
type NewCustomAsset = { symbol: string; name: string; currency: string }

/** An activity of a file with its asset and currency. */
export type ResolvedActivity = { imported: ImportedActivity; target: Target; currency: string }

/** Limits of the columns. */
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
export function assignIds(placed: readonly ResolvedActivity[], now: Date): string[] {
  const at = ({ imported: read }: ResolvedActivity): string => read.traded_at
  // Some brokers list the newest first, others the oldest.
  const descends =
    placed.length > 1 && at(placed[0] as ResolvedActivity) > at(placed[placed.length - 1] as ResolvedActivity)
  const order = placed.map((_, index) => index)
  if (descends) order.reverse()
  order.sort((a, b) => Date.parse(at(placed[a] as ResolvedActivity)) - Date.parse(at(placed[b] as ResolvedActivity)))
  const ids = orderedIds(placed.length, now.getTime())
  const byPlace: string[] = []
  order.forEach((index, rank) => {
    byPlace[index] = ids[rank] as string
  })
  return byPlace
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
  faults: RowError[],
): Promise<ResolvedActivity[]> {
  const found = await resolveImportAssets(request, activities)
  return activities.flatMap((read): ResolvedActivity[] => {
    const { row, asset, currency } = read
    const fault = (field: string, message: string): ResolvedActivity[] => {
      faults.push({ row, field, message })
      return []
    }
    if (currency !== null && !found.isCurrency(currency))
      return fault('currency', `${currency} is not a valid currency`)
    if (asset === null)
      return currency === null ? fault('currency', 'is missing') : [{ imported: read, target: null, currency }]
    const meant = asset.manual ? null : found.resolve(asset)
    if (meant?.kind === 'asset')
      return [{ imported: read, target: meant.asset, currency: currency ?? meant.asset.currency }]
    const own = toCustomAsset(read)
    if (own === null) return fault('currency', 'is missing')
    if (meant?.kind === 'ambiguous') return fault('symbol', meant.message)
    // An asset that a provider may know is not made a custom asset, which would stay at cost forever.
    const making = unknown === 'own' && meant?.kind !== 'unasked'
    const target = { own, refused: meant === null || making ? null : meant.message }
    return [{ imported: read, target, currency: currency ?? own.currency }]
  })
}

/** Equal for equal custom assets, in any case. */
const customAssetKey = ({ symbol, currency }: { symbol: string; currency: string }): string =>
  `${currency} ${symbol.toUpperCase()}`

/** The asset id of each activity; missing custom assets are created, unless they were refused. */
export async function assignAssetIds(
  sql: UserSql,
  userId: string,
  placed: readonly ResolvedActivity[],
  faults: RowError[],
): Promise<Map<ResolvedActivity, number | null>> {
  const there = await readCustomAssets(sql, userId)
  // Reversed, so that the newest wins.
  const known = new Map(there.toReversed().map((own) => [customAssetKey(own), own.asset_id]))
  const bySymbol = new Map(there.toReversed().map(({ symbol, asset_id }) => [symbol.toUpperCase(), asset_id]))
  const missing = new Map<string, NewCustomAsset>()
  for (const { target } of placed) {
    if (target === null || 'asset_id' in target || target.refused !== null) continue
    const key = customAssetKey(target.own)
    if (!known.has(key) && !missing.has(key)) missing.set(key, target.own)
  }
  const made = missing.size === 0 ? [] : await addCustomAssets(sql, userId, [...missing.values()])
  for (const [at, key] of [...missing.keys()].entries()) known.set(key, made[at] as number)
  const numbers = new Map<ResolvedActivity, number | null>()
  for (const one of placed) {
    if (one.target === null || 'asset_id' in one.target) {
      numbers.set(one, one.target?.asset_id ?? null)
      continue
    }
    const { own, refused } = one.target
    const number =
      known.get(customAssetKey(own)) ?? (refused === null ? undefined : bySymbol.get(own.symbol.toUpperCase()))
    if (number !== undefined) numbers.set(one, number)
    else if (refused !== null) faults.push({ row: one.imported.row, field: 'symbol', message: refused })
  }
  return numbers
}
