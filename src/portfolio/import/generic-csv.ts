import type { ActivityKind } from '../../protocol/portfolio.ts'
import type { NamedLot } from '../activity.ts'
import { abs, detectDecimalStyle, isNegative, isZero, negate, unitPrice } from './amount.ts'
import { columnIndexes, type RowFields, readRows } from './fields.ts'
import { toImportAsset } from './ghostfolio.ts'
import { parseKind, unknownKindMessage } from './kind.ts'
import type { ImportReader } from './reader.ts'
import { createDraft, type RowResult } from './row.ts'
import type { Table } from './table.ts'
import { detectDayOrder } from './time.ts'

const DATE = ['date', 'tradedate', 'datetime', 'timestamp', 'time', 'transactiondate'] as const
const SYMBOL = ['code', 'symbol', 'ticker'] as const
const CURRENCY = ['ccy', 'currency', 'currencyprimary', 'currencycode'] as const
const QUANTITY = ['qty', 'quantity', 'shares', 'units', 'noofshares'] as const
const PRICE = ['price', 'unitprice', 'tradeprice', 'pricepershare', 'value'] as const
const TOTAL = ['amount', 'total', 'trademoney'] as const
const FEE = ['fee', 'fees', 'commission', 'ibcommission', 'feescomm'] as const
const KIND = ['kind', 'action', 'type', 'buysell', 'transactiontype', 'side'] as const
const NOTE = ['note', 'notes', 'comment', 'comments'] as const

const AMOUNT_COLUMNS = [...QUANTITY, ...PRICE, ...TOTAL, ...FEE]

const hasAny = (columns: ReadonlySet<string>, names: readonly string[]): boolean =>
  names.some((name) => columns.has(name))

function* cellsOf(table: Table, names: readonly string[]): Generator<string> {
  const places = columnIndexes(table.columns)
  for (const name of names) {
    const at = places.get(name)
    if (at !== undefined) for (const { cells } of table.rows) yield cells[at] ?? ''
  }
}

/** The kind of a row; where no column tells it, a quantity below 0 is a sale. */
function readKind(fields: RowFields, quantity: string): ActivityKind | null {
  if (!fields.has(...KIND)) return isNegative(quantity) ? 'sell' : 'buy'
  for (const name of KIND) {
    const kind = parseKind(fields.text(name))
    if (kind !== null) return kind
  }
  fields.addError('type', unknownKindMessage(fields.text(...KIND)))
  return null
}

/** `10:1` as an export of ours writes it. */
function readSplit(fields: RowFields): { numerator: string; denominator: string } | null {
  const [, numerator, denominator] = /^([^:/]+)[:/]([^:/]+)$/.exec(fields.text('split', 'ratio')) ?? []
  const split = {
    numerator: fields.parseAmount('split', numerator ?? ''),
    denominator: fields.parseAmount('split', denominator ?? ''),
  }
  for (const part of Object.values(split))
    if (isZero(part) || isNegative(part)) fields.addError('split', 'must be above 0 on both sides, such as 10:1')
  return split
}

/** `id=2 id=0.5` as an export of ours writes it. */
function readLots(fields: RowFields): NamedLot[] | null {
  const told = fields.text('lots')
  if (told === '') return null
  return told.split(/\s+/).map((part) => {
    const [lot_id = '', quantity = ''] = part.split('=')
    return { lot_id, quantity: fields.parseAmount('lots', quantity) }
  })
}

/** A text that a spreadsheet would have taken for a formula stands behind an apostrophe in an export. */
export const unescapeFormula = (text: string): string => (/^'+[=+\-@\t\r]/.test(text) ? text.slice(1) : text)

function readRow(fields: RowFields): RowResult {
  const traded_at = fields.time(...DATE)
  const quantity = fields.amount(QUANTITY)
  const kind = readKind(fields, quantity)
  const money = fields.has(...CURRENCY) ? fields.currency(...CURRENCY) : null
  const inMajor = money?.toMajor ?? ((text: string) => text)
  const fee = fields.amount(FEE, '0')
  const total = fields.has(...PRICE) ? null : abs(fields.amount(TOTAL))
  const price = total === null ? abs(fields.amount(PRICE)) : isZero(quantity) ? total : unitPrice(total, abs(quantity))
  if (kind === null) return []
  const own = /^own:([A-Z][A-Z0-9]{1,11})$/.exec(fields.text('asset'))?.[1] ?? null
  const found = toImportAsset({
    kind,
    source: fields.text('datasource'),
    symbol: unescapeFormula(fields.text(...SYMBOL)),
    isin: fields.text('isin'),
    name: unescapeFormula(fields.text('name')),
    own_name: own === null ? fields.text('asset') : '',
    note: unescapeFormula(fields.text(...NOTE)),
    own: own !== null,
    currency: own,
  })
  if ('field' in found) {
    fields.addError(found.field, found.message)
    return []
  }
  return [
    createDraft({
      kind,
      asset: found.asset,
      quantity: abs(quantity),
      price: inMajor(price),
      // IBKR's commission is below 0; a fee that was paid back is told as such by exports of ours alone.
      fees: inMajor(fields.text('refund') === 'yes' ? negate(abs(fee)) : abs(fee)),
      currency: money?.currency ?? null,
      traded_at,
      split: kind === 'split' ? readSplit(fields) : null,
      lots: kind === 'sell' || kind === 'transfer_out' ? readLots(fields) : null,
      note: found.note,
      id: fields.text('id') || null,
      short: fields.text('short') !== 'no',
    }),
  ]
}

/** Ghostfolio's CSV, exports of ours, and whatever else names its columns like one of them. */
export const genericCsv: ImportReader = {
  format: 'csv',
  matches: (columns) =>
    hasAny(columns, DATE) &&
    (hasAny(columns, SYMBOL) || columns.has('isin')) &&
    hasAny(columns, QUANTITY) &&
    (hasAny(columns, PRICE) || hasAny(columns, TOTAL)),
  read(table) {
    const style = detectDecimalStyle(cellsOf(table, AMOUNT_COLUMNS), table.delimiter === ';' ? 'comma' : 'point')
    return readRows(table, { style, order: detectDayOrder(cellsOf(table, DATE)) }, readRow)
  },
}
