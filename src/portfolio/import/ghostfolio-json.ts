import type { ActivityKind } from '../../protocol/portfolio.ts'
import type { NamedLot } from '../activity.ts'
import { isNegative, plainOf } from './amount.ts'
import { rowsOf } from './fields.ts'
import { assetOf } from './ghostfolio.ts'
import { kindOf, unknownKind } from './kind.ts'
import { moneyOf } from './money.ts'
import { draft, type ImportRow, type RowFault } from './row.ts'
import { instantOf } from './time.ts'

type Json = null | boolean | string | { number: string } | Json[] | { [key: string]: Json }
type Bag = { [key: string]: Json }

/** JSON with every number as it is written, so that no digit is lost. Null for what is none. */
function parseExact(text: string): Json | undefined {
  const read = (_key: string, value: unknown, context?: { source?: string }): unknown =>
    typeof value === 'number' ? { number: context?.source ?? String(value) } : value
  try {
    return JSON.parse(text.replace(/^\ufeff/, ''), read as (key: string, value: unknown) => unknown) as Json
  } catch {
    return undefined
  }
}

const bag = (value: Json | undefined): Bag =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Bag) : {}
const list = (value: Json | undefined): Json[] => (Array.isArray(value) ? value : [])
const textOf = (value: Json | undefined): string => (typeof value === 'string' ? value.trim() : '')

function amountOf(value: Json | undefined): string | null {
  const told = typeof value === 'string' ? value.trim() : bag(value).number
  if (typeof told !== 'string' || !/^-?\d+(\.\d+)?([eE][-+]?\d{1,2})?$/.test(told)) return null
  return plainOf(told)
}

/** What an export of ours adds beside the activities, where Ghostfolio does not look: by the activities' ids. */
type Extras = {
  kinds: Bag
  splits: Bag
  lots: Bag
  assets: Bag
  /** The symbols of the user's own assets, by what the file calls them. */
  own: Bag
  typed: ReadonlySet<string>
}

function extrasOf(file: Bag): Extras {
  const { kinds, splits, lots, assets, own, typed } = bag(file.kerb)
  const texts = (of: Json | undefined): Set<string> => new Set(list(of).map(textOf))
  return {
    kinds: bag(kinds),
    splits: bag(splits),
    lots: bag(lots),
    assets: bag(assets),
    own: bag(own),
    typed: texts(typed),
  }
}

function splitOf(told: Json | undefined): { numerator: string; denominator: string } | null {
  const { numerator, denominator } = bag(told)
  const [a, b] = [amountOf(numerator), amountOf(denominator)]
  return a === null || b === null || !/[1-9]/.test(a) || !/[1-9]/.test(b) || isNegative(a) || isNegative(b)
    ? null
    : { numerator: a, denominator: b }
}

function lotsOf(told: Json | undefined): NamedLot[] | null | RowFault {
  if (told === undefined || told === null) return null
  const lots = list(told).map(bag)
  const named = lots.map((lot) => ({ lot_id: textOf(lot.lot_id), quantity: amountOf(lot.quantity) ?? '' }))
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

function profilesOf(file: Bag, activities: readonly Bag[]): Profiles {
  const described = list(file.assetProfiles).map(bag)
  const names = new Map(described.map(({ symbol, name }) => [textOf(symbol), textOf(name)]))
  const currencies = new Map(described.map(({ symbol, currency }) => [textOf(symbol), textOf(currency)]))
  const owned = new Set<string>()
  for (const activity of activities)
    if (!['FEE', 'INTEREST'].includes(textOf(activity.type).toUpperCase())) owned.add(symbolOf(activity))
  return { names, currencies, owned }
}

const symbolOf = (activity: Bag): string => textOf(activity.symbol) || textOf(bag(activity.SymbolProfile).symbol)

function rowOf(row: number, activity: Bag, profiles: Profiles, extras: Extras): ImportRow[] {
  const faults: RowFault[] = []
  const fault = (field: string, message: string): void => {
    faults.push({ field, message })
  }
  const amount = (field: string): string => {
    const value = amountOf(activity[field])
    if (value === null) fault(field, activity[field] === undefined ? 'is missing' : 'must be a number')
    else if (field !== 'fee' && isNegative(value)) fault(field, 'must not be below 0')
    return value ?? '0'
  }
  const id = textOf(activity.id)
  const type = textOf(activity.type)
  const kind: ActivityKind | null = kindOf(textOf(extras.kinds[id])) ?? kindOf(type)
  if (kind === null) fault('type', unknownKind(type))
  const time = instantOf(textOf(activity.date), 'dmy')
  if (!time.ok) fault('date', time.message)
  const profile = bag(activity.SymbolProfile)
  const told = textOf(activity.currency) || textOf(profile.currency)
  const money = moneyOf(told)
  if (money === null) fault('currency', told === '' ? 'is missing' : `${told.slice(0, 60)} is no currency`)
  const [quantity, price, fee] = [amount('quantity'), amount('unitPrice'), amount('fee')]
  const split = kind === 'split' ? splitOf(extras.splits[id]) : null
  if (kind === 'split' && split === null) fault('split', 'must have a numerator and a denominator above 0')
  const lots = lotsOf(extras.lots[id])
  if (lots !== null && 'field' in lots) fault(lots.field, lots.message)
  if (kind === null || !time.ok || money === null) return rowsOf(row, [], faults)
  const symbol = symbolOf(activity)
  const found = assetOf({
    kind,
    source: textOf(activity.dataSource) || textOf(profile.dataSource),
    symbol: textOf(extras.own[symbol]) || symbol,
    isin: textOf(profile.isin),
    name: profiles.names.get(symbol) || textOf(profile.name),
    own_name: textOf(extras.assets[symbol]),
    note: textOf(activity.comment),
    own: extras.own[symbol] !== undefined || profiles.owned.has(symbol),
    currency: moneyOf(profiles.currencies.get(symbol) ?? '')?.currency ?? null,
  })
  if ('field' in found) return rowsOf(row, [], [...faults, found])
  const said = draft({
    kind,
    asset: found.asset,
    quantity,
    price: money.amount(price),
    fees: money.amount(fee),
    currency: money.currency,
    traded_at: time.at,
    split,
    lots: lots !== null && 'field' in lots ? null : lots,
    note: found.note,
    id: id || null,
    short: !extras.typed.has(id),
  })
  return rowsOf(row, [said], faults)
}

/** Whether a text is JSON by its look; `readGhostfolioJson` says whether it is. */
export const looksLikeJson = (text: string): boolean => /^\ufeff?\s*[{[]/.test(text)

/**
 * Ghostfolio's JSON, and exports of ours, which add what Ghostfolio has no place for. Rows count activities from 1.
 * Null for what is no JSON, or has no activities.
 */
export function readGhostfolioJson(text: string): ImportRow[] | null {
  const file = parseExact(text)
  if (file === undefined) return null
  const told = Array.isArray(file) ? file : bag(file).activities
  if (!Array.isArray(told)) return null
  const activities = told.map(bag)
  const extras = extrasOf(bag(file))
  const profiles = profilesOf(bag(file), activities)
  return activities.flatMap((activity, at) => rowOf(at + 1, activity, profiles, extras))
}
