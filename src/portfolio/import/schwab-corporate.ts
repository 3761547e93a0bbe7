import { utcDay } from '../time.ts'
import { abs, add, compareAmounts, isNegative, isZero, subtract } from './amount.ts'
import type { ActivityDraft, ImportRow } from './row.ts'
import { splitDraft } from './split-ratio.ts'

/** A line that moves shares. `signed` is its quantity in the file, `posted` the time of posting. */
export type CorporateLine = {
  row: number
  isCorporate: boolean
  action: string
  signed: string
  posted: string
  draft: ActivityDraft
}

/** A security's number replaces the symbol once the symbol is gone. */
const CUSIP = /^(?=.*\d)[A-Z0-9]{8}[0-9*@#]$/

const symbolOf = (line: CorporateLine): string => line.draft.asset?.symbol ?? ''
const firstWord = (line: CorporateLine): string => line.draft.asset?.name?.split(/\s+/)[0] ?? ''

/** The shares of a symbol before a day, by the other lines of the file. */
function heldBefore(day: string, symbol: string, lines: readonly CorporateLine[]): string {
  let held = '0'
  for (const { isCorporate, draft } of lines) {
    if (isCorporate || draft.asset?.symbol !== symbol || utcDay(draft.traded_at) >= day) continue
    const out = draft.kind === 'sell' || draft.kind === 'transfer_out'
    held = out ? subtract(held, draft.quantity) : add(held, draft.quantity)
  }
  return held
}

/** The former symbol of shares that have only their number left: the one of a like name with as many shares. */
function symbolBefore(gone: CorporateLine, lines: readonly CorporateLine[]): string | null {
  const day = utcDay(gone.posted)
  const similar = lines.filter((line) => !line.isCorporate && firstWord(line) === firstWord(gone))
  const held = [...new Set(similar.map(symbolOf))].filter(
    (symbol) => compareAmounts(heldBefore(day, symbol, lines), abs(gone.signed)) === 0,
  )
  return held.length === 1 ? (held[0] as string) : null
}

const splitRow = ({ row, draft, posted }: CorporateLine, now: string, before: string): ImportRow => ({
  row,
  ...splitDraft({ ...draft, traded_at: posted, note: null }, now, before),
})

const errorRow = ({ row }: CorporateLine, field: string, message: string): ImportRow => ({
  row,
  error: { field, message },
})

/** A split that adds or removes shares of one symbol; its ratio follows from the shares held before. */
function addedShares(line: CorporateLine, lines: readonly CorporateLine[]): ImportRow {
  const held = heldBefore(utcDay(line.posted), symbolOf(line), lines)
  const now = add(held, line.signed)
  if (compareAmounts(held, '0') > 0 && compareAmounts(now, '0') > 0) return splitRow(line, now, held)
  const what = `${line.action} of ${symbolOf(line)}`
  return errorRow(line, 'quantity', `${what}: the file does not say how many shares were held before`)
}

/** Shares that were exchanged for those of another line. */
function exchangeRows(into: CorporateLine, gone: CorporateLine, lines: readonly CorporateLine[]): ImportRow[] {
  if (/split/i.test(into.action))
    return [
      splitRow(into, abs(into.signed), abs(gone.signed)),
      { row: gone.row, skipped: `part of the split in row ${into.row}` },
    ]
  const symbol = CUSIP.test(symbolOf(gone)) ? symbolBefore(gone, lines) : symbolOf(gone)
  const asset = gone.draft.asset
  // The cost stays with the old shares.
  const arrived: ImportRow = { row: into.row, ...into.draft, kind: 'transfer_in', price: '0' }
  if (symbol === null || asset === null) {
    const skipped = `${asset?.name ?? 'it'} became ${symbolOf(into)}; the file has no shares of it`
    return [arrived, { row: gone.row, skipped }]
  }
  return [arrived, { row: gone.row, ...gone.draft, kind: 'transfer_out', asset: { ...asset, symbol } }]
}

/**
 * The results of lines of corporate actions, by row: splits, from the shares in the file, and exchanges, whose lines are
 * in pairs: shares that arrived, and shares that left. Other lines are errors.
 */
export function resolveCorporateActions(lines: readonly CorporateLine[]): Map<number, ImportRow> {
  const resolved = new Map<number, ImportRow>()
  const open = lines.filter(({ isCorporate }) => isCorporate)
  for (const line of open) {
    if (resolved.has(line.row) || isNegative(line.signed)) continue
    const gone = open.find(
      (other) =>
        !resolved.has(other.row) &&
        isNegative(other.signed) &&
        other.action === line.action &&
        other.posted === line.posted,
    )
    const split = /split/i.test(line.action) ? [addedShares(line, lines)] : []
    const rows = gone !== undefined && !isZero(line.signed) ? exchangeRows(line, gone, lines) : split
    for (const row of rows) resolved.set(row.row, row)
  }
  for (const line of open) {
    if (resolved.has(line.row)) continue
    const what = `${line.action} of ${symbolOf(line)}`
    resolved.set(line.row, errorRow(line, 'action', `${what}: the line of what it was exchanged for is missing`))
  }
  return resolved
}
