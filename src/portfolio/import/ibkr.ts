import { abs, isNegative, isZero, multiply, negate } from './amount.ts'
import { type RowFields, readRows } from './fields.ts'
import { unknownKindMessage } from './kind.ts'
import type { ImportReader } from './reader.ts'
import { type ActivityDraft, costDraft, createDraft, type ImportAsset, importAsset, type RowResult } from './row.ts'

function readAsset(fields: RowFields): ImportAsset {
  return importAsset({
    symbol: fields.text('symbol').toUpperCase(),
    isin: fields.text('isin').toUpperCase(),
    name: fields.text('description'),
  })
}

/** `USD.CHF`, `EUR.USD`: one currency for another. */
const isForex = (fields: RowFields): boolean =>
  fields.text('assetclass') === 'CASH' ||
  (fields.text('isin') === '' && /^([A-Z]{3}\.[A-Z]{3})?$/.test(fields.text('symbol')))

/** The commission, and the taxes of the trade: below 0 when they were paid. */
function readFees(
  fields: RowFields,
  currency: string,
  parts: Pick<ActivityDraft, 'asset' | 'traded_at'>,
): { fees: string; apart: ActivityDraft[] } {
  const commission = negate(fields.amount(['ibcommission', 'commission'], '0'))
  const taxes = fields.nonZeroAmount('taxes')
  const tax = taxes === null ? [] : [costDraft('tax', abs(taxes), { ...parts, currency })]
  const told = fields.text('ibcommissioncurrency') === '' ? currency : fields.currency('ibcommissioncurrency').currency
  if (told === currency || isZero(commission)) return { fees: commission, apart: tax }
  return { fees: '0', apart: [costDraft('fee', commission, { ...parts, currency: told }), ...tax] }
}

function readTrade(fields: RowFields): RowResult {
  const traded_at = fields.time('datetime', 'tradedate')
  const money = fields.currency('currencyprimary', 'currency')
  const quantity = fields.amount(['quantity'])
  if (isForex(fields)) {
    const { fees, apart } = readFees(fields, money.currency, { asset: null, traded_at })
    const paid = isZero(fees) ? apart : [costDraft('fee', fees, { currency: money.currency, traded_at })]
    const noted = paid.map((fee) => ({ ...fee, note: 'one currency for another' }))
    return noted.length > 0 ? noted : { skipped: 'one currency for another' }
  }
  const told = fields.text('buysell')
  const side = told.toUpperCase().replace(/ \(CA\.\)$/, '')
  if (!/^(BUY|SELL)$/.test(side)) fields.addError('buysell', unknownKindMessage(told))
  const asset = readAsset(fields)
  const { fees, apart } = readFees(fields, money.currency, { asset, traded_at })
  // An option's price is that of one unit of what it is on.
  const multiplier = fields.nonZeroAmount('multiplier') ?? '1'
  const price = multiply(abs(fields.amount(['tradeprice', 'price'])), multiplier)
  const trade = createDraft({
    kind: side === 'SELL' ? 'sell' : 'buy',
    asset,
    quantity: abs(quantity),
    price: money.toMajor(price),
    fees: money.toMajor(fees),
    currency: money.currency,
    traded_at,
  })
  return [trade, ...apart]
}

/** Money that came or went: what came for a dividend, or went for a tax, may be taken back later. */
function readCash(fields: RowFields): RowResult {
  const told = fields.text('type')
  const type = told.toLowerCase()
  const money = fields.currency('currencyprimary', 'currency')
  const amount = money.toMajor(fields.amount(['amount']))
  const asset = fields.text('isin') === '' && fields.text('symbol') === '' ? null : readAsset(fields)
  const parts = {
    currency: money.currency,
    traded_at: fields.time('datetime', 'settledate', 'reportdate', 'date'),
    note: fields.text('description') || null,
    asset: asset === null ? null : { ...asset, name: null },
  }
  const paid = negate(amount)
  if (/deposit|withdrawal/.test(type)) return { skipped: 'a movement of money' }
  if (/tax/.test(type)) return [costDraft('tax', paid, parts)]
  if (/dividend/.test(type)) {
    if (parts.asset === null) fields.addError('isin', 'is missing')
    return [
      createDraft({
        ...parts,
        kind: 'dividend',
        ...(isNegative(amount) ? { quantity: '0', fees: paid } : { price: amount }),
      }),
    ]
  }
  if (/interest/.test(type))
    return [
      isNegative(amount) ? costDraft('fee', paid, parts) : createDraft({ ...parts, kind: 'interest', price: amount }),
    ]
  if (/fee|commission/.test(type)) return [costDraft('fee', paid, parts)]
  fields.addError('type', unknownKindMessage(told))
  return []
}

/** Trades of an activity flex query of Interactive Brokers. */
export const ibkrTrades: ImportReader = {
  format: 'ibkr',
  matches: (columns) =>
    ['buysell', 'tradedate', 'tradeprice', 'quantity', 'currencyprimary'].every((name) => columns.has(name)),
  read: (table) => readRows(table, { style: 'point', order: 'mdy' }, readTrade),
}

/** Its cash transactions: dividends, taxes, interest, fees. */
export const ibkrCash: ImportReader = {
  format: 'ibkr-cash',
  matches: (columns) =>
    ['type', 'amount', 'currencyprimary', 'description'].every((name) => columns.has(name)) &&
    !columns.has('tradeprice'),
  read: (table) => readRows(table, { style: 'point', order: 'mdy' }, readCash),
}
