import { compare, isNegative, isZero, minus, positive, times, unitPrice } from './amount.ts'
import { type Fields, readRows } from './fields.ts'
import { unknownKind } from './kind.ts'
import type { Reader } from './reader.ts'
import { assetNamed, type Draft, draft, type ImportAsset, type Said } from './row.ts'
import { columnName, type Table } from './table.ts'

/** What has no effect on what is held: it moves money, or coins from one place at Coinbase to another. */
const SKIPPED: Readonly<Record<string, string>> = {
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
const NOTHING = 'ETH2 and ETH are one holding'

/** ETH that is staked was called ETH2 until the two became one. */
const coinOf = (told: string): string => (told.toUpperCase() === 'ETH2' ? 'ETH' : told.toUpperCase())
const coin = (told: string): ImportAsset => assetNamed({ symbol: coinOf(told) }, true)

/** What stands in a row, its amounts without signs. */
type Line = Pick<Draft, 'asset' | 'quantity' | 'price' | 'currency' | 'traded_at' | 'note' | 'id'>

/** Income in coins: what they were worth, and the coins bought for it. */
const reward = (line: Line): Draft[] => [draft({ ...line, kind: 'interest' }), draft({ ...line, kind: 'buy' })]

/** What was paid beyond quantity × price, or not got of it, is the fee and the spread; both are in `Total` alone. */
function trade(fields: Fields, line: Line, kind: 'buy' | 'sell'): Draft[] {
  const gross = times(line.quantity, line.price)
  const total = fields.given('totalinclusiveoffeesandorspread', 'totalinclusiveoffees', 'total')
  const told = positive(fields.amount(['feesandorspread', 'fees'], '0'))
  if (total === null) return [draft({ ...line, kind, fees: told })]
  const paid = positive(total)
  return [draft({ ...line, kind, fees: kind === 'buy' ? minus(paid, gross) : minus(gross, paid) })]
}

/** A sale of one coin and a purchase of another, both at the subtotal: what was left after fee and spread. */
function conversion(fields: Fields, line: Line): Said {
  const notes = fields.text('notes')
  const [, given, from, got, to] = /Converted ([\d.,]+) (\S+) to ([\d.,]+) (\S+)/i.exec(notes) ?? []
  if (given === undefined || from === undefined || got === undefined || to === undefined) {
    fields.fault('notes', 'do not say what was converted to what')
    return []
  }
  if (coinOf(from) === coinOf(to)) return { skipped: NOTHING }
  const subtotal = positive(fields.amount(['subtotal']))
  const received = fields.decimal('notes', got)
  if (isZero(received) || isZero(line.quantity)) {
    fields.fault('quantitytransacted', 'must be above 0')
    return []
  }
  return [
    draft({ ...line, kind: 'sell', price: unitPrice(subtotal, line.quantity) }),
    draft({ ...line, kind: 'buy', asset: coin(to), quantity: received, price: unitPrice(subtotal, received) }),
  ]
}

/** Moments and quantities at which ETH2 was sent and ETH received: one became the other. */
function renamings(table: Table): Set<string> {
  const at = (name: string): number => table.columns.indexOf(name)
  const [time, type, asset, quantity] = ['timestamp', 'transactiontype', 'asset', 'quantitytransacted'].map(at) as [
    number,
    number,
    number,
    number,
  ]
  const sides = new Map<string, Set<string>>()
  for (const { cells } of table.rows) {
    const key = `${cells[time]?.trim()} ${positive(cells[quantity]?.trim() ?? '')}`
    const side = `${columnName(cells[type] ?? '')} ${cells[asset]?.trim()}`
    sides.set(key, (sides.get(key) ?? new Set()).add(side))
  }
  const both = ([, of]: [string, Set<string>]): boolean => of.has('send ETH2') && of.has('receive ETH')
  return new Set([...sides].filter(both).map(([key]) => key))
}

function read(fields: Fields, renamed: ReadonlySet<string>): Said {
  const told = fields.text('transactiontype')
  const type = columnName(told)
  const skipped = SKIPPED[type]
  if (skipped !== undefined) return { skipped }
  const symbol = fields.text('asset')
  const money = fields.money('pricecurrency', 'spotpricecurrency', 'currency')
  const signed = fields.amount(['quantitytransacted', 'quantity'])
  const line: Line = {
    asset: coin(symbol),
    quantity: positive(signed),
    price: positive(fields.amount(['priceattransaction', 'spotpriceattransaction', 'price'], '0')),
    currency: money.currency,
    traded_at: fields.instant('timestamp'),
    note: null,
    id: null,
  }
  if (symbol === '') fields.fault('asset', 'is missing')
  if (/^(advancedtrade|advancetrade)?buy$/.test(type)) return trade(fields, line, 'buy')
  if (/^(advancedtrade|advancetrade)?sell$/.test(type)) return trade(fields, line, 'sell')
  if (type === 'convert') return conversion(fields, line)
  if (type === 'send' || type === 'receive') {
    if (renamed.has(`${fields.text('timestamp')} ${positive(fields.text('quantitytransacted'))}`))
      return { skipped: NOTHING }
    const out = type === 'send' || isNegative(signed)
    return [draft({ ...line, kind: out ? 'transfer_out' : 'transfer_in' })]
  }
  if (REWARD.test(type)) return compare(signed, '0') < 0 ? [draft({ ...line, kind: 'transfer_out' })] : reward(line)
  fields.fault('transactiontype', unknownKind(told))
  return []
}

/** Coinbase's history of transactions. */
export const coinbase: Reader = {
  format: 'coinbase',
  fits: (columns) => ['timestamp', 'transactiontype', 'asset', 'quantitytransacted'].every((name) => columns.has(name)),
  read(table) {
    const renamed = renamings(table)
    return readRows(table, { style: 'point', order: 'mdy' }, (fields) => read(fields, renamed))
  },
}
