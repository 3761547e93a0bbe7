import { parseNumbers } from '../../protocol/exact-json.ts'
import type { NamedLot } from '../activity.ts'
import { isNegative, isZero, parseJsonNumber } from './amount.ts'
import { toImportAsset } from './ghostfolio.ts'
import { parseKind, unknownKindMessage } from './kind.ts'
import { parseCurrency } from './money.ts'
import { toImportRows } from './reader.ts'
import { createDraft, type ImportRow, type RowError } from './row.ts'
import { parseTime } from './time.ts'

type Json = null | boolean | string | { number: string } | Json[] | { [key: string]: Json }
type JsonObject = { [key: string]: Json }

/** Parses JSON with each number as its text, so that no digit is lost. Null for text that is not JSON. */
function parseJson(text: string): Json {
  try {
    return parseNumbers(text.replace(/^\ufeff/, ''), (source) => ({ number: source })) as Json
  } catch {
    return null
  }
}

const asObject = (value: Json | undefined): JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : {}
const asList = (value: Json | undefined): Json[] => (Array.isArray(value) ? value : [])
const asText = (value: Json | undefined): string => (typeof value === 'string' ? value.trim() : '')

function asAmount(value: Json | undefined): string | null {
  const text = asText(typeof value === 'string' ? value : asObject(value).number)
  return /^-?\d+(\.\d+)?([eE][-+]?\d{1,2})?$/.test(text) ? parseJsonNumber(text) : null
}

const isPositive = (amount: string | null): amount is string =>
  amount !== null && !isNegative(amount) && !isZero(amount)

function readSplit(value: Json | undefined): { numerator: string; denominator: string } | null {
  const { numerator, denominator } = asObject(value)
  const [a, b] = [asAmount(numerator), asAmount(denominator)]
  return isPositive(a) && isPositive(b) ? { numerator: a, denominator: b } : null
}

/** The lots that a sale names; null for one that is not valid. */
function readLots(value: Json): NamedLot[] | null {
  const lots = asList(value)
    .map(asObject)
    .map((lot) => ({ lot_id: asText(lot.lot_id), quantity: asAmount(lot.quantity) ?? '' }))
  return lots.every(({ lot_id, quantity }) => lot_id !== '' && quantity !== '') ? lots : null
}

const symbolOf = (activity: JsonObject): string =>
  asText(activity.symbol) || asText(asObject(activity.SymbolProfile).symbol)

/** The parts of a file beside its activities. */
type FileContext = {
  /** The file's descriptions of assets, by symbol. */
  profiles: ReadonlyMap<string, JsonObject>
  /** Symbols that are more than the title of a fee. */
  owned: ReadonlySet<string>
  /** What Kerb's exports add, by activity id or (assets, own) by symbol. */
  kinds: JsonObject
  splits: JsonObject
  lots: JsonObject
  assets: JsonObject
  /** The symbols of custom assets. */
  own: JsonObject
  /** Ids of activities that may not open a short lot. */
  typed: ReadonlySet<string>
}

function readContext(file: JsonObject, activities: readonly JsonObject[]): FileContext {
  const profiles = asList(file.assetProfiles).map(asObject)
  const withAsset = activities.filter(({ type }) => !['FEE', 'INTEREST'].includes(asText(type).toUpperCase()))
  const { kinds, splits, lots, assets, own, typed } = asObject(file.kerb)
  return {
    profiles: new Map(profiles.map((profile) => [asText(profile.symbol), profile])),
    owned: new Set(withAsset.map(symbolOf)),
    kinds: asObject(kinds),
    splits: asObject(splits),
    lots: asObject(lots),
    assets: asObject(assets),
    own: asObject(own),
    typed: new Set(asList(typed).map(asText)),
  }
}

function readActivity(row: number, activity: JsonObject, file: FileContext): ImportRow[] {
  const errors: RowError[] = []
  const addError = (field: string, message: string): void => {
    errors.push({ field, message })
  }
  const amount = (field: string): string => {
    const value = asAmount(activity[field])
    if (value === null) addError(field, activity[field] === undefined ? 'is missing' : 'must be a number')
    else if (field !== 'fee' && isNegative(value)) addError(field, 'must not be below 0')
    return value ?? '0'
  }
  const id = asText(activity.id)
  const type = asText(activity.type)
  const kind = parseKind(asText(file.kinds[id])) ?? parseKind(type)
  if (kind === null) addError('type', unknownKindMessage(type))
  const time = parseTime(asText(activity.date), 'dmy')
  if (!time.ok) addError('date', time.message)
  const inline = asObject(activity.SymbolProfile)
  const code = asText(activity.currency) || asText(inline.currency)
  const unit = parseCurrency(code)
  if (unit === null) addError('currency', code === '' ? 'is missing' : `${code.slice(0, 60)} is not a valid currency`)
  const [quantity, price, fee] = [amount('quantity'), amount('unitPrice'), amount('fee')]
  const split = kind === 'split' ? readSplit(file.splits[id]) : null
  if (kind === 'split' && split === null) addError('split', 'must have a numerator and a denominator above 0')
  const named = file.lots[id] ?? null
  const lots = named === null ? null : readLots(named)
  if (named !== null && lots === null) addError('lots', 'must name lots, each with lot_id and quantity')
  if (kind === null || !time.ok || unit === null) return toImportRows(row, [], errors)
  const symbol = symbolOf(activity)
  const profile = file.profiles.get(symbol)
  const found = toImportAsset({
    kind,
    source: asText(activity.dataSource) || asText(inline.dataSource),
    symbol: asText(file.own[symbol]) || symbol,
    isin: asText(inline.isin),
    name: asText(profile?.name) || asText(inline.name),
    own_name: asText(file.assets[symbol]),
    note: asText(activity.comment),
    own: file.own[symbol] !== undefined || file.owned.has(symbol),
    currency: parseCurrency(asText(profile?.currency))?.currency ?? null,
  })
  if ('field' in found) return toImportRows(row, [], [...errors, found])
  const draft = createDraft({
    ...found,
    kind,
    quantity,
    price: unit.toMajor(price),
    fees: unit.toMajor(fee),
    currency: unit.currency,
    traded_at: time.at,
    split,
    lots,
    id: id || null,
    short: !file.typed.has(id),
  })
  return toImportRows(row, [draft], errors)
}

/** True if a text starts as JSON. */
export const looksLikeJson = (text: string): boolean => /^\ufeff?\s*[{[]/.test(text)

/**
 * Reads Ghostfolio's JSON, and Kerb's exports, which extend it. Rows count activities from 1. Null for text that is not
 * JSON, or has no activities.
 */
export function readGhostfolioJson(text: string): ImportRow[] | null {
  const file = parseJson(text)
  const list = Array.isArray(file) ? file : asObject(file).activities
  if (!Array.isArray(list)) return null
  const activities = list.map(asObject)
  const context = readContext(asObject(file), activities)
  return activities.flatMap((activity, at) => readActivity(at + 1, activity, context))
}
