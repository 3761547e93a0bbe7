import { abs, isZero, unitPrice } from './amount.ts'
import { type RowFields, readRows } from './fields.ts'
import { unknownKindMessage } from './kind.ts'
import { parseCurrency } from './money.ts'
import type { ImportReader } from './reader.ts'
import { type ActivityDraft, costDraft, createDraft, type ImportAsset, importAsset, type RowResult } from './row.ts'
import { normalizeColumnName } from './table.ts'

/** `SOL (Solana)`: the code, and the name where it is told. */
function parseCoin(text: string): { code: string; name: string } {
  const [, code = text, name = ''] = /^(\S+)\s*\((.+)\)$/.exec(text) ?? []
  return { code, name }
}

/** What the fee was paid in is often neither the one nor the other of the trade: then it is an activity of its own. */
function readFee(
  fields: RowFields,
  currency: string,
  asset: ImportAsset,
  traded_at: string,
): { fees: string; apart: ActivityDraft[] } {
  const fee = fields.nonZeroAmount('feeamount')
  if (fee === null) return { fees: '0', apart: [] }
  const told = parseCoin(fields.text('feecurrencyname', 'feecurrency')).code
  const money = parseCurrency(told)
  if (money === null) {
    fields.addError('feecurrencyname', told === '' ? 'is missing' : `${told} is no currency`)
    return { fees: '0', apart: [] }
  }
  const amount = money.toMajor(abs(fee))
  if (money.currency === currency) return { fees: amount, apart: [] }
  return { fees: '0', apart: [costDraft('fee', amount, { asset, currency: money.currency, traded_at })] }
}

function readRow(fields: RowFields): RowResult {
  const told = fields.text('way')
  const way = normalizeColumnName(told)
  const type = fields.text('basetype').toUpperCase()
  const { code, name } = parseCoin(fields.text('basecurrencyname', 'basecurrency'))
  if (type === 'FIAT') return { skipped: 'a movement of money' }
  if (code === '') fields.addError('basecurrencyname', 'is missing')
  const crypto = type === 'CRYPTO' || type === ''
  const asset = importAsset({ symbol: code.toUpperCase(), name }, crypto)
  const traded_at = fields.time('date')
  const note = fields.text('notes') || null
  const quote = fields.nonZeroAmount('quoteamount')
  const money = quote === null && fields.text('quotecurrency') === '' ? null : fields.currency('quotecurrency')
  const currency = money?.currency ?? 'USD'
  const { fees, apart } = readFee(fields, currency, asset, traded_at)
  const worth = money === null ? '0' : money.toMajor(abs(quote ?? '0'))
  const line = { asset, currency, traded_at, note, fees }

  if (way === 'dividend') return [createDraft({ ...line, kind: 'dividend', price: worth }), ...apart]
  const quantity = abs(fields.amount(['baseamount']))
  const price = isZero(quantity) ? '0' : unitPrice(worth, quantity)
  const moved = { ...line, quantity, price }
  if (way === 'buy' || way === 'sell') {
    if (quote === null) fields.addError('quoteamount', 'is missing')
    return [createDraft({ ...moved, kind: way }), ...apart]
  }
  if (way === 'withdraw') return [createDraft({ ...moved, kind: 'transfer_out' }), ...apart]
  // What was received for nothing has no price in the file: its cost is 0, and no gain in per cent follows (P3).
  if (way === 'deposit') return [createDraft({ ...moved, kind: 'transfer_in' }), ...apart]
  if (way === 'transfer') return { skipped: 'moved between places of one’s own' }
  fields.addError('way', unknownKindMessage(told))
  return []
}

/** Delta's template of transactions; prices may be in coins. */
export const delta: ImportReader = {
  format: 'delta',
  matches: (columns) =>
    ['date', 'way', 'baseamount', 'quoteamount'].every((name) => columns.has(name)) &&
    (columns.has('basecurrencyname') || columns.has('basecurrency')),
  read: (table) => readRows(table, { style: 'point', order: 'mdy' }, readRow),
}
