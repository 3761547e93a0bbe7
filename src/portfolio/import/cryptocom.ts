import { abs, isNegative, isZero, unitPrice } from './amount.ts'
import { type RowFields, readRows } from './fields.ts'
import { unknownKindMessage } from './kind.ts'
import type { ImportReader } from './reader.ts'
import { type ActivityDraft, createDraft, importAsset, type RowResult } from './row.ts'

type TransactionEffect = 'skip' | 'reward' | 'swap' | 'trade' | 'transfer' | 'spent'

/**
 * What the kinds of Crypto.com's app do, the first that fits: nothing to what is held (locked coins stay one's own),
 * income in coins, one side of a swap, a purchase or sale against money or another coin, a transfer, coins sold to pay.
 */
const TRANSACTION_EFFECTS: readonly [RegExp, TransactionEffect, string][] = [
  [/_swap_|^dust_conversion_|swap_(?:credited|debited)$/, 'swap', ''],
  [
    /reward|interest|cashback|rebate|bonus|referral|gift|airdrop_(?!locked)|admin_wallet_credited|reimbursement|campaign/,
    'reward',
    '',
  ],
  [
    /dpos_(?:un)?lock|lockup_|_lock(?:ed)?$|council_node|program_(?:created|withdrawn)|supercharger_(?:de|with)/,
    'skip',
    'locked or unlocked: it stays held',
  ],
  [
    /^viban_(?:deposit|withdrawal|card_top_up)|^(?:fiat|eur|usd|gbp)_|^van_(?:deposit|withdrawal)/,
    'skip',
    'a movement of money',
  ],
  [
    /exchange_transfer|exchange_to_crypto|_to_exchange|crypto_(?:deposit|withdrawal|transfer)|^crypto_to_/,
    'transfer',
    '',
  ],
  [/^crypto_exchange|purchase|viban|van_|recurring_buy|trading\.|sell_order/, 'trade', ''],
  [/card_top_up|^crypto_payment(?!_refund)|pay_/, 'spent', ''],
  [/payment_refund/, 'transfer', ''],
]

/** Money, as far as Crypto.com has accounts in it. */
const FIAT: ReadonlySet<string> = new Set([
  'EUR',
  'USD',
  'GBP',
  'CAD',
  'AUD',
  'CHF',
  'BRL',
  'TRY',
  'SGD',
  'PLN',
  'SEK',
  'NOK',
  'DKK',
  'CZK',
  'JPY',
])

/** An amount of a coin, and what it was worth in all. */
function tradeSide(
  fields: RowFields,
  kind: 'buy' | 'sell' | 'transfer_in' | 'transfer_out',
  told: string,
  amount: string,
  worth: string,
): ActivityDraft {
  const quantity = abs(amount)
  return createDraft({
    kind,
    asset: importAsset({ symbol: told.toUpperCase() }, true),
    quantity,
    price: isZero(quantity) ? '0' : unitPrice(abs(worth), quantity),
    currency: fields.currency('nativecurrency').currency,
    traded_at: fields.time('timestamputc', 'timestamp'),
  })
}

/** From one currency to another; of money nothing is held here. */
function tradeDrafts(fields: RowFields, from: string, amount: string, worth: string): ActivityDraft[] {
  const to = fields.text('tocurrency')
  const sold = isNegative(amount)
  const first = FIAT.has(from.toUpperCase()) ? [] : [tradeSide(fields, sold ? 'sell' : 'buy', from, amount, worth)]
  if (to === '' || FIAT.has(to.toUpperCase())) return first
  return [...first, tradeSide(fields, 'buy', to, fields.amount(['toamount']), worth)]
}

function readRow(fields: RowFields): RowResult {
  const told = fields.text('transactionkind')
  const [, way, why] = TRANSACTION_EFFECTS.find(([pattern]) => pattern.test(told)) ?? []
  if (way === 'skip') return { skipped: why as string }
  const coin = fields.text('currency')
  const amount = fields.amount(['amount'])
  const worth = fields.amount(['nativeamount'], '0')
  if (coin === '') fields.addError('currency', 'is missing')
  const isMoney = FIAT.has(coin.toUpperCase())
  const out = isNegative(amount)
  switch (way) {
    case undefined:
      fields.addError('transactionkind', unknownKindMessage(told))
      return []
    case 'trade':
      return tradeDrafts(fields, coin, amount, worth)
    case 'transfer':
      return isMoney
        ? { skipped: 'a movement of money' }
        : [tradeSide(fields, out ? 'transfer_out' : 'transfer_in', coin, amount, worth)]
    case 'reward': {
      // What was given before is taken back.
      if (out)
        return isMoney ? { skipped: 'a movement of money' } : [tradeSide(fields, 'transfer_out', coin, amount, worth)]
      const bought = tradeSide(fields, 'buy', coin, amount, worth)
      return isMoney
        ? [createDraft({ ...bought, kind: 'interest', asset: null })]
        : [{ ...bought, kind: 'interest' }, bought]
    }
    case 'swap':
    case 'spent':
      return isMoney
        ? { skipped: 'a movement of money' }
        : [tradeSide(fields, out ? 'sell' : 'buy', coin, amount, worth)]
  }
}

/** The app of Crypto.com: its history of transactions. */
export const cryptocom: ImportReader = {
  format: 'cryptocom',
  matches: (columns) => ['transactionkind', 'currency', 'amount', 'nativeamount'].every((name) => columns.has(name)),
  read: (table) => readRows(table, { style: 'point', order: 'dmy' }, readRow),
}
