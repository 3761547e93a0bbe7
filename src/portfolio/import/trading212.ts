import { isNegative, isZero, negated, positive } from './amount.ts'
import { type Fields, placesOf, readRows } from './fields.ts'
import { unknownKind } from './kind.ts'
import { moneyOf } from './money.ts'
import type { Reader } from './reader.ts'
import { assetNamed, cost, type Draft, draft, type ImportRow, isActivity, type Said } from './row.ts'
import { splitRatio } from './split-ratio.ts'
import type { Table } from './table.ts'

const SHARES = 'noofshares'
const PRICE = 'priceshare'
const PRICE_CURRENCY = 'currencypriceshare'

/** Costs of a trade, by the names of their columns; the currency stands in a column of its own, or in the name. */
const COST = /fee|duty|transactiontax|levy/

/**
 * Rows whose notes and number stand before the shares, as the next generation of the export has them, under the names of
 * the one before.
 */
function straightened(table: Table): Table {
  const places = placesOf(table.columns)
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
function costsOf(fields: Fields, columns: readonly string[], trade: Draft): Draft[] {
  let fees = '0'
  const apart: Draft[] = []
  for (const name of columns) {
    if (!COST.test(name) || (name.startsWith('currency') && !name.startsWith('currencyconversion'))) continue
    const amount = fields.given(name)
    if (amount === null) continue
    const told = fields.text(`currency${name}`) || (/(?:fee|tax|duty|levy)([a-z]{3})$/.exec(name)?.[1] ?? '')
    const money = moneyOf(told)
    if (money === null) {
      fields.fault(name, 'has no currency')
      continue
    }
    const paid = money.amount(positive(amount))
    if (money.currency === trade.currency && isZero(fees)) fees = paid
    else apart.push(cost('fee', paid, { asset: trade.asset, currency: money.currency, traded_at: trade.traded_at }))
  }
  return [{ ...trade, fees }, ...apart]
}

/** The price of a share is what was left of the dividend: what was withheld belongs to the income, and is a tax. */
function dividendOf(fields: Fields, paid: Draft): Draft[] {
  const withheld = fields.given('withholdingtax')
  if (withheld === null) return [paid]
  const money = fields.money('currencywithholdingtax')
  const part = { ...paid, quantity: '1', price: money.amount(positive(withheld)), currency: money.currency }
  return [paid, { ...part, note: 'the part that was withheld' }, cost('tax', part.price, { ...part, note: null })]
}

function interestOf(fields: Fields): Draft[] {
  const told = fields.text('currencytotal') || (/^total([a-z]{3})$/.exec(totalName(fields))?.[1] ?? '')
  const money = moneyOf(told)
  if (money === null) fields.fault('currencytotal', 'is missing')
  const total = fields.amount([totalName(fields)])
  const parts = { currency: money?.currency ?? 'EUR', traded_at: fields.instant('time'), note: fields.text('action') }
  return [isNegative(total) ? cost('fee', negated(total), parts) : draft({ ...parts, kind: 'interest', price: total })]
}

const totalName = (fields: Fields): string =>
  ['total', 'totaleur', 'totalgbp', 'totalusd', 'totalchf', 'totalpln', 'totalczk', 'totalron', 'totalhuf'].find(
    (name) => fields.has(name),
  ) ?? 'total'

function read(fields: Fields, columns: readonly string[]): Said {
  const told = fields.text('action')
  const action = told.toLowerCase()
  if (/^(deposit|withdrawal|currency conversion|card |new card|cash transfer|result adjustment)/.test(action))
    return { skipped: 'a movement of money' }
  if (/interest|cashback/.test(action)) return interestOf(fields)
  const known = /\b(buy|sell)\b|^dividend|^stock distribution|^transfer (in|out)|^stock split (open|close)/.exec(action)
  if (known === null) {
    fields.fault('action', unknownKind(told))
    return []
  }
  const money = fields.money(PRICE_CURRENCY)
  const line = draft({
    kind: 'buy',
    asset: assetNamed({
      symbol: fields.text('ticker').toUpperCase(),
      isin: fields.text('isin').toUpperCase(),
      name: fields.text('name'),
    }),
    quantity: positive(fields.amount([SHARES])),
    price: money.amount(positive(fields.amount([PRICE]))),
    currency: money.currency,
    traded_at: fields.instant('time'),
  })
  if (line.asset?.symbol === null && line.asset.isin === null) fields.fault('ticker', 'is missing')
  if (known[1] !== undefined) return costsOf(fields, columns, { ...line, kind: known[1] === 'buy' ? 'buy' : 'sell' })
  if (known[2] !== undefined) return [{ ...line, kind: known[2] === 'in' ? 'transfer_in' : 'transfer_out' }]
  if (known[3] !== undefined) return [{ ...line, kind: 'split', price: '0', note: known[3] }]
  if (action.startsWith('dividend')) return dividendOf(fields, { ...line, kind: 'dividend' })
  return [line]
}

const NEAR_MS = 60_000

/** A split stands as two rows: what was closed, and what was opened for it. */
function joinSplits(rows: readonly ImportRow[]): ImportRow[] {
  const splits = rows.filter((row) => isActivity(row)).filter(({ kind }) => kind === 'split')
  const other = (row: (typeof splits)[number]) =>
    splits.find(
      (one) =>
        one.note !== row.note &&
        one.asset?.isin === row.asset?.isin &&
        one.asset?.symbol === row.asset?.symbol &&
        Math.abs(Date.parse(one.traded_at) - Date.parse(row.traded_at)) <= NEAR_MS,
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
export const trading212: Reader = {
  format: 'trading212',
  fits: (columns) => ['action', 'time', 'ticker', SHARES, PRICE].every((name) => columns.has(name)),
  read(table) {
    const straight = straightened(table)
    return joinSplits(readRows(straight, { style: 'point', order: 'dmy' }, (fields) => read(fields, table.columns)))
  },
}
