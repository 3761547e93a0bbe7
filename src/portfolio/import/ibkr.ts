import { abs, isZero, multiply, negate } from './amount.ts'
import { firstMatch } from './kind.ts'
import type { CurrencyUnit } from './money.ts'
import { type ImportReader, type RowFields, readRows } from './reader.ts'
import {
  type ActivityDraft,
  CASH_MOVEMENT,
  type CashKind,
  cashDraft,
  costDraft,
  createDraft,
  type ImportAsset,
  importAsset,
  type Money,
  type RowResult,
  withFee,
} from './row.ts'

const readAsset = (fields: RowFields): ImportAsset =>
  importAsset({
    symbol: fields.text('symbol').toUpperCase(),
    isin: fields.text('isin').toUpperCase(),
    name: fields.text('description'),
  })

/** `USD.CHF`, `EUR.USD`: one currency for another. */
const isForex = (fields: RowFields): boolean =>
  fields.text('assetclass') === 'CASH' ||
  (fields.text('isin') === '' && /^([A-Z]{3}\.[A-Z]{3})?$/.test(fields.text('symbol')))

/** The commission, which the file has below 0. */
function readCommission(fields: RowFields, unit: CurrencyUnit): Money | null {
  const commission = negate(fields.amount(['ibcommission', 'commission'], '0'))
  const own = fields.text('ibcommissioncurrency') === '' ? unit : fields.currency('ibcommissioncurrency')
  return isZero(commission) ? null : { amount: own.toMajor(commission), currency: own.currency }
}

function readTrade(fields: RowFields): RowResult {
  const traded_at = fields.time('datetime', 'tradedate')
  const unit = fields.currency('currencyprimary', 'currency')
  const { currency, toMajor } = unit
  const quantity = abs(fields.amount(['quantity']))
  const forex = isForex(fields)
  const side = fields
    .text('buysell')
    .toUpperCase()
    .replace(/ \(CA\.\)$/, '')
  if (!forex && !/^(BUY|SELL)$/.test(side)) fields.unknownKind('buysell')
  const asset = forex ? null : readAsset(fields)
  const fee = readCommission(fields, unit)
  const tax = fields.nonZeroAmount('taxes')
  const taxes = tax === null ? [] : [costDraft('tax', toMajor(abs(tax)), { asset, currency, traded_at })]
  if (forex) {
    const note = 'a currency exchange'
    const costs: ActivityDraft[] =
      fee === null ? taxes : [costDraft('fee', fee.amount, { ...fee, traded_at }), ...taxes]
    return costs.length > 0 ? costs.map((cost) => ({ ...cost, note })) : { skipped: note }
  }
  // The price of an option is that of one unit of its underlying.
  const multiplier = fields.nonZeroAmount('multiplier') ?? '1'
  const price = toMajor(multiply(abs(fields.amount(['tradeprice', 'price'])), multiplier))
  const kind = side === 'SELL' ? 'sell' : 'buy'
  return [...withFee(createDraft({ kind, asset, quantity, price, currency, traded_at }), fee), ...taxes]
}

/** The first match counts. */
const CASH_KINDS: readonly [RegExp, CashKind | 'transfer'][] = [
  [/deposit|withdrawal/, 'transfer'],
  [/tax/, 'tax'],
  [/dividend/, 'dividend'],
  [/interest/, 'interest'],
  [/fee|commission/, 'fee'],
]

/** A change of the cash balance. Dividends and taxes may be taken back later. */
function readCash(fields: RowFields): RowResult {
  const type = fields.text('type').toLowerCase()
  const { currency, toMajor } = fields.currency('currencyprimary', 'currency')
  const change = toMajor(fields.amount(['amount']))
  const noAsset = fields.text('isin') === '' && fields.text('symbol') === ''
  const parts = {
    currency,
    traded_at: fields.time('datetime', 'settledate', 'reportdate', 'date'),
    note: fields.text('description') || null,
    asset: noAsset ? null : { ...readAsset(fields), name: null },
  }
  const kind = firstMatch(type, CASH_KINDS)
  if (kind === null) return fields.unknownKind('type')
  if (kind === 'transfer') return CASH_MOVEMENT
  if (kind === 'dividend' && noAsset) fields.addError('isin', 'is missing')
  return [cashDraft(kind, change, parts)]
}

/** Trades of an activity flex query of Interactive Brokers. */
export const ibkrTrades: ImportReader = {
  format: 'ibkr',
  columns: ['buysell', 'tradedate', 'tradeprice', 'quantity', 'currencyprimary'],
  read: (table) => readRows(table, { style: 'point', order: 'mdy' }, readTrade),
}

/** Its cash transactions: dividends, taxes, interest, fees. */
export const ibkrCash: ImportReader = {
  format: 'ibkr-cash',
  columns: ['type', 'amount', 'currencyprimary', 'description'],
  without: 'tradeprice',
  read: (table) => readRows(table, { style: 'point', order: 'mdy' }, readCash),
}
