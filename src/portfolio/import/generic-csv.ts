import type { ActivityKind } from '../../protocol/portfolio.ts'
import type { NamedLot } from '../activity.ts'
import { abs, detectDecimalStyle, isNegative, isZero, negate, unitPrice } from './amount.ts'
import { toImportAsset } from './ghostfolio.ts'
import { parseKind, unknownKindMessage } from './kind.ts'
import { columnIndexes, type ImportReader, type RowFields, readRows } from './reader.ts'
import { createDraft, type RowResult } from './row.ts'
import type { Table } from './table.ts'
import { detectDayOrder } from './time.ts'

const DATE = ['date', 'tradedate', 'datetime', 'timestamp', 'time', 'transactiondate']
const SYMBOL = ['code', 'symbol', 'ticker']
const CURRENCY = ['ccy', 'currency', 'currencyprimary', 'currencycode']
const QUANTITY = ['qty', 'quantity', 'shares', 'units', 'noofshares']
const PRICE = ['price', 'unitprice', 'tradeprice', 'pricepershare', 'value']
const TOTAL = ['amount', 'total', 'trademoney']
const FEE = ['fee', 'fees', 'commission', 'ibcommission', 'feescomm']
const KIND = ['kind', 'action', 'type', 'buysell', 'transactiontype', 'side']
const NOTE = ['note', 'notes', 'comment', 'comments']

/** All cells of these columns. */
function* cellsOf(table: Table, names: readonly string[]): Generator<string> {
  const indexes = columnIndexes(table.columns)
  for (const name of names) {
    const at = indexes.get(name)
    if (at !== undefined) for (const { cells } of table.rows) yield cells[at] ?? ''
  }
}

/** The kind of a row; without a column for it, a quantity below 0 is a sale. */
function readKind(fields: RowFields, quantity: string): ActivityKind | null {
  if (!fields.has(...KIND)) return isNegative(quantity) ? 'sell' : 'buy'
  for (const name of KIND) {
    const kind = parseKind(fields.text(name))
    if (kind !== null) return kind
  }
  fields.addError('type', unknownKindMessage(fields.text(...KIND)))
  return null
}

/** `10:1`, as Kerb exports it. */
function readSplit(fields: RowFields): { numerator: string; denominator: string } {
  const [, numerator = '', denominator = ''] = /^([^:/]+)[:/]([^:/]+)$/.exec(fields.text('split', 'ratio')) ?? []
  const split = {
    numerator: fields.parseAmount('split', numerator),
    denominator: fields.parseAmount('split', denominator),
  }
  for (const part of Object.values(split))
    if (isZero(part) || isNegative(part)) fields.addError('split', 'must be above 0 on both sides, such as 10:1')
  return split
}

/** `id=2 id=0.5`, as Kerb exports it. */
function readLots(fields: RowFields): NamedLot[] | null {
  const lots = fields.text('lots')
  if (lots === '') return null
  return lots.split(/\s+/).map((part) => {
    const [lot_id = '', quantity = ''] = part.split('=')
    return { lot_id, quantity: fields.parseAmount('lots', quantity) }
  })
}

/** Removes the apostrophe by which an export protects text that a spreadsheet would take for a formula. */
const unescapeFormula = (text: string): string => (/^'+[=+\-@\t\r]/.test(text) ? text.slice(1) : text)

function readRow(fields: RowFields): RowResult {
  const traded_at = fields.time(...DATE)
  const signed = fields.amount(QUANTITY)
  const quantity = abs(signed)
  const kind = readKind(fields, signed)
  const unit = fields.has(...CURRENCY) ? fields.currency(...CURRENCY) : null
  const toMajor = unit?.toMajor ?? ((text: string) => text)
  const fee = abs(fields.amount(FEE, '0'))
  const total = fields.has(...PRICE) ? null : abs(fields.amount(TOTAL))
  const price = total === null ? abs(fields.amount(PRICE)) : isZero(quantity) ? total : unitPrice(total, quantity)
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
      ...found,
      kind,
      quantity,
      price: toMajor(price),
      // IBKR's commission is below 0; a refund is marked as one by Kerb's exports alone.
      fees: toMajor(fields.text('refund') === 'yes' ? negate(fee) : fee),
      currency: unit?.currency ?? null,
      traded_at,
      split: kind === 'split' ? readSplit(fields) : null,
      lots: kind === 'sell' || kind === 'transfer_out' ? readLots(fields) : null,
      id: fields.text('id') || null,
      short: fields.text('short') !== 'no',
    }),
  ]
}

/** Ghostfolio's CSV, Kerb's exports, and any other table with such column names. */
export const genericCsv: ImportReader = {
  format: 'csv',
  columns: [DATE, [...SYMBOL, 'isin'], QUANTITY, [...PRICE, ...TOTAL]],
  read(table) {
    const amounts = cellsOf(table, [...QUANTITY, ...PRICE, ...TOTAL, ...FEE])
    const style = detectDecimalStyle(amounts, table.delimiter === ';' ? 'comma' : 'point')
    return readRows(table, { style, order: detectDayOrder(cellsOf(table, DATE)) }, readRow)
  },
}
