import { utcDay } from '../time.ts'
import { abs, add, compareAmounts, isNegative, isZero, subtract } from './amount.ts'
import type { ActivityDraft, ImportRow } from './row.ts'
import { splitRatio } from './split-ratio.ts'

/** A line that moves shares. `signed` is its quantity as told, `posted` the moment that it was posted. */
export type CorporateLine = {
  row: number
  isCorporate: boolean
  action: string
  signed: string
  posted: string
  draft: ActivityDraft
}

/** A security's number stands in the symbol's place once the symbol is gone. */
const CUSIP = /^(?=.*\d)[A-Z0-9]{8}[0-9*@#]$/

const symbolOf = (line: CorporateLine): string => line.draft.asset?.symbol ?? ''
const firstWord = (line: CorporateLine): string => line.draft.asset?.name?.split(/\s+/)[0] ?? ''

/** Shares of a symbol that the file's other lines leave before a day. */
function heldBefore(day: string, symbol: string, lines: readonly CorporateLine[]): string {
  let held = '0'
  for (const { isCorporate: corporate, draft } of lines) {
    if (corporate || draft.asset?.symbol !== symbol || utcDay(draft.traded_at) >= day) continue
    const out = draft.kind === 'sell' || draft.kind === 'transfer_out'
    held = out ? subtract(held, draft.quantity) : add(held, draft.quantity)
  }
  return held
}

/** The symbol that shares had in this file before only their number was left: as many of a like name were held. */
function symbolBefore(gone: CorporateLine, lines: readonly CorporateLine[]): string | null {
  const day = utcDay(gone.posted)
  const symbols = new Set(
    lines.filter((line) => !line.isCorporate && firstWord(line) === firstWord(gone)).map(symbolOf),
  )
  const held = [...symbols].filter((symbol) => compareAmounts(heldBefore(day, symbol, lines), abs(gone.signed)) === 0)
  return held.length === 1 ? (held[0] as string) : null
}

/** More shares of the same symbol: how many for how many, the file tells by what was held. */
function splitRow(line: CorporateLine, lines: readonly CorporateLine[]): ImportRow {
  const day = utcDay(line.posted)
  const held = heldBefore(day, symbolOf(line), lines)
  const now = add(held, line.signed)
  if (compareAmounts(held, '0') <= 0 || compareAmounts(now, '0') <= 0)
    return {
      row: line.row,
      error: {
        field: 'quantity',
        message: `${line.action} of ${symbolOf(line)}: the file does not tell how many shares were held before`,
      },
    }
  const { row, draft } = line
  return {
    row,
    ...draft,
    kind: 'split',
    traded_at: line.posted,
    quantity: '0',
    price: '0',
    note: null,
    split: splitRatio(now, held),
  }
}

/** Shares that were exchanged for those of another line. */
function exchangeRows(into: CorporateLine, gone: CorporateLine, lines: readonly CorporateLine[]): ImportRow[] {
  if (/split/i.test(into.action)) {
    const split = splitRatio(abs(into.signed), abs(gone.signed))
    return [
      {
        row: into.row,
        ...into.draft,
        kind: 'split',
        traded_at: into.posted,
        quantity: '0',
        price: '0',
        note: null,
        split,
      },
      { row: gone.row, skipped: `the split is told with row ${into.row}` },
    ]
  }
  const before = CUSIP.test(symbolOf(gone)) ? symbolBefore(gone, lines) : symbolOf(gone)
  const asset = gone.draft.asset
  const left: ImportRow =
    before === null || asset === null
      ? { row: gone.row, skipped: `${asset?.name ?? 'it'} became ${symbolOf(into)}; the file has no shares of it` }
      : {
          row: gone.row,
          ...gone.draft,
          kind: 'transfer_out',
          quantity: abs(gone.signed),
          asset: { ...asset, symbol: before },
        }
  // The cost of what was exchanged stands with the old shares alone.
  return [{ row: into.row, ...into.draft, kind: 'transfer_in', quantity: abs(into.signed), price: '0' }, left]
}

/**
 * What became of the lines of corporate actions, by row: splits by the shares of the file, and exchanges, whose lines
 * stand in pairs: shares that came, and shares that went. What follows from no line is refused.
 */
export function resolveCorporateActions(lines: readonly CorporateLine[]): Map<number, ImportRow> {
  const settled = new Map<number, ImportRow>()
  const open = lines.filter(({ isCorporate: corporate }) => corporate)
  for (const line of open) {
    if (settled.has(line.row) || isNegative(line.signed)) continue
    const gone = open.find(
      (other) =>
        !settled.has(other.row) &&
        isNegative(other.signed) &&
        other.action === line.action &&
        other.posted === line.posted,
    )
    const rows =
      gone !== undefined && !isZero(line.signed)
        ? exchangeRows(line, gone, lines)
        : /split/i.test(line.action)
          ? [splitRow(line, lines)]
          : []
    for (const row of rows) settled.set(row.row, row)
  }
  for (const line of open)
    if (!settled.has(line.row)) {
      const message = `${line.action} of ${symbolOf(line)}: the line of what it was exchanged for is missing`
      settled.set(line.row, { row: line.row, error: { field: 'action', message } })
    }
  return settled
}
