import { isZero, positive, unitPrice } from './amount.ts'
import { type Fields, readRows } from './fields.ts'
import { unknownKind } from './kind.ts'
import { moneyOf } from './money.ts'
import type { Reader } from './reader.ts'
import { assetNamed, cost, type Draft, draft, type ImportAsset, type Said } from './row.ts'
import { columnName } from './table.ts'

/** `SOL (Solana)`: the code, and the name where it is told. */
function named(text: string): { code: string; name: string } {
  const [, code = text, name = ''] = /^(\S+)\s*\((.+)\)$/.exec(text) ?? []
  return { code, name }
}

/** What the fee was paid in is often neither the one nor the other of the trade: then it is an activity of its own. */
function feeOf(
  fields: Fields,
  currency: string,
  asset: ImportAsset,
  traded_at: string,
): { fees: string; apart: Draft[] } {
  const fee = fields.given('feeamount')
  if (fee === null) return { fees: '0', apart: [] }
  const told = named(fields.text('feecurrencyname', 'feecurrency')).code
  const money = moneyOf(told)
  if (money === null) {
    fields.fault('feecurrencyname', told === '' ? 'is missing' : `${told} is no currency`)
    return { fees: '0', apart: [] }
  }
  const amount = money.amount(positive(fee))
  if (money.currency === currency) return { fees: amount, apart: [] }
  return { fees: '0', apart: [cost('fee', amount, { asset, currency: money.currency, traded_at })] }
}

function read(fields: Fields): Said {
  const told = fields.text('way')
  const way = columnName(told)
  const type = fields.text('basetype').toUpperCase()
  const { code, name } = named(fields.text('basecurrencyname', 'basecurrency'))
  if (type === 'FIAT') return { skipped: 'a movement of money' }
  if (code === '') fields.fault('basecurrencyname', 'is missing')
  const crypto = type === 'CRYPTO' || type === ''
  const asset = assetNamed({ symbol: code.toUpperCase(), name }, crypto)
  const traded_at = fields.instant('date')
  const note = fields.text('notes') || null
  const quote = fields.given('quoteamount')
  const money = quote === null && fields.text('quotecurrency') === '' ? null : fields.money('quotecurrency')
  const currency = money?.currency ?? 'USD'
  const { fees, apart } = feeOf(fields, currency, asset, traded_at)
  const worth = money === null ? '0' : money.amount(positive(quote ?? '0'))
  const line = { asset, currency, traded_at, note, fees }

  if (way === 'dividend') return [draft({ ...line, kind: 'dividend', price: worth }), ...apart]
  const quantity = positive(fields.amount(['baseamount']))
  const price = isZero(quantity) ? '0' : unitPrice(worth, quantity)
  const moved = { ...line, quantity, price }
  if (way === 'buy' || way === 'sell') {
    if (quote === null) fields.fault('quoteamount', 'is missing')
    return [draft({ ...moved, kind: way }), ...apart]
  }
  if (way === 'withdraw') return [draft({ ...moved, kind: 'transfer_out' }), ...apart]
  // What was received for nothing has no price in the file: its cost is 0, and no gain in per cent follows (P3).
  if (way === 'deposit') return [draft({ ...moved, kind: 'transfer_in' }), ...apart]
  if (way === 'transfer') return { skipped: 'moved between places of one’s own' }
  fields.fault('way', unknownKind(told))
  return []
}

/** Delta's template of transactions; prices may be in coins. */
export const delta: Reader = {
  format: 'delta',
  fits: (columns) =>
    ['date', 'way', 'baseamount', 'quoteamount'].every((name) => columns.has(name)) &&
    (columns.has('basecurrencyname') || columns.has('basecurrency')),
  read: (table) => readRows(table, { style: 'point', order: 'mdy' }, read),
}
