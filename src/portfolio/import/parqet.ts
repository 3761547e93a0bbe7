import type { ActivityKind } from '../../protocol/portfolio.ts'
import { abs, isZero, unitPrice } from './amount.ts'
import { type ImportReader, type RowFields, readRows } from './reader.ts'
import {
  type ActivityDraft,
  CASH_MOVEMENT,
  costDraft,
  createDraft,
  importAsset,
  isIsin,
  type RowResult,
} from './row.ts'
import { normalizeColumnName } from './table.ts'

/** Types of rows about shares. */
const TRADE_KINDS = new Map<string, ActivityKind>([
  ['buy', 'buy'],
  ['sell', 'sell'],
  ['dividend', 'dividend'],
  ['transferin', 'transfer_in'],
  ['transferout', 'transfer_out'],
])

function readRow(fields: RowFields): RowResult {
  const type = normalizeColumnName(fields.text('type'))
  const { currency, toMajor } = fields.currency('currency')
  const identifier = fields.text('identifier', 'isin', 'symbol').toUpperCase()
  const asset = importAsset(
    {
      [isIsin(identifier) ? 'isin' : 'symbol']: identifier,
      name: fields.text('holdingnickname', 'holdingname'),
    },
    /crypto/i.test(fields.text('assettype')),
  )
  const traded_at = fields.time('datetime', 'date')
  const amount = abs(fields.amount(['amount'], '0'))
  const tax = fields.amount(['tax'], '0')
  const fees = toMajor(fields.amount(['fee'], '0'))
  const parts = createDraft({ kind: 'fee', asset, currency, traded_at, fees })
  const taxes = isZero(tax) ? [] : [costDraft('tax', toMajor(tax), parts)]

  if (/^(?:interest|tax|fees?|costs?)$/.test(type)) {
    const kind = type === 'interest' || type === 'tax' ? type : 'fee'
    const drafts: ActivityDraft[] = [{ ...parts, kind, price: toMajor(amount) }, ...taxes]
    return drafts.map((draft) => ({ ...draft, asset: null }))
  }
  if (type === 'deposit' || type === 'withdrawal' || /^cash$/i.test(fields.text('assettype'))) return CASH_MOVEMENT
  const kind = TRADE_KINDS.get(type)
  if (kind === undefined) return fields.unknownKind('type')
  if (identifier === '') fields.addError('identifier', 'is missing')
  const quantity = abs(fields.amount(['shares']))
  const noPrice = fields.text('price') === '' && !isZero(quantity)
  const price = noPrice ? unitPrice(amount, quantity) : abs(fields.amount(['price']))
  return [{ ...parts, kind, quantity, price: toMajor(price) }, ...taxes]
}

/** Parqet's export of activities: semicolons, decimal commas. */
export const parqet: ImportReader = {
  format: 'parqet',
  columns: ['datetime', 'price', 'shares', 'type', 'identifier', 'assettype'],
  read: (table) => readRows(table, { style: 'comma', order: 'dmy' }, readRow),
}
