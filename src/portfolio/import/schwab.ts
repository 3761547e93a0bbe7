import { abs, isNegative, negate } from './amount.ts'
import { type RowFields, readRows } from './fields.ts'
import { unknownKindMessage } from './kind.ts'
import type { ImportReader } from './reader.ts'
import {
  type ActivityDraft,
  costDraft,
  createDraft,
  type ImportAsset,
  type ImportRow,
  importAsset,
  type RowResult,
} from './row.ts'
import { type CorporateLine, resolveCorporateActions } from './schwab-corporate.ts'

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

const parseAction = (told: string): Action | null =>
  ACTIONS.find(([words]) => words.test(told.toLowerCase()))?.[1] ?? null

/** `07/15/2024 as of 07/12/2024`: when it was posted, and the day that it counts from. */
function readDates(fields: RowFields): { posted: string; of: string } {
  const [posted = '', of = ''] = fields.text('date').split(/\s+as of\s+/i)
  const at = fields.parseTime('date', posted)
  return { posted: at, of: of === '' ? at : fields.parseTime('date', of) }
}

const readAsset = (fields: RowFields): ImportAsset | null => {
  const symbol = fields.text('symbol').toUpperCase()
  return symbol === '' ? null : importAsset({ symbol, name: fields.text('description') })
}

function readRow(fields: RowFields, lines: Map<number, CorporateLine>): RowResult {
  if (/^transactions? total/i.test(fields.text('date'))) return { skipped: 'the total of the file' }
  const told = fields.text('action')
  const action = parseAction(told)
  if (action === null) {
    fields.addError('action', unknownKindMessage(told))
    return []
  }
  const days = readDates(fields)
  if (action === 'cash') return { skipped: 'a movement of money' }
  const asset = readAsset(fields)
  const parts = { currency: 'USD', asset, traded_at: days.of, note: null as string | null }
  if (['tax', 'fee', 'dividend', 'interest'].includes(action)) return readMoneyRow(fields, action as 'tax', parts, told)
  if (asset === null) fields.addError('symbol', 'is missing')
  const signed = fields.amount(['quantity'])
  const quantity = abs(signed)
  const line = createDraft({
    ...parts,
    kind: 'buy',
    quantity,
    price: abs(fields.amount(['price'], action === 'buy' || action === 'sell' ? undefined : '0')),
    fees: abs(fields.amount(['feescomm', 'feescommissions', 'fees'], '0')),
  })
  const said: ActivityDraft = (() => {
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
    isCorporate: action === 'corporate',
    action: told,
    signed,
    posted: days.posted,
    draft: said,
  })
  return [said]
}

/** Income and costs: amounts of money, with or without an asset. */
function readMoneyRow(
  fields: RowFields,
  action: 'tax' | 'fee' | 'dividend' | 'interest',
  parts: Pick<ActivityDraft, 'currency' | 'asset' | 'traded_at' | 'note'>,
  told: string,
): RowResult {
  const amount = fields.amount(['amount'])
  const paid = negate(amount)
  const what = parts.asset === null ? `${told}: ${fields.text('description')}` : told
  const said = { ...parts, note: what }
  if (action === 'tax' || action === 'fee') return [costDraft(action, paid, said)]
  // A dividend of no asset is income as interest is.
  const kind = parts.asset === null ? 'interest' : action
  if (!isNegative(amount)) return [createDraft({ ...said, kind, price: amount })]
  return [
    kind === 'interest' ? costDraft('fee', paid, said) : createDraft({ ...said, kind, quantity: '0', fees: paid }),
  ]
}

/** The history of a brokerage account at Charles Schwab. */
export const schwab: ImportReader = {
  format: 'schwab',
  matches: (columns) =>
    ['date', 'action', 'symbol', 'description', 'amount'].every((name) => columns.has(name)) &&
    (columns.has('feescomm') || columns.has('feescommissions')),
  read(table) {
    const lines = new Map<number, CorporateLine>()
    const rows = readRows(table, { style: 'point', order: 'mdy' }, (fields) => readRow(fields, lines))
    const settled = resolveCorporateActions([...lines.values()])
    return rows.map((row): ImportRow => settled.get(row.row) ?? row)
  },
}
