import { abs, isZero, unitPrice } from './amount.ts'
import { type RowFields, readRows } from './fields.ts'
import { unknownKindMessage } from './kind.ts'
import type { ImportReader } from './reader.ts'
import { costDraft, createDraft, importAsset, type RowResult } from './row.ts'
import { normalizeColumnName } from './table.ts'

const KINDS = {
  buy: 'buy',
  sell: 'sell',
  dividend: 'dividend',
  transferin: 'transfer_in',
  transferout: 'transfer_out',
} as const

function readRow(fields: RowFields): RowResult {
  const told = fields.text('type')
  const type = normalizeColumnName(told)
  const money = fields.currency('currency')
  const identifier = fields.text('identifier', 'isin', 'symbol').toUpperCase()
  const crypto = /crypto/i.test(fields.text('assettype'))
  const isin = /^[A-Z]{2}[A-Z0-9]{9}\d$/.test(identifier)
  const asset = importAsset(
    { [isin ? 'isin' : 'symbol']: identifier, name: fields.text('holdingnickname', 'holdingname') },
    crypto,
  )
  const traded_at = fields.time('datetime', 'date')
  const [amount, tax, fee] = ['amount', 'tax', 'fee'].map((name) => fields.amount([name], '0')) as [
    string,
    string,
    string,
  ]
  const parts = createDraft({ kind: 'fee', asset, currency: money.currency, traded_at, fees: money.toMajor(fee) })
  const taxes = isZero(tax) ? [] : [costDraft('tax', money.toMajor(tax), parts)]

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
      { ...parts, kind, asset: null, price: money.toMajor(abs(amount)) },
      ...taxes.map((one) => ({ ...one, asset: null })),
    ]
  }
  if (type === 'deposit' || type === 'withdrawal' || /^cash$/i.test(fields.text('assettype')))
    return { skipped: 'a movement of money' }
  const kind = KINDS[type as keyof typeof KINDS]
  if (kind === undefined) {
    fields.addError('type', unknownKindMessage(told))
    return []
  }
  if (identifier === '') fields.addError('identifier', 'is missing')
  const quantity = abs(fields.amount(['shares']))
  const given = fields.text('price')
  const price = given === '' && !isZero(quantity) ? unitPrice(abs(amount), quantity) : abs(fields.amount(['price']))
  return [{ ...parts, kind, quantity, price: money.toMajor(price) }, ...taxes]
}

/** Parqet's export of activities: semicolons, decimal commas. */
export const parqet: ImportReader = {
  format: 'parqet',
  matches: (columns) =>
    ['datetime', 'price', 'shares', 'type', 'identifier', 'assettype'].every((name) => columns.has(name)),
  read: (table) => readRows(table, { style: 'comma', order: 'dmy' }, readRow),
}
