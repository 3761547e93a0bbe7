import type { ActivityKind } from '../../protocol/portfolio.ts'
import { abs, isZero, unitPrice } from './amount.ts'
import { type ImportReader, type RowFields, readRows } from './reader.ts'
import { CASH_MOVEMENT, createDraft, importAsset, type Money, type RowResult, withFee } from './row.ts'
import { normalizeColumnName } from './table.ts'

/** `SOL (Solana)`: the code, and the name if there is one. */
function parseCoin(text: string): { code: string; name: string } {
  const [, code = text, name = ''] = /^(\S+)\s*\((.+)\)$/.exec(text) ?? []
  return { code, name }
}

function readFee(fields: RowFields): Money | null {
  const fee = fields.nonZeroAmount('feeamount')
  if (fee === null) return null
  const { code } = parseCoin(fields.text('feecurrencyname', 'feecurrency'))
  const unit = fields.parseCurrency('feecurrencyname', code)
  return unit && { amount: unit.toMajor(abs(fee)), currency: unit.currency }
}

const KINDS = new Map<string, ActivityKind>([
  ['buy', 'buy'],
  ['sell', 'sell'],
  ['withdraw', 'transfer_out'],
  // Something received for nothing has no price in the file: its cost is 0, and it has no gain in per cent (P3).
  ['deposit', 'transfer_in'],
])

function readRow(fields: RowFields): RowResult {
  const way = normalizeColumnName(fields.text('way'))
  const type = fields.text('basetype').toUpperCase()
  const { code, name } = parseCoin(fields.text('basecurrencyname', 'basecurrency'))
  if (type === 'FIAT') return CASH_MOVEMENT
  if (code === '') fields.addError('basecurrencyname', 'is missing')
  const asset = importAsset({ symbol: code.toUpperCase(), name }, type === 'CRYPTO' || type === '')
  const traded_at = fields.time('date')
  const quote = fields.nonZeroAmount('quoteamount')
  const unit = quote === null && fields.text('quotecurrency') === '' ? null : fields.currency('quotecurrency')
  const fee = readFee(fields)
  const worth = unit === null ? '0' : unit.toMajor(abs(quote ?? '0'))
  const line = { asset, currency: unit?.currency ?? 'USD', traded_at, note: fields.text('notes') || null }

  if (way === 'dividend') return withFee(createDraft({ ...line, kind: 'dividend', price: worth }), fee)
  const quantity = abs(fields.amount(['baseamount']))
  if (way === 'transfer') return { skipped: 'a move between your own accounts' }
  const kind = KINDS.get(way)
  if (kind === undefined) return fields.unknownKind('way')
  if (quote === null && (kind === 'buy' || kind === 'sell')) fields.addError('quoteamount', 'is missing')
  const price = isZero(quantity) ? '0' : unitPrice(worth, quantity)
  return withFee(createDraft({ ...line, kind, quantity, price }), fee)
}

/** Delta's template of transactions; prices may be in coins. */
export const delta: ImportReader = {
  format: 'delta',
  columns: ['date', 'way', 'baseamount', 'quoteamount', ['basecurrencyname', 'basecurrency']],
  read: (table) => readRows(table, { style: 'point', order: 'mdy' }, readRow),
}
