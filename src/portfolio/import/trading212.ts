import { abs, isZero } from './amount.ts'
import { parseCurrency } from './money.ts'
import { columnIndexes, type ImportReader, type RowFields, readRows } from './reader.ts'
import {
  type ActivityDraft,
  CASH_MOVEMENT,
  cashDraft,
  costDraft,
  createDraft,
  type ImportRow,
  importAsset,
  isActivity,
  type RowResult,
  separateFee,
} from './row.ts'
import { splitDraft } from './split-ratio.ts'
import type { Table } from './table.ts'

const SHARES = 'noofshares'
const PRICE = 'priceshare'
const PRICE_CURRENCY = 'currencypriceshare'

/** Names of columns with costs of a trade; the currency is in a column of its own, or part of the name. */
const COST_COLUMN = /fee|duty|transactiontax|levy/

/**
 * The table with notes and number moved behind the shares: a newer version of the export writes them before the shares,
 * under the column names of the older one.
 */
function fixMisplacedColumns(table: Table): Table {
  const indexes = columnIndexes(table.columns)
  const [shares, notes] = [indexes.get(SHARES), indexes.get('notes')]
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

/** A trade with its fees: those in its currency are part of it, others are activities of their own. */
function withFees(fields: RowFields, trade: ActivityDraft): ActivityDraft[] {
  let fees = '0'
  const separate: ActivityDraft[] = []
  for (const name of fields.columns) {
    if (!COST_COLUMN.test(name) || (name.startsWith('currency') && !name.startsWith('currencyconversion'))) continue
    const fee = fields.nonZeroAmount(name)
    if (fee === null) continue
    const currency = fields.text(`currency${name}`) || (/(?:fee|tax|duty|levy)([a-z]{3})$/.exec(name)?.[1] ?? '')
    const unit = parseCurrency(currency)
    if (unit === null) {
      fields.addError(name, 'has no currency')
      continue
    }
    const amount = unit.toMajor(abs(fee))
    if (unit.currency === trade.currency && isZero(fees)) fees = amount
    else separate.push(separateFee(trade, { amount, currency: unit.currency }))
  }
  return [{ ...trade, fees }, ...separate]
}

/** The price per share is net of tax: the withheld tax belongs to the income, and is a tax. */
function dividendDrafts(fields: RowFields, paid: ActivityDraft): ActivityDraft[] {
  const withheld = fields.nonZeroAmount('withholdingtax')
  if (withheld === null) return [paid]
  const { currency, toMajor } = fields.currency('currencywithholdingtax')
  const part = { ...paid, quantity: '1', price: toMajor(abs(withheld)), currency }
  return [paid, { ...part, note: 'the part that was withheld' }, costDraft('tax', part.price, part)]
}

function interestDraft(fields: RowFields): ActivityDraft {
  const column = [
    'total',
    'totaleur',
    'totalgbp',
    'totalusd',
    'totalchf',
    'totalpln',
    'totalczk',
    'totalron',
    'totalhuf',
  ]
  const total = column.find((name) => fields.has(name)) ?? 'total'
  const currency = fields.text('currencytotal') || (/^total([a-z]{3})$/.exec(total)?.[1] ?? '')
  const unit = parseCurrency(currency)
  if (unit === null) fields.addError('currencytotal', 'is missing')
  const change = fields.amount([total])
  return cashDraft('interest', change, {
    currency: unit?.currency ?? 'EUR',
    traded_at: fields.time('time'),
    note: fields.text('action'),
  })
}

function readRow(fields: RowFields): RowResult {
  const action = fields.text('action').toLowerCase()
  if (/^(deposit|withdrawal|currency conversion|card |new card|cash transfer|result adjustment)/.test(action))
    return CASH_MOVEMENT
  if (/interest|cashback/.test(action)) return [interestDraft(fields)]
  const known = /\b(buy|sell)\b|^dividend|^stock distribution|^transfer (in|out)|^stock split (open|close)/.exec(action)
  if (known === null) return fields.unknownKind('action')
  const [, side, transfer, split] = known
  const { currency, toMajor } = fields.currency(PRICE_CURRENCY)
  const line = createDraft({
    kind: 'buy',
    asset: importAsset({
      symbol: fields.text('ticker').toUpperCase(),
      isin: fields.text('isin').toUpperCase(),
      name: fields.text('name'),
    }),
    quantity: abs(fields.amount([SHARES])),
    price: toMajor(abs(fields.amount([PRICE]))),
    currency,
    traded_at: fields.time('time'),
  })
  if (line.asset?.symbol === null && line.asset.isin === null) fields.addError('ticker', 'is missing')
  if (side !== undefined) return withFees(fields, { ...line, kind: side === 'buy' ? 'buy' : 'sell' })
  if (transfer !== undefined) return [{ ...line, kind: transfer === 'in' ? 'transfer_in' : 'transfer_out' }]
  if (split !== undefined) return [{ ...line, kind: 'split', note: split }]
  return action.startsWith('dividend') ? dividendDrafts(fields, { ...line, kind: 'dividend' }) : [line]
}

const SPLIT_PAIR_GAP_MS = 60_000

/** A split has two rows: the shares that were closed, and those that were opened for them. */
function joinSplits(rows: readonly ImportRow[]): ImportRow[] {
  const splits = rows.filter((row) => isActivity(row)).filter(({ kind }) => kind === 'split')
  return rows.map((row) => {
    if (!isActivity(row) || row.kind !== 'split') return row
    const pair = splits.find(
      (other) =>
        other.note !== row.note &&
        other.asset?.isin === row.asset?.isin &&
        other.asset?.symbol === row.asset?.symbol &&
        Math.abs(Date.parse(other.traded_at) - Date.parse(row.traded_at)) <= SPLIT_PAIR_GAP_MS,
    )
    if (pair === undefined || isZero(pair.quantity) || isZero(row.quantity)) {
      const message = `the other half of this split of ${row.asset?.symbol} is missing`
      return { row: row.row, error: { field: 'action', message } }
    }
    if (row.note === 'close') return { row: row.row, skipped: `part of the split in row ${pair.row}` }
    return { row: row.row, ...splitDraft({ ...row, note: null }, row.quantity, pair.quantity) }
  })
}

/** Trading 212's history. */
export const trading212: ImportReader = {
  format: 'trading212',
  columns: ['action', 'time', 'ticker', SHARES, PRICE],
  read: (table) => joinSplits(readRows(fixMisplacedColumns(table), { style: 'point', order: 'dmy' }, readRow)),
}
