import type { ActivityKind } from '../../protocol/portfolio.ts'
import type { NamedLot } from '../activity.ts'
import { isNegative, isZero, negated, positive, styleOf, unitPrice } from './amount.ts'
import { type Fields, placesOf, readRows } from './fields.ts'
import { assetOf } from './ghostfolio.ts'
import { kindOf, unknownKind } from './kind.ts'
import type { Reader } from './reader.ts'
import { draft, type Said } from './row.ts'
import type { Table } from './table.ts'
import { dayOrderOf } from './time.ts'

const DATE = ['date', 'tradedate', 'datetime', 'timestamp', 'time', 'transactiondate'] as const
const SYMBOL = ['code', 'symbol', 'ticker'] as const
const CURRENCY = ['ccy', 'currency', 'currencyprimary', 'currencycode'] as const
const QUANTITY = ['qty', 'quantity', 'shares', 'units', 'noofshares'] as const
const PRICE = ['price', 'unitprice', 'tradeprice', 'pricepershare', 'value'] as const
const TOTAL = ['amount', 'total', 'trademoney'] as const
const FEE = ['fee', 'fees', 'commission', 'ibcommission', 'feescomm'] as const
const KIND = ['kind', 'action', 'type', 'buysell', 'transactiontype', 'side'] as const
const NOTE = ['note', 'notes', 'comment', 'comments'] as const

const NUMBERS = [...QUANTITY, ...PRICE, ...TOTAL, ...FEE]

const hasOne = (columns: ReadonlySet<string>, names: readonly string[]): boolean =>
  names.some((name) => columns.has(name))

function* cellsOf(table: Table, names: readonly string[]): Generator<string> {
  const places = placesOf(table.columns)
  for (const name of names) {
    const at = places.get(name)
    if (at !== undefined) for (const { cells } of table.rows) yield cells[at] ?? ''
  }
}

/** The kind of a row; where no column tells it, a quantity below 0 is a sale. */
function kindOfRow(fields: Fields, quantity: string): ActivityKind | null {
  if (!fields.has(...KIND)) return isNegative(quantity) ? 'sell' : 'buy'
  for (const name of KIND) {
    const kind = kindOf(fields.text(name))
    if (kind !== null) return kind
  }
  fields.fault('type', unknownKind(fields.text(...KIND)))
  return null
}

/** `10:1` as an export of ours writes it. */
function splitOf(fields: Fields): { numerator: string; denominator: string } | null {
  const [, numerator, denominator] = /^([^:/]+)[:/]([^:/]+)$/.exec(fields.text('split', 'ratio')) ?? []
  const split = {
    numerator: fields.decimal('split', numerator ?? ''),
    denominator: fields.decimal('split', denominator ?? ''),
  }
  for (const part of Object.values(split))
    if (isZero(part) || isNegative(part)) fields.fault('split', 'must be above 0 on both sides, such as 10:1')
  return split
}

/** `id=2 id=0.5` as an export of ours writes it. */
function lotsOf(fields: Fields): NamedLot[] | null {
  const told = fields.text('lots')
  if (told === '') return null
  return told.split(/\s+/).map((part) => {
    const [lot_id = '', quantity = ''] = part.split('=')
    return { lot_id, quantity: fields.decimal('lots', quantity) }
  })
}

/** A text that a spreadsheet would have taken for a formula stands behind an apostrophe in an export. */
export const unguarded = (text: string): string => (/^'+[=+\-@\t\r]/.test(text) ? text.slice(1) : text)

function read(fields: Fields): Said {
  const traded_at = fields.instant(...DATE)
  const quantity = fields.amount(QUANTITY)
  const kind = kindOfRow(fields, quantity)
  const money = fields.has(...CURRENCY) ? fields.money(...CURRENCY) : null
  const inMajor = money?.amount ?? ((text: string) => text)
  const fee = fields.amount(FEE, '0')
  const total = fields.has(...PRICE) ? null : positive(fields.amount(TOTAL))
  const price =
    total === null ? positive(fields.amount(PRICE)) : isZero(quantity) ? total : unitPrice(total, positive(quantity))
  if (kind === null) return []
  const own = /^own:([A-Z][A-Z0-9]{1,11})$/.exec(fields.text('asset'))?.[1] ?? null
  const found = assetOf({
    kind,
    source: fields.text('datasource'),
    symbol: unguarded(fields.text(...SYMBOL)),
    isin: fields.text('isin'),
    name: unguarded(fields.text('name')),
    own_name: own === null ? fields.text('asset') : '',
    note: unguarded(fields.text(...NOTE)),
    own: own !== null,
    currency: own,
  })
  if ('field' in found) {
    fields.fault(found.field, found.message)
    return []
  }
  return [
    draft({
      kind,
      asset: found.asset,
      quantity: positive(quantity),
      price: inMajor(price),
      // IBKR's commission is below 0; a fee that was paid back is told as such by exports of ours alone.
      fees: inMajor(fields.text('refund') === 'yes' ? negated(positive(fee)) : positive(fee)),
      currency: money?.currency ?? null,
      traded_at,
      split: kind === 'split' ? splitOf(fields) : null,
      lots: kind === 'sell' || kind === 'transfer_out' ? lotsOf(fields) : null,
      note: found.note,
      id: fields.text('id') || null,
      short: fields.text('short') !== 'no',
    }),
  ]
}

/** Ghostfolio's CSV, exports of ours, and whatever else names its columns like one of them. */
export const genericCsv: Reader = {
  format: 'csv',
  fits: (columns) =>
    hasOne(columns, DATE) &&
    (hasOne(columns, SYMBOL) || columns.has('isin')) &&
    hasOne(columns, QUANTITY) &&
    (hasOne(columns, PRICE) || hasOne(columns, TOTAL)),
  read(table) {
    const style = styleOf(cellsOf(table, NUMBERS), table.delimiter === ';' ? 'comma' : 'point')
    return readRows(table, { style, order: dayOrderOf(cellsOf(table, DATE)) }, read)
  },
}
