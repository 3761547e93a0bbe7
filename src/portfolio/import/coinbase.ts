import { abs, compareAmounts, isNegative, isZero, multiply, subtract, unitPrice } from './amount.ts'
import { type RowFields, readRows } from './fields.ts'
import { unknownKindMessage } from './kind.ts'
import type { ImportReader } from './reader.ts'
import { type ActivityDraft, createDraft, type ImportAsset, importAsset, type RowResult } from './row.ts'
import { normalizeColumnName, type Table } from './table.ts'

/** What has no effect on what is held: it moves money, or coins from one place at Coinbase to another. */
const IGNORED_TYPES: Readonly<Record<string, string>> = {
  deposit: 'a deposit of money',
  withdrawal: 'a withdrawal of money',
  exchangedeposit: 'moved within Coinbase',
  exchangewithdrawal: 'moved within Coinbase',
  prodeposit: 'moved within Coinbase',
  prowithdrawal: 'moved within Coinbase',
  retailstakingtransfer: 'moved within Coinbase',
  retailunstakingtransfer: 'moved within Coinbase',
  vaultdeposit: 'moved within Coinbase',
  vaultwithdrawal: 'moved within Coinbase',
  retaileth2deprecation: 'ETH2 became ETH',
}
const REWARD = /income|reward|earn|rebate|airdrop|inflation/
const ETH2_MERGED = 'ETH2 and ETH are one holding'

/** ETH that is staked was called ETH2 until the two became one. */
const coinSymbol = (told: string): string => (told.toUpperCase() === 'ETH2' ? 'ETH' : told.toUpperCase())
const coinAsset = (told: string): ImportAsset => importAsset({ symbol: coinSymbol(told) }, true)

/** What stands in a row, its amounts without signs. */
type CoinLine = Pick<ActivityDraft, 'asset' | 'quantity' | 'price' | 'currency' | 'traded_at' | 'note' | 'id'>

/** Income in coins: what they were worth, and the coins bought for it. */
const rewardDrafts = (line: CoinLine): ActivityDraft[] => [
  createDraft({ ...line, kind: 'interest' }),
  createDraft({ ...line, kind: 'buy' }),
]

/** What was paid beyond quantity × price, or not got of it, is the fee and the spread; both are in `Total` alone. */
function tradeDrafts(fields: RowFields, line: CoinLine, kind: 'buy' | 'sell'): ActivityDraft[] {
  const gross = multiply(line.quantity, line.price)
  const total = fields.nonZeroAmount('totalinclusiveoffeesandorspread', 'totalinclusiveoffees', 'total')
  const told = abs(fields.amount(['feesandorspread', 'fees'], '0'))
  if (total === null) return [createDraft({ ...line, kind, fees: told })]
  const paid = abs(total)
  return [createDraft({ ...line, kind, fees: kind === 'buy' ? subtract(paid, gross) : subtract(gross, paid) })]
}

/** A sale of one coin and a purchase of another, both at the subtotal: what was left after fee and spread. */
function conversionDrafts(fields: RowFields, line: CoinLine): RowResult {
  const notes = fields.text('notes')
  const [, given, from, got, to] = /Converted ([\d.,]+) (\S+) to ([\d.,]+) (\S+)/i.exec(notes) ?? []
  if (given === undefined || from === undefined || got === undefined || to === undefined) {
    fields.addError('notes', 'do not say what was converted to what')
    return []
  }
  if (coinSymbol(from) === coinSymbol(to)) return { skipped: ETH2_MERGED }
  const subtotal = abs(fields.amount(['subtotal']))
  const received = fields.parseAmount('notes', got)
  if (isZero(received) || isZero(line.quantity)) {
    fields.addError('quantitytransacted', 'must be above 0')
    return []
  }
  return [
    createDraft({ ...line, kind: 'sell', price: unitPrice(subtotal, line.quantity) }),
    createDraft({
      ...line,
      kind: 'buy',
      asset: coinAsset(to),
      quantity: received,
      price: unitPrice(subtotal, received),
    }),
  ]
}

/** Moments and quantities at which ETH2 was sent and ETH received: one became the other. */
function findEth2Renames(table: Table): Set<string> {
  const at = (name: string): number => table.columns.indexOf(name)
  const [time, type, asset, quantity] = ['timestamp', 'transactiontype', 'asset', 'quantitytransacted'].map(at) as [
    number,
    number,
    number,
    number,
  ]
  const sides = new Map<string, Set<string>>()
  for (const { cells } of table.rows) {
    const key = `${cells[time]?.trim()} ${abs(cells[quantity]?.trim() ?? '')}`
    const side = `${normalizeColumnName(cells[type] ?? '')} ${cells[asset]?.trim()}`
    sides.set(key, (sides.get(key) ?? new Set()).add(side))
  }
  const both = ([, of]: [string, Set<string>]): boolean => of.has('send ETH2') && of.has('receive ETH')
  return new Set([...sides].filter(both).map(([key]) => key))
}

function readRow(fields: RowFields, renamed: ReadonlySet<string>): RowResult {
  const told = fields.text('transactiontype')
  const type = normalizeColumnName(told)
  const skipped = IGNORED_TYPES[type]
  if (skipped !== undefined) return { skipped }
  const symbol = fields.text('asset')
  const money = fields.currency('pricecurrency', 'spotpricecurrency', 'currency')
  const signed = fields.amount(['quantitytransacted', 'quantity'])
  const line: CoinLine = {
    asset: coinAsset(symbol),
    quantity: abs(signed),
    price: abs(fields.amount(['priceattransaction', 'spotpriceattransaction', 'price'], '0')),
    currency: money.currency,
    traded_at: fields.time('timestamp'),
    note: null,
    id: null,
  }
  if (symbol === '') fields.addError('asset', 'is missing')
  if (/^(advancedtrade|advancetrade)?buy$/.test(type)) return tradeDrafts(fields, line, 'buy')
  if (/^(advancedtrade|advancetrade)?sell$/.test(type)) return tradeDrafts(fields, line, 'sell')
  if (type === 'convert') return conversionDrafts(fields, line)
  if (type === 'send' || type === 'receive') {
    if (renamed.has(`${fields.text('timestamp')} ${abs(fields.text('quantitytransacted'))}`))
      return { skipped: ETH2_MERGED }
    const out = type === 'send' || isNegative(signed)
    return [createDraft({ ...line, kind: out ? 'transfer_out' : 'transfer_in' })]
  }
  if (REWARD.test(type))
    return compareAmounts(signed, '0') < 0 ? [createDraft({ ...line, kind: 'transfer_out' })] : rewardDrafts(line)
  fields.addError('transactiontype', unknownKindMessage(told))
  return []
}

/** Coinbase's history of transactions. */
export const coinbase: ImportReader = {
  format: 'coinbase',
  matches: (columns) =>
    ['timestamp', 'transactiontype', 'asset', 'quantitytransacted'].every((name) => columns.has(name)),
  read(table) {
    const renamed = findEth2Renames(table)
    return readRows(table, { style: 'point', order: 'mdy' }, (fields) => readRow(fields, renamed))
  },
}
