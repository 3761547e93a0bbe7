import { abs, isNegative, isZero, multiply, subtract, unitPrice } from './amount.ts'
import { firstMatch } from './kind.ts'
import { type ImportReader, type RowFields, readRows, type TableFormat, tableFields } from './reader.ts'
import { type ActivityDraft, createDraft, type ImportAsset, importAsset, type RowResult } from './row.ts'
import { normalizeColumnName } from './table.ts'

/** Types without effect on holdings, each with the reason. */
const IGNORED_TYPES: readonly [RegExp, string][] = [
  [/^deposit$/, 'a deposit of money'],
  [/^withdrawal$/, 'a withdrawal of money'],
  [/^(?:exchange|pro|vault)(?:deposit|withdrawal)$|^retail(?:un)?stakingtransfer$/, 'moved within Coinbase'],
  [/^retaileth2deprecation$/, 'ETH2 became ETH'],
]
const REWARD = /income|reward|earn|rebate|airdrop|inflation/
const ETH2_MERGED = { skipped: 'ETH2 and ETH are one holding' }

/** Staked ETH was called ETH2 until the two became one. */
const coinSymbol = (code: string): string => (code.toUpperCase() === 'ETH2' ? 'ETH' : code.toUpperCase())
const coinAsset = (code: string): ImportAsset => importAsset({ symbol: coinSymbol(code) }, true)

/** The total includes the fee and the spread, whose sum is its difference from quantity × price. */
function tradeDrafts(fields: RowFields, line: ActivityDraft, kind: 'buy' | 'sell'): ActivityDraft[] {
  const gross = multiply(line.quantity, line.price)
  const total = fields.nonZeroAmount('totalinclusiveoffeesandorspread', 'totalinclusiveoffees', 'total')
  const fee = abs(fields.amount(['feesandorspread', 'fees'], '0'))
  if (total === null) return [{ ...line, kind, fees: fee }]
  return [{ ...line, kind, fees: kind === 'buy' ? subtract(abs(total), gross) : subtract(gross, abs(total)) }]
}

/** A sale of one coin and a purchase of another, both at the subtotal: what was left after fee and spread. */
function conversionDrafts(fields: RowFields, line: ActivityDraft): RowResult {
  const [, from, received, to] = /Converted [\d.,]+ (\S+) to ([\d.,]+) (\S+)/i.exec(fields.text('notes')) ?? []
  if (from === undefined || received === undefined || to === undefined) {
    fields.addError('notes', 'do not say what was converted to what')
    return []
  }
  if (coinSymbol(from) === coinSymbol(to)) return ETH2_MERGED
  const subtotal = abs(fields.amount(['subtotal']))
  const quantity = fields.parseAmount('notes', received)
  if (isZero(quantity) || isZero(line.quantity)) {
    fields.addError('quantitytransacted', 'must be above 0')
    return []
  }
  return [
    { ...line, kind: 'sell', price: unitPrice(subtotal, line.quantity) },
    { ...line, asset: coinAsset(to), quantity, price: unitPrice(subtotal, quantity) },
  ]
}

const transferKey = (fields: RowFields): string =>
  `${fields.text('timestamp')} ${abs(fields.text('quantitytransacted'))}`

/** The transfers in which ETH2 was sent and ETH received at once: one became the other. */
function findEth2Renames(rows: readonly RowFields[]): Set<string> {
  const keys = (type: string, coin: string): string[] =>
    rows
      .filter((row) => normalizeColumnName(row.text('transactiontype')) === type && row.text('asset') === coin)
      .map(transferKey)
  const received = new Set(keys('receive', 'ETH'))
  return new Set(keys('send', 'ETH2').filter((key) => received.has(key)))
}

function readRow(fields: RowFields, renames: ReadonlySet<string>): RowResult {
  const type = normalizeColumnName(fields.text('transactiontype'))
  const skipped = firstMatch(type, IGNORED_TYPES)
  if (skipped !== null) return { skipped }
  const symbol = fields.text('asset')
  const { currency } = fields.currency('pricecurrency', 'spotpricecurrency', 'currency')
  const signed = fields.amount(['quantitytransacted', 'quantity'])
  const line = createDraft({
    kind: 'buy',
    asset: coinAsset(symbol),
    quantity: abs(signed),
    price: abs(fields.amount(['priceattransaction', 'spotpriceattransaction', 'price'], '0')),
    currency,
    traded_at: fields.time('timestamp'),
  })
  if (symbol === '') fields.addError('asset', 'is missing')
  const side = /^(?:advancedtrade|advancetrade)?(buy|sell)$/.exec(type)?.[1]
  if (side !== undefined) return tradeDrafts(fields, line, side as 'buy' | 'sell')
  if (type === 'convert') return conversionDrafts(fields, line)
  if (type === 'send' || type === 'receive') {
    if (renames.has(transferKey(fields))) return ETH2_MERGED
    return [{ ...line, kind: type === 'send' || isNegative(signed) ? 'transfer_out' : 'transfer_in' }]
  }
  if (!REWARD.test(type)) return fields.unknownKind('transactiontype')
  // Income in coins is their value, and the coins bought for it; below 0 it was taken back.
  return isNegative(signed) ? [{ ...line, kind: 'transfer_out' }] : [{ ...line, kind: 'interest' }, line]
}

const FORMAT: TableFormat = { style: 'point', order: 'mdy' }

/** Coinbase's history of transactions. */
export const coinbase: ImportReader = {
  format: 'coinbase',
  columns: ['timestamp', 'transactiontype', 'asset', 'quantitytransacted'],
  read(table) {
    const renames = findEth2Renames(tableFields(table, FORMAT))
    return readRows(table, FORMAT, (fields) => readRow(fields, renames))
  },
}
