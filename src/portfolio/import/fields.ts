import { decimalOf, isZero, type Style } from './amount.ts'
import { type Money, moneyOf } from './money.ts'
import type { ImportRow, RowFault, Said } from './row.ts'
import type { Table, TableRow } from './table.ts'
import { type DayOrder, instantOf } from './time.ts'

/** How the amounts and days of a table are written. */
export type Manner = { style: Style; order: DayOrder }

/**
 * The cells of one row by the names of their columns. What is asked for and cannot be had becomes a fault of the row, and
 * something harmless stands in for it: a row with faults is refused as a whole.
 */
export type Fields = {
  row: number
  /** Whether the table has one of these columns. */
  has(...names: string[]): boolean
  /** The first of these cells that is not empty; else ''. */
  text(...names: string[]): string
  /** The cell beside the one of this name, as where two columns share a name. */
  beside(name: string): string
  /** An amount of the first of these cells that is not empty; without one, `otherwise`, or a fault. */
  amount(names: readonly string[], otherwise?: string): string
  /** As an amount; one of nothing counts as no amount. Null where there is none. */
  given(...names: string[]): string | null
  /** A currency of the first of these cells that is not empty. */
  money(...names: string[]): Money
  instant(...names: string[]): string
  /** Reads a text that stands in no cell of its own. */
  decimal(field: string, text: string): string
  moment(field: string, text: string): string
  fault(field: string, message: string): void
}

const NO_MONEY: Money = { currency: 'USD', amount: (text) => text }
const shown = (text: string): string => text.slice(0, 60)

/** The fields of a row, and the faults as they are found. */
function fieldsOf(columns: ReadonlyMap<string, number>, row: TableRow, manner: Manner, faults: RowFault[]): Fields {
  const fault = (field: string, message: string): void => {
    faults.push({ field, message })
  }
  const cell = (name: string): string => row.cells[columns.get(name) ?? -1]?.trim() ?? ''
  const text = (...names: string[]): string => names.map(cell).find((found) => found !== '') ?? ''
  const nameOf = (names: readonly string[]): string =>
    names.find((name) => cell(name) !== '') ?? names.find((name) => columns.has(name)) ?? (names[0] as string)
  const decimal = (field: string, given: string): string => {
    const read = decimalOf(given, manner.style)
    if (read === null) fault(field, given === '' ? 'is missing' : `${shown(given)} is no amount`)
    return read ?? '0'
  }
  const moment = (field: string, given: string): string => {
    const read = instantOf(given, manner.order)
    if (!read.ok) fault(field, read.message)
    return read.ok ? read.at : '1970-01-01T00:00:00Z'
  }
  return {
    row: row.row,
    has: (...names) => names.some((name) => columns.has(name)),
    text,
    beside: (name) => row.cells[(columns.get(name) ?? -2) + 1]?.trim() ?? '',
    amount(names, otherwise) {
      const given = text(...names)
      return given === '' && otherwise !== undefined ? otherwise : decimal(nameOf(names), given)
    },
    given(...names) {
      const given = text(...names)
      if (given === '') return null
      const read = decimal(nameOf(names), given)
      return isZero(read) ? null : read
    },
    money(...names) {
      const given = text(...names)
      const read = moneyOf(given)
      if (read === null) fault(nameOf(names), given === '' ? 'is missing' : `${shown(given)} is no currency`)
      return read ?? NO_MONEY
    },
    instant: (...names) => moment(nameOf(names), text(...names)),
    decimal,
    moment,
    fault,
  }
}

/** The place of each column; of two of one name the first. */
export function placesOf(columns: readonly string[]): Map<string, number> {
  const places = new Map<string, number>()
  columns.forEach((name, at) => {
    if (name !== '' && !places.has(name)) places.set(name, at)
  })
  return places
}

/** Reads a table row by row: in its order, each row's faults, or else what `read` says of it. */
export function readRows(table: Table, manner: Manner, read: (fields: Fields) => Said): ImportRow[] {
  const places = placesOf(table.columns)
  return table.rows.flatMap((row) => {
    const faults: RowFault[] = []
    const said = read(fieldsOf(places, row, manner, faults))
    return rowsOf(row.row, said, faults)
  })
}

/** What came of one row. */
export function rowsOf(row: number, said: Said, faults: readonly RowFault[]): ImportRow[] {
  if (faults.length > 0) return faults.map((error) => ({ row, error }))
  return 'skipped' in said ? [{ row, skipped: said.skipped }] : said.map((draft) => ({ row, ...draft }))
}
