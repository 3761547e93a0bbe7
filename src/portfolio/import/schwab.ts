import { abs, isNegative } from './amount.ts'
import { firstMatch } from './kind.ts'
import { type ImportReader, type RowFields, readRows } from './reader.ts'
import {
  CASH_MOVEMENT,
  type CashKind,
  cashDraft,
  createDraft,
  type ImportRow,
  importAsset,
  type RowResult,
} from './row.ts'
import { type CorporateLine, resolveCorporateActions } from './schwab-corporate.ts'

type Action = CashKind | 'corporate' | 'gift' | 'buy' | 'sell' | 'transfer' | 'cash'

/** Schwab's actions; the first match counts. */
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

/** `07/15/2024 as of 07/12/2024`: the time of posting, and the effective time. */
function readDates(fields: RowFields): { posted: string; traded_at: string } {
  const [first = '', second = ''] = fields.text('date').split(/\s+as of\s+/i)
  const posted = fields.parseTime('date', first)
  return { posted, traded_at: second === '' ? posted : fields.parseTime('date', second) }
}

function readRow(fields: RowFields, lines: CorporateLine[]): RowResult {
  if (/^transactions? total/i.test(fields.text('date'))) return { skipped: 'the total of the file' }
  const name = fields.text('action')
  const action = firstMatch(name.toLowerCase(), ACTIONS)
  if (action === null) return fields.unknownKind('action')
  const { posted, traded_at } = readDates(fields)
  if (action === 'cash') return CASH_MOVEMENT
  const symbol = fields.text('symbol').toUpperCase()
  const asset = symbol === '' ? null : importAsset({ symbol, name: fields.text('description') })
  const parts = { currency: 'USD', asset, traded_at }
  if (action === 'tax' || action === 'fee' || action === 'dividend' || action === 'interest') {
    // A dividend without an asset is income like interest.
    const kind = action === 'dividend' && asset === null ? 'interest' : action
    const note = asset === null ? `${name}: ${fields.text('description')}` : name
    return [cashDraft(kind, fields.amount(['amount']), { ...parts, note })]
  }
  if (asset === null) fields.addError('symbol', 'is missing')
  const signed = fields.amount(['quantity'])
  const traded = action === 'buy' || action === 'sell'
  const price = abs(fields.amount(['price'], traded ? undefined : '0'))
  const given = action === 'gift' || action === 'corporate'
  const transfer = isNegative(signed) ? 'transfer_out' : 'transfer_in'
  const draft = createDraft({
    ...parts,
    kind: action === 'transfer' ? transfer : action === 'sell' ? 'sell' : 'buy',
    quantity: abs(signed),
    price: given ? '0' : price,
    fees: abs(fields.amount(['feescomm', 'feescommissions', 'fees'], '0')),
    note: given ? name : null,
  })
  lines.push({ row: fields.row, isCorporate: action === 'corporate', action: name, signed, posted, draft })
  return [draft]
}

/** The history of a brokerage account at Charles Schwab. */
export const schwab: ImportReader = {
  format: 'schwab',
  columns: ['date', 'action', 'symbol', 'description', 'amount', ['feescomm', 'feescommissions']],
  read(table) {
    const lines: CorporateLine[] = []
    const rows = readRows(table, { style: 'point', order: 'mdy' }, (fields) => readRow(fields, lines))
    const resolved = resolveCorporateActions(lines)
    return rows.map((row): ImportRow => resolved.get(row.row) ?? row)
  },
}
