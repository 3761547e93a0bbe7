import { isNegative, negated, positive } from './amount.ts'
import { type Fields, readRows } from './fields.ts'
import { unknownKind } from './kind.ts'
import type { Reader } from './reader.ts'
import { assetNamed, cost, type Draft, draft, type ImportAsset, type ImportRow, type Said } from './row.ts'
import { type CorporateLine, corporate } from './schwab-corporate.ts'

/** What Schwab's actions are, the first that fits. */
const ACTIONS: readonly [RegExp, Action][] = [
  [/^(?:stock split|reverse split|stock merger|name change|conversion|exchange or exercise|cusip change)/, 'corporate'],
  [/^(?:stock div dist|spin-off|spinoff)/, 'gift'],
  [/^(?:buy|reinvest shares|buy to (?:open|cover|close))/, 'buy'],
  [/^(?:sell|sell short|full redemption|bond redemption)/, 'sell'],
  [
    /^(?:journaled shares|security transfer|shares? (?:deposit|withdraw)|stock plan activity|deliver|receive)/,
    'transfer',
  ],
  [/tax|nra|withh/, 'tax'],
  [/fee|margin int|commission/, 'fee'],
  [/div|cap gain|distribution|cash in lieu|capital return|return of cap/, 'dividend'],
  [/interest|\bint\b/, 'interest'],
  [
    /^(?:wire|moneylink|internal transfer|journal|funds? |transfer|atm|visa|bill pay|check|deposit|withdrawal|misc (?:cash|credit)|auto|tda|cash|adjust|mny|electronic)/,
    'cash',
  ],
]
type Action = 'corporate' | 'gift' | 'buy' | 'sell' | 'transfer' | 'tax' | 'fee' | 'dividend' | 'interest' | 'cash'

const actionOf = (told: string): Action | null => ACTIONS.find(([words]) => words.test(told.toLowerCase()))?.[1] ?? null

/** `07/15/2024 as of 07/12/2024`: when it was posted, and the day that it counts from. */
function daysOf(fields: Fields): { posted: string; of: string } {
  const [posted = '', of = ''] = fields.text('date').split(/\s+as of\s+/i)
  const at = fields.moment('date', posted)
  return { posted: at, of: of === '' ? at : fields.moment('date', of) }
}

const assetIn = (fields: Fields): ImportAsset | null => {
  const symbol = fields.text('symbol').toUpperCase()
  return symbol === '' ? null : assetNamed({ symbol, name: fields.text('description') })
}

function read(fields: Fields, lines: Map<number, CorporateLine>): Said {
  if (/^transactions? total/i.test(fields.text('date'))) return { skipped: 'the total of the file' }
  const told = fields.text('action')
  const action = actionOf(told)
  if (action === null) {
    fields.fault('action', unknownKind(told))
    return []
  }
  const days = daysOf(fields)
  if (action === 'cash') return { skipped: 'a movement of money' }
  const asset = assetIn(fields)
  const parts = { currency: 'USD', asset, traded_at: days.of, note: null as string | null }
  if (['tax', 'fee', 'dividend', 'interest'].includes(action)) return moneyOf(fields, action as 'tax', parts, told)
  if (asset === null) fields.fault('symbol', 'is missing')
  const signed = fields.amount(['quantity'])
  const quantity = positive(signed)
  const line = draft({
    ...parts,
    kind: 'buy',
    quantity,
    price: positive(fields.amount(['price'], action === 'buy' || action === 'sell' ? undefined : '0')),
    fees: positive(fields.amount(['feescomm', 'feescommissions', 'fees'], '0')),
  })
  const said: Draft = (() => {
    switch (action) {
      case 'sell':
        return { ...line, kind: 'sell' as const }
      case 'transfer':
        return { ...line, kind: isNegative(signed) ? ('transfer_out' as const) : ('transfer_in' as const) }
      case 'gift':
      case 'corporate':
        return { ...line, price: '0', note: told }
      default:
        return line
    }
  })()
  lines.set(fields.row, {
    row: fields.row,
    corporate: action === 'corporate',
    told,
    signed,
    posted: days.posted,
    draft: said,
  })
  return [said]
}

/** Income and costs: amounts of money, with or without an asset. */
function moneyOf(
  fields: Fields,
  action: 'tax' | 'fee' | 'dividend' | 'interest',
  parts: Pick<Draft, 'currency' | 'asset' | 'traded_at' | 'note'>,
  told: string,
): Said {
  const amount = fields.amount(['amount'])
  const paid = negated(amount)
  const what = parts.asset === null ? `${told}: ${fields.text('description')}` : told
  const said = { ...parts, note: what }
  if (action === 'tax' || action === 'fee') return [cost(action, paid, said)]
  // A dividend of no asset is income as interest is.
  const kind = parts.asset === null ? 'interest' : action
  if (!isNegative(amount)) return [draft({ ...said, kind, price: amount })]
  return [kind === 'interest' ? cost('fee', paid, said) : draft({ ...said, kind, quantity: '0', fees: paid })]
}

/** The history of a brokerage account at Charles Schwab. */
export const schwab: Reader = {
  format: 'schwab',
  fits: (columns) =>
    ['date', 'action', 'symbol', 'description', 'amount'].every((name) => columns.has(name)) &&
    (columns.has('feescomm') || columns.has('feescommissions')),
  read(table) {
    const lines = new Map<number, CorporateLine>()
    const rows = readRows(table, { style: 'point', order: 'mdy' }, (fields) => read(fields, lines))
    const settled = corporate([...lines.values()])
    return rows.map((row): ImportRow => settled.get(row.row) ?? row)
  },
}
