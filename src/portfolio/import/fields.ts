import { type DecimalStyle, isZero, parseAmount } from './amount.ts'
import { type CurrencyUnit, parseCurrency } from './money.ts'
import type { ImportRow, RowError, RowResult } from './row.ts'
import type { Table, TableRow } from './table.ts'
import { type DayOrder, parseTime } from './time.ts'

/** How the amounts and days of a table are written. */
export type TableFormat = { style: DecimalStyle; order: DayOrder }

/**
 * The cells of one row by the names of their columns. What is asked for and cannot be had becomes a fault of the row, and
 * something harmless stands in for it: a row with faults is refused as a whole.
 */
export type RowFields = {
  row: number
  /** Whether the table has one of these columns. */
  has(...names: string[]): boolean
  /** The first of these cells that is not empty; else ''. */
  text(...names: string[]): string
  /** The cell beside the one of this name, as where two columns share a name. */
  cellAfter(name: string): string
  /** An amount of the first of these cells that is not empty; without one, `otherwise`, or a fault. */
  amount(names: readonly string[], otherwise?: string): string
  /** As an amount; one of nothing counts as no amount. Null where there is none. */
  nonZeroAmount(...names: string[]): string | null
  /** A currency of the first of these cells that is not empty. */
  currency(...names: string[]): CurrencyUnit
  time(...names: string[]): string
  /** Reads a text that stands in no cell of its own. */
  parseAmount(field: string, text: string): string
  parseTime(field: string, text: string): string
  addError(field: string, message: string): void
}

const FALLBACK_CURRENCY: CurrencyUnit = { currency: 'USD', toMajor: (text) => text }
const truncate = (text: string): string => text.slice(0, 60)

/** The fields of a row, and the faults as they are found. */
function createFields(
  columns: ReadonlyMap<string, number>,
  row: TableRow,
  manner: TableFormat,
  faults: RowError[],
): RowFields {
  const fault = (field: string, message: string): void => {
    faults.push({ field, message })
  }
  const cell = (name: string): string => row.cells[columns.get(name) ?? -1]?.trim() ?? ''
  const text = (...names: string[]): string => names.map(cell).find((found) => found !== '') ?? ''
  const nameOf = (names: readonly string[]): string =>
    names.find((name) => cell(name) !== '') ?? names.find((name) => columns.has(name)) ?? (names[0] as string)
  const decimal = (field: string, given: string): string => {
    const read = parseAmount(given, manner.style)
    if (read === null) fault(field, given === '' ? 'is missing' : `${truncate(given)} is no amount`)
    return read ?? '0'
  }
  const moment = (field: string, given: string): string => {
    const read = parseTime(given, manner.order)
    if (!read.ok) fault(field, read.message)
    return read.ok ? read.at : '1970-01-01T00:00:00Z'
  }
  return {
    row: row.row,
    has: (...names) => names.some((name) => columns.has(name)),
    text,
    cellAfter: (name) => row.cells[(columns.get(name) ?? -2) + 1]?.trim() ?? '',
    amount(names, otherwise) {
      const given = text(...names)
      return given === '' && otherwise !== undefined ? otherwise : decimal(nameOf(names), given)
    },
    nonZeroAmount(...names) {
      const given = text(...names)
      if (given === '') return null
      const read = decimal(nameOf(names), given)
      return isZero(read) ? null : read
    },
    currency(...names) {
      const given = text(...names)
      const read = parseCurrency(given)
      if (read === null) fault(nameOf(names), given === '' ? 'is missing' : `${truncate(given)} is no currency`)
      return read ?? FALLBACK_CURRENCY
    },
    time: (...names) => moment(nameOf(names), text(...names)),
    parseAmount: decimal,
    parseTime: moment,
    addError: fault,
  }
}

/** The place of each column; of two of one name the first. */
export function columnIndexes(columns: readonly string[]): Map<string, number> {
  const places = new Map<string, number>()
  columns.forEach((name, at) => {
    if (name !== '' && !places.has(name)) places.set(name, at)
  })
  return places
}

/** Reads a table row by row: in its order, each row's faults, or else what `read` says of it. */
export function readRows(table: Table, manner: TableFormat, read: (fields: RowFields) => RowResult): ImportRow[] {
  const places = columnIndexes(table.columns)
  return table.rows.flatMap((row) => {
    const faults: RowError[] = []
    const said = read(createFields(places, row, manner, faults))
    return toImportRows(row.row, said, faults)
  })
}

/** What came of one row. */
export function toImportRows(row: number, said: RowResult, faults: readonly RowError[]): ImportRow[] {
  if (faults.length > 0) return faults.map((error) => ({ row, error }))
  return 'skipped' in said ? [{ row, skipped: said.skipped }] : said.map((draft) => ({ row, ...draft }))
}
