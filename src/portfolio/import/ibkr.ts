import { isNegative, isZero, negated, positive, times } from './amount.ts'
import { type Fields, readRows } from './fields.ts'
import { unknownKind } from './kind.ts'
import type { Reader } from './reader.ts'
import { assetNamed, cost, type Draft, draft, type ImportAsset, type Said } from './row.ts'

function assetOf(fields: Fields): ImportAsset {
  return assetNamed({
    symbol: fields.text('symbol').toUpperCase(),
    isin: fields.text('isin').toUpperCase(),
    name: fields.text('description'),
  })
}

/** `USD.CHF`, `EUR.USD`: one currency for another. */
const isForex = (fields: Fields): boolean =>
  fields.text('assetclass') === 'CASH' ||
  (fields.text('isin') === '' && /^([A-Z]{3}\.[A-Z]{3})?$/.test(fields.text('symbol')))

/** The commission, and the taxes of the trade: below 0 when they were paid. */
function costsOf(
  fields: Fields,
  currency: string,
  parts: Pick<Draft, 'asset' | 'traded_at'>,
): { fees: string; apart: Draft[] } {
  const commission = negated(fields.amount(['ibcommission', 'commission'], '0'))
  const taxes = fields.given('taxes')
  const tax = taxes === null ? [] : [cost('tax', positive(taxes), { ...parts, currency })]
  const told = fields.text('ibcommissioncurrency') === '' ? currency : fields.money('ibcommissioncurrency').currency
  if (told === currency || isZero(commission)) return { fees: commission, apart: tax }
  return { fees: '0', apart: [cost('fee', commission, { ...parts, currency: told }), ...tax] }
}

function readTrade(fields: Fields): Said {
  const traded_at = fields.instant('datetime', 'tradedate')
  const money = fields.money('currencyprimary', 'currency')
  const quantity = fields.amount(['quantity'])
  if (isForex(fields)) {
    const { fees, apart } = costsOf(fields, money.currency, { asset: null, traded_at })
    const paid = isZero(fees) ? apart : [cost('fee', fees, { currency: money.currency, traded_at })]
    const noted = paid.map((fee) => ({ ...fee, note: 'one currency for another' }))
    return noted.length > 0 ? noted : { skipped: 'one currency for another' }
  }
  const told = fields.text('buysell')
  const side = told.toUpperCase().replace(/ \(CA\.\)$/, '')
  if (!/^(BUY|SELL)$/.test(side)) fields.fault('buysell', unknownKind(told))
  const asset = assetOf(fields)
  const { fees, apart } = costsOf(fields, money.currency, { asset, traded_at })
  // An option's price is that of one unit of what it is on.
  const multiplier = fields.given('multiplier') ?? '1'
  const price = times(positive(fields.amount(['tradeprice', 'price'])), multiplier)
  const trade = draft({
    kind: side === 'SELL' ? 'sell' : 'buy',
    asset,
    quantity: positive(quantity),
    price: money.amount(price),
    fees: money.amount(fees),
    currency: money.currency,
    traded_at,
  })
  return [trade, ...apart]
}

/** Money that came or went: what came for a dividend, or went for a tax, may be taken back later. */
function readCash(fields: Fields): Said {
  const told = fields.text('type')
  const type = told.toLowerCase()
  const money = fields.money('currencyprimary', 'currency')
  const amount = money.amount(fields.amount(['amount']))
  const asset = fields.text('isin') === '' && fields.text('symbol') === '' ? null : assetOf(fields)
  const parts = {
    currency: money.currency,
    traded_at: fields.instant('datetime', 'settledate', 'reportdate', 'date'),
    note: fields.text('description') || null,
    asset: asset === null ? null : { ...asset, name: null },
  }
  const paid = negated(amount)
  if (/deposit|withdrawal/.test(type)) return { skipped: 'a movement of money' }
  if (/tax/.test(type)) return [cost('tax', paid, parts)]
  if (/dividend/.test(type)) {
    if (parts.asset === null) fields.fault('isin', 'is missing')
    return [
      draft({
        ...parts,
        kind: 'dividend',
        ...(isNegative(amount) ? { quantity: '0', fees: paid } : { price: amount }),
      }),
    ]
  }
  if (/interest/.test(type))
    return [isNegative(amount) ? cost('fee', paid, parts) : draft({ ...parts, kind: 'interest', price: amount })]
  if (/fee|commission/.test(type)) return [cost('fee', paid, parts)]
  fields.fault('type', unknownKind(told))
  return []
}

/** Trades of an activity flex query of Interactive Brokers. */
export const ibkrTrades: Reader = {
  format: 'ibkr',
  fits: (columns) =>
    ['buysell', 'tradedate', 'tradeprice', 'quantity', 'currencyprimary'].every((name) => columns.has(name)),
  read: (table) => readRows(table, { style: 'point', order: 'mdy' }, readTrade),
}

/** Its cash transactions: dividends, taxes, interest, fees. */
export const ibkrCash: Reader = {
  format: 'ibkr-cash',
  fits: (columns) =>
    ['type', 'amount', 'currencyprimary', 'description'].every((name) => columns.has(name)) &&
    !columns.has('tradeprice'),
  read: (table) => readRows(table, { style: 'point', order: 'mdy' }, readCash),
}
