import { parseNumbers } from '../../protocol/exact-json.ts'
import type { ActivityKind } from '../../protocol/portfolio.ts'
import type { NamedLot } from '../activity.ts'
import { isNegative, parseJsonNumber } from './amount.ts'
import { toImportRows } from './fields.ts'
import { toImportAsset } from './ghostfolio.ts'
import { parseKind, unknownKindMessage } from './kind.ts'
import { parseCurrency } from './money.ts'
import { createDraft, type ImportRow, type RowError } from './row.ts'
import { parseTime } from './time.ts'

type Json = null | boolean | string | { number: string } | Json[] | { [key: string]: Json }
type JsonObject = { [key: string]: Json }

/** JSON with every number as it is written, so that no digit is lost. Null for what is none. */
function parseJson(text: string): Json | undefined {
  try {
    return parseNumbers(text.replace(/^\ufeff/, ''), (source) => ({ number: source })) as Json
  } catch {
    return undefined
  }
}

const asObject = (value: Json | undefined): JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : {}
const asList = (value: Json | undefined): Json[] => (Array.isArray(value) ? value : [])
const asText = (value: Json | undefined): string => (typeof value === 'string' ? value.trim() : '')

function asAmount(value: Json | undefined): string | null {
  const told = typeof value === 'string' ? value.trim() : asObject(value).number
  if (typeof told !== 'string' || !/^-?\d+(\.\d+)?([eE][-+]?\d{1,2})?$/.test(told)) return null
  return parseJsonNumber(told)
}

/** What an export of ours adds beside the activities, where Ghostfolio does not look: by the activities' ids. */
type KerbExtras = {
  kinds: JsonObject
  splits: JsonObject
  lots: JsonObject
  assets: JsonObject
  /** The symbols of the user's own assets, by what the file calls them. */
  own: JsonObject
  typed: ReadonlySet<string>
}

function readExtras(file: JsonObject): KerbExtras {
  const { kinds, splits, lots, assets, own, typed } = asObject(file.kerb)
  const texts = (of: Json | undefined): Set<string> => new Set(asList(of).map(asText))
  return {
    kinds: asObject(kinds),
    splits: asObject(splits),
    lots: asObject(lots),
    assets: asObject(assets),
    own: asObject(own),
    typed: texts(typed),
  }
}

function readSplit(told: Json | undefined): { numerator: string; denominator: string } | null {
  const { numerator, denominator } = asObject(told)
  const [a, b] = [asAmount(numerator), asAmount(denominator)]
  return a === null || b === null || !/[1-9]/.test(a) || !/[1-9]/.test(b) || isNegative(a) || isNegative(b)
    ? null
    : { numerator: a, denominator: b }
}

function readLots(told: Json | undefined): NamedLot[] | null | RowError {
  if (told === undefined || told === null) return null
  const lots = asList(told).map(asObject)
  const named = lots.map((lot) => ({ lot_id: asText(lot.lot_id), quantity: asAmount(lot.quantity) ?? '' }))
  return named.every(({ lot_id, quantity }) => lot_id !== '' && quantity !== '')
    ? named
    : { field: 'lots', message: 'must name lots, each with lot_id and quantity' }
}

/** Names of assets that the file describes, by symbol; and the manual symbols that are more than the name of a fee. */
type Profiles = {
  names: ReadonlyMap<string, string>
  currencies: ReadonlyMap<string, string>
  owned: ReadonlySet<string>
}

function readProfiles(file: JsonObject, activities: readonly JsonObject[]): Profiles {
  const described = asList(file.assetProfiles).map(asObject)
  const names = new Map(described.map(({ symbol, name }) => [asText(symbol), asText(name)]))
  const currencies = new Map(described.map(({ symbol, currency }) => [asText(symbol), asText(currency)]))
  const owned = new Set<string>()
  for (const activity of activities)
    if (!['FEE', 'INTEREST'].includes(asText(activity.type).toUpperCase())) owned.add(symbolOf(activity))
  return { names, currencies, owned }
}

const symbolOf = (activity: JsonObject): string =>
  asText(activity.symbol) || asText(asObject(activity.SymbolProfile).symbol)

function readActivity(row: number, activity: JsonObject, profiles: Profiles, extras: KerbExtras): ImportRow[] {
  const faults: RowError[] = []
  const fault = (field: string, message: string): void => {
    faults.push({ field, message })
  }
  const amount = (field: string): string => {
    const value = asAmount(activity[field])
    if (value === null) fault(field, activity[field] === undefined ? 'is missing' : 'must be a number')
    else if (field !== 'fee' && isNegative(value)) fault(field, 'must not be below 0')
    return value ?? '0'
  }
  const id = asText(activity.id)
  const type = asText(activity.type)
  const kind: ActivityKind | null = parseKind(asText(extras.kinds[id])) ?? parseKind(type)
  if (kind === null) fault('type', unknownKindMessage(type))
  const time = parseTime(asText(activity.date), 'dmy')
  if (!time.ok) fault('date', time.message)
  const profile = asObject(activity.SymbolProfile)
  const told = asText(activity.currency) || asText(profile.currency)
  const money = parseCurrency(told)
  if (money === null) fault('currency', told === '' ? 'is missing' : `${told.slice(0, 60)} is no currency`)
  const [quantity, price, fee] = [amount('quantity'), amount('unitPrice'), amount('fee')]
  const split = kind === 'split' ? readSplit(extras.splits[id]) : null
  if (kind === 'split' && split === null) fault('split', 'must have a numerator and a denominator above 0')
  const lots = readLots(extras.lots[id])
  if (lots !== null && 'field' in lots) fault(lots.field, lots.message)
  if (kind === null || !time.ok || money === null) return toImportRows(row, [], faults)
  const symbol = symbolOf(activity)
  const found = toImportAsset({
    kind,
    source: asText(activity.dataSource) || asText(profile.dataSource),
    symbol: asText(extras.own[symbol]) || symbol,
    isin: asText(profile.isin),
    name: profiles.names.get(symbol) || asText(profile.name),
    own_name: asText(extras.assets[symbol]),
    note: asText(activity.comment),
    own: extras.own[symbol] !== undefined || profiles.owned.has(symbol),
    currency: parseCurrency(profiles.currencies.get(symbol) ?? '')?.currency ?? null,
  })
  if ('field' in found) return toImportRows(row, [], [...faults, found])
  const said = createDraft({
    kind,
    asset: found.asset,
    quantity,
    price: money.toMajor(price),
    fees: money.toMajor(fee),
    currency: money.currency,
    traded_at: time.at,
    split,
    lots: lots !== null && 'field' in lots ? null : lots,
    note: found.note,
    id: id || null,
    short: !extras.typed.has(id),
  })
  return toImportRows(row, [said], faults)
}

/** Whether a text is JSON by its look; `readGhostfolioJson` says whether it is. */
export const looksLikeJson = (text: string): boolean => /^\ufeff?\s*[{[]/.test(text)

/**
 * Ghostfolio's JSON, and exports of ours, which add what Ghostfolio has no place for. Rows count activities from 1.
 * Null for what is no JSON, or has no activities.
 */
export function readGhostfolioJson(text: string): ImportRow[] | null {
  const file = parseJson(text)
  if (file === undefined) return null
  const told = Array.isArray(file) ? file : asObject(file).activities
  if (!Array.isArray(told)) return null
  const activities = told.map(asObject)
  const extras = readExtras(asObject(file))
  const profiles = readProfiles(asObject(file), activities)
  return activities.flatMap((activity, at) => readActivity(at + 1, activity, profiles, extras))
}
