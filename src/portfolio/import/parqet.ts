import { isZero, positive, unitPrice } from './amount.ts'
import { type Fields, readRows } from './fields.ts'
import { unknownKind } from './kind.ts'
import type { Reader } from './reader.ts'
import { assetNamed, cost, draft, type Said } from './row.ts'
import { columnName } from './table.ts'

const KINDS = {
  buy: 'buy',
  sell: 'sell',
  dividend: 'dividend',
  transferin: 'transfer_in',
  transferout: 'transfer_out',
} as const

function read(fields: Fields): Said {
  const told = fields.text('type')
  const type = columnName(told)
  const money = fields.money('currency')
  const identifier = fields.text('identifier', 'isin', 'symbol').toUpperCase()
  const crypto = /crypto/i.test(fields.text('assettype'))
  const isin = /^[A-Z]{2}[A-Z0-9]{9}\d$/.test(identifier)
  const asset = assetNamed(
    { [isin ? 'isin' : 'symbol']: identifier, name: fields.text('holdingnickname', 'holdingname') },
    crypto,
  )
  const traded_at = fields.instant('datetime', 'date')
  const [amount, tax, fee] = ['amount', 'tax', 'fee'].map((name) => fields.amount([name], '0')) as [
    string,
    string,
    string,
  ]
  const parts = draft({ kind: 'fee', asset, currency: money.currency, traded_at, fees: money.amount(fee) })
  const taxes = isZero(tax) ? [] : [cost('tax', money.amount(tax), parts)]

  if (
    type === 'interest' ||
    type === 'fees' ||
    type === 'cost' ||
    type === 'costs' ||
    type === 'fee' ||
    type === 'tax'
  ) {
    const kind = type === 'interest' ? 'interest' : type === 'tax' ? 'tax' : 'fee'
    return [
      { ...parts, kind, asset: null, price: money.amount(positive(amount)) },
      ...taxes.map((one) => ({ ...one, asset: null })),
    ]
  }
  if (type === 'deposit' || type === 'withdrawal' || /^cash$/i.test(fields.text('assettype')))
    return { skipped: 'a movement of money' }
  const kind = KINDS[type as keyof typeof KINDS]
  if (kind === undefined) {
    fields.fault('type', unknownKind(told))
    return []
  }
  if (identifier === '') fields.fault('identifier', 'is missing')
  const quantity = positive(fields.amount(['shares']))
  const given = fields.text('price')
  const price =
    given === '' && !isZero(quantity) ? unitPrice(positive(amount), quantity) : positive(fields.amount(['price']))
  return [{ ...parts, kind, quantity, price: money.amount(price) }, ...taxes]
}

/** Parqet's export of activities: semicolons, decimal commas. */
export const parqet: Reader = {
  format: 'parqet',
  fits: (columns) =>
    ['datetime', 'price', 'shares', 'type', 'identifier', 'assettype'].every((name) => columns.has(name)),
  read: (table) => readRows(table, { style: 'comma', order: 'dmy' }, read),
}
