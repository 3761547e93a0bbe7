import { abs, isNegative, isZero, unitPrice } from './amount.ts'
import { firstMatch } from './kind.ts'
import { type ImportReader, type RowFields, readRows } from './reader.ts'
import { type ActivityDraft, CASH_MOVEMENT, createDraft, importAsset, type RowResult } from './row.ts'

const LOCKED = { skipped: 'locked or unlocked: it stays held' }

/** Income in coins, one side of a swap or coins that were spent, a trade against money or another coin, a transfer. */
type TransactionEffect = 'reward' | 'swap' | 'trade' | 'transfer'

/** The effects of the app's kinds of transactions; the first match counts. */
const TRANSACTION_EFFECTS: readonly [RegExp, TransactionEffect | { skipped: string }][] = [
  [/_swap_|^dust_conversion_|swap_(?:credited|debited)$/, 'swap'],
  [
    /reward|interest|cashback|rebate|bonus|referral|gift|airdrop_(?!locked)|admin_wallet_credited|reimbursement|campaign/,
    'reward',
  ],
  [
    /dpos_(?:un)?lock|lockup_|_lock(?:ed)?$|council_node|program_(?:created|withdrawn)|supercharger_(?:de|with)/,
    LOCKED,
  ],
  [/^viban_(?:deposit|withdrawal|card_top_up)|^(?:fiat|eur|usd|gbp)_|^van_(?:deposit|withdrawal)/, CASH_MOVEMENT],
  [/exchange_transfer|exchange_to_crypto|_to_exchange|crypto_(?:deposit|withdrawal|transfer)|^crypto_to_/, 'transfer'],
  [/^crypto_exchange|purchase|viban|van_|recurring_buy|trading\.|sell_order/, 'trade'],
  [/card_top_up|^crypto_payment(?!_refund)|pay_/, 'swap'],
  [/payment_refund/, 'transfer'],
]

/** The currencies of Crypto.com's accounts that are not coins. */
const FIAT: ReadonlySet<string> = new Set('EUR USD GBP CAD AUD CHF BRL TRY SGD PLN SEK NOK DKK CZK JPY'.split(' '))
const isFiat = (code: string): boolean => FIAT.has(code.toUpperCase())

/** A change of a coin's balance. @param worth of all of it, in the row's native currency */
function coinDraft(
  fields: RowFields,
  kind: ActivityDraft['kind'],
  coin: string,
  change: string,
  worth: string,
): ActivityDraft {
  const quantity = abs(change)
  return createDraft({
    kind,
    asset: importAsset({ symbol: coin.toUpperCase() }, true),
    quantity,
    price: isZero(quantity) ? '0' : unitPrice(abs(worth), quantity),
    currency: fields.currency('nativecurrency').currency,
    traded_at: fields.time('timestamputc', 'timestamp'),
  })
}

function readRow(fields: RowFields): RowResult {
  const effect = firstMatch(fields.text('transactionkind'), TRANSACTION_EFFECTS)
  if (typeof effect === 'object' && effect !== null) return effect
  const coin = fields.text('currency')
  const change = fields.amount(['amount'])
  const worth = fields.amount(['nativeamount'], '0')
  if (coin === '') fields.addError('currency', 'is missing')
  const money = isFiat(coin)
  const out = isNegative(change)
  const draft = (kind: ActivityDraft['kind']): ActivityDraft => coinDraft(fields, kind, coin, change, worth)
  if (effect === null) return fields.unknownKind('transactionkind')
  if (effect === 'trade') {
    // Money has no holding here.
    const first = money ? [] : [draft(out ? 'sell' : 'buy')]
    const to = fields.text('tocurrency')
    if (to === '' || isFiat(to)) return first
    return [...first, coinDraft(fields, 'buy', to, fields.amount(['toamount']), worth)]
  }
  if (effect === 'reward' && !out) {
    const bought = draft('buy')
    return money ? [{ ...bought, kind: 'interest', asset: null }] : [{ ...bought, kind: 'interest' }, bought]
  }
  if (money) return CASH_MOVEMENT
  if (effect === 'swap') return [draft(out ? 'sell' : 'buy')]
  // A reward that goes out was taken back.
  return [draft(out ? 'transfer_out' : 'transfer_in')]
}

/** The transaction history of Crypto.com's app. */
export const cryptocom: ImportReader = {
  format: 'cryptocom',
  columns: ['transactionkind', 'currency', 'amount', 'nativeamount'],
  read: (table) => readRows(table, { style: 'point', order: 'dmy' }, readRow),
}
