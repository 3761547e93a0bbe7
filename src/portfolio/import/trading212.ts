import { abs, isNegative, isZero, negate } from './amount.ts'
import { columnIndexes, type RowFields, readRows } from './fields.ts'
import { unknownKindMessage } from './kind.ts'
import { parseCurrency } from './money.ts'
import type { ImportReader } from './reader.ts'
import {
  type ActivityDraft,
  costDraft,
  createDraft,
  type ImportRow,
  importAsset,
  isActivity,
  type RowResult,
} from './row.ts'
import { splitRatio } from './split-ratio.ts'
import type { Table } from './table.ts'

const SHARES = 'noofshares'
const PRICE = 'priceshare'
const PRICE_CURRENCY = 'currencypriceshare'

/** Costs of a trade, by the names of their columns; the currency stands in a column of its own, or in the name. */
const COST_COLUMN = /fee|duty|transactiontax|levy/

/**
 * Rows whose notes and number stand before the shares, as the next generation of the export has them, under the names of
 * the one before.
 */
function fixMisplacedColumns(table: Table): Table {
  const places = columnIndexes(table.columns)
  const [shares, notes] = [places.get(SHARES), places.get('notes')]
  if (shares === undefined || notes === undefined || notes < shares) return table
  const rows = table.rows.map((row) => {
    if (!/^EOF\d+$/.test(row.cells[shares + 1]?.trim() ?? '')) return row
    const cells = [...row.cells]
    const moved = cells.splice(shares, 2)
    cells.splice(notes, 0, ...moved)
    return { row: row.row, cells }
  })
  return { ...table, rows }
}

/** Fees of a trade: in its currency they are part of it, in another one they stand beside it. */
function withFees(fields: RowFields, columns: readonly string[], trade: ActivityDraft): ActivityDraft[] {
  let fees = '0'
  const apart: ActivityDraft[] = []
  for (const name of columns) {
    if (!COST_COLUMN.test(name) || (name.startsWith('currency') && !name.startsWith('currencyconversion'))) continue
    const amount = fields.nonZeroAmount(name)
    if (amount === null) continue
    const told = fields.text(`currency${name}`) || (/(?:fee|tax|duty|levy)([a-z]{3})$/.exec(name)?.[1] ?? '')
    const money = parseCurrency(told)
    if (money === null) {
      fields.addError(name, 'has no currency')
      continue
    }
    const paid = money.toMajor(abs(amount))
    if (money.currency === trade.currency && isZero(fees)) fees = paid
    else
      apart.push(costDraft('fee', paid, { asset: trade.asset, currency: money.currency, traded_at: trade.traded_at }))
  }
  return [{ ...trade, fees }, ...apart]
}

/** The price of a share is what was left of the dividend: what was withheld belongs to the income, and is a tax. */
function dividendDrafts(fields: RowFields, paid: ActivityDraft): ActivityDraft[] {
  const withheld = fields.nonZeroAmount('withholdingtax')
  if (withheld === null) return [paid]
  const money = fields.currency('currencywithholdingtax')
  const part = { ...paid, quantity: '1', price: money.toMajor(abs(withheld)), currency: money.currency }
  return [paid, { ...part, note: 'the part that was withheld' }, costDraft('tax', part.price, { ...part, note: null })]
}

function interestDrafts(fields: RowFields): ActivityDraft[] {
  const told = fields.text('currencytotal') || (/^total([a-z]{3})$/.exec(totalColumn(fields))?.[1] ?? '')
  const money = parseCurrency(told)
  if (money === null) fields.addError('currencytotal', 'is missing')
  const total = fields.amount([totalColumn(fields)])
  const parts = { currency: money?.currency ?? 'EUR', traded_at: fields.time('time'), note: fields.text('action') }
  return [
    isNegative(total)
      ? costDraft('fee', negate(total), parts)
      : createDraft({ ...parts, kind: 'interest', price: total }),
  ]
}

const totalColumn = (fields: RowFields): string =>
  ['total', 'totaleur', 'totalgbp', 'totalusd', 'totalchf', 'totalpln', 'totalczk', 'totalron', 'totalhuf'].find(
    (name) => fields.has(name),
  ) ?? 'total'

function readRow(fields: RowFields, columns: readonly string[]): RowResult {
  const told = fields.text('action')
  const action = told.toLowerCase()
  if (/^(deposit|withdrawal|currency conversion|card |new card|cash transfer|result adjustment)/.test(action))
    return { skipped: 'a movement of money' }
  if (/interest|cashback/.test(action)) return interestDrafts(fields)
  const known = /\b(buy|sell)\b|^dividend|^stock distribution|^transfer (in|out)|^stock split (open|close)/.exec(action)
  if (known === null) {
    fields.addError('action', unknownKindMessage(told))
    return []
  }
  const money = fields.currency(PRICE_CURRENCY)
  const line = createDraft({
    kind: 'buy',
    asset: importAsset({
      symbol: fields.text('ticker').toUpperCase(),
      isin: fields.text('isin').toUpperCase(),
      name: fields.text('name'),
    }),
    quantity: abs(fields.amount([SHARES])),
    price: money.toMajor(abs(fields.amount([PRICE]))),
    currency: money.currency,
    traded_at: fields.time('time'),
  })
  if (line.asset?.symbol === null && line.asset.isin === null) fields.addError('ticker', 'is missing')
  if (known[1] !== undefined) return withFees(fields, columns, { ...line, kind: known[1] === 'buy' ? 'buy' : 'sell' })
  if (known[2] !== undefined) return [{ ...line, kind: known[2] === 'in' ? 'transfer_in' : 'transfer_out' }]
  if (known[3] !== undefined) return [{ ...line, kind: 'split', price: '0', note: known[3] }]
  if (action.startsWith('dividend')) return dividendDrafts(fields, { ...line, kind: 'dividend' })
  return [line]
}

const SPLIT_PAIR_GAP_MS = 60_000

/** A split stands as two rows: what was closed, and what was opened for it. */
function joinSplits(rows: readonly ImportRow[]): ImportRow[] {
  const splits = rows.filter((row) => isActivity(row)).filter(({ kind }) => kind === 'split')
  const other = (row: (typeof splits)[number]) =>
    splits.find(
      (one) =>
        one.note !== row.note &&
        one.asset?.isin === row.asset?.isin &&
        one.asset?.symbol === row.asset?.symbol &&
        Math.abs(Date.parse(one.traded_at) - Date.parse(row.traded_at)) <= SPLIT_PAIR_GAP_MS,
    )
  return rows.map((row) => {
    if (!isActivity(row) || row.kind !== 'split') return row
    const pair = other(row)
    if (pair === undefined || isZero(pair.quantity) || isZero(row.quantity))
      return {
        row: row.row,
        error: { field: 'action', message: `the other half of this split of ${row.asset?.symbol} is missing` },
      }
    if (row.note === 'close') return { row: row.row, skipped: `the split is told with row ${pair.row}` }
    return { ...row, quantity: '0', note: null, split: splitRatio(row.quantity, pair.quantity) }
  })
}

/** Trading 212's history. */
export const trading212: ImportReader = {
  format: 'trading212',
  matches: (columns) => ['action', 'time', 'ticker', SHARES, PRICE].every((name) => columns.has(name)),
  read(table) {
    const straight = fixMisplacedColumns(table)
    return joinSplits(readRows(straight, { style: 'point', order: 'dmy' }, (fields) => readRow(fields, table.columns)))
  },
}
