import { type DecimalStyle, isZero, parseAmount } from './amount.ts'
import { unknownKindMessage } from './kind.ts'
import { type CurrencyUnit, parseCurrency } from './money.ts'
import type { ImportRow, RowError, RowResult } from './row.ts'
import type { Table, TableRow } from './table.ts'
import { type DayOrder, parseTime } from './time.ts'

/** Reads one format of tables. */
export type ImportReader = {
  format: string
  /** The columns that identify the format, each by its name or by the names that it may have. */
  columns: readonly (string | readonly string[])[]
  /** A column of a similar format, which this one lacks. */
  without?: string
  read(table: Table): ImportRow[]
}

/** How the amounts and days of a table are written. */
export type TableFormat = { style: DecimalStyle; order: DayOrder }

const FALLBACK_CURRENCY: CurrencyUnit = { currency: 'USD', toMajor: (text) => text }
const truncate = (text: string): string => text.slice(0, 60)

/**
 * The cells of one row by their column names. A value that is missing or not valid becomes an error of the row, and a
 * harmless value is returned in its place: a row with errors is refused as a whole.
 */
export class RowFields {
  readonly row: number
  readonly errors: RowError[] = []
  readonly #cells: readonly string[]
  readonly #indexes: ReadonlyMap<string, number>
  readonly #format: TableFormat

  constructor({ row, cells }: TableRow, indexes: ReadonlyMap<string, number>, format: TableFormat) {
    this.row = row
    this.#cells = cells
    this.#indexes = indexes
    this.#format = format
  }

  /** The names of all columns. */
  get columns(): readonly string[] {
    return [...this.#indexes.keys()]
  }

  /** True if the table has one of these columns. */
  has(...names: string[]): boolean {
    return names.some((name) => this.#indexes.has(name))
  }

  /** The first of these cells that is not empty, or ''. */
  text(...names: string[]): string {
    return this.#cell(this.#indexes.get(this.#nameOf(names)))
  }

  /** The cell to the right of this column, for formats with two columns of one name. */
  cellAfter(name: string): string {
    return this.#cell((this.#indexes.get(name) ?? -2) + 1)
  }

  /** The amount in the first of these cells that is not empty. If all are empty: `otherwise`, or an error. */
  amount(names: readonly string[], otherwise?: string): string {
    const text = this.text(...names)
    return text === '' && otherwise !== undefined ? otherwise : this.parseAmount(this.#nameOf(names), text)
  }

  /** The amount in the first of these cells that is not empty; null for none, or 0. */
  nonZeroAmount(...names: string[]): string | null {
    const amount = this.amount(names, '0')
    return isZero(amount) ? null : amount
  }

  /** The currency in the first of these cells that is not empty. */
  currency(...names: string[]): CurrencyUnit {
    return this.parseCurrency(this.#nameOf(names), this.text(...names)) ?? FALLBACK_CURRENCY
  }

  /** The time in the first of these cells that is not empty. */
  time(...names: string[]): string {
    return this.parseTime(this.#nameOf(names), this.text(...names))
  }

  /** Parses text that is only a part of a cell. */
  parseAmount(field: string, text: string): string {
    const amount = parseAmount(text, this.#format.style)
    if (amount === null) this.addError(field, text === '' ? 'is missing' : `${truncate(text)} is no amount`)
    return amount ?? '0'
  }

  /** The same for a currency; null for an error. */
  parseCurrency(field: string, text: string): CurrencyUnit | null {
    const unit = parseCurrency(text)
    if (unit === null) this.addError(field, text === '' ? 'is missing' : `${truncate(text)} is not a valid currency`)
    return unit
  }

  /** The same for a time. */
  parseTime(field: string, text: string): string {
    const result = parseTime(text, this.#format.order)
    if (!result.ok) this.addError(field, result.message)
    return result.ok ? result.at : '1970-01-01T00:00:00Z'
  }

  addError(field: string, message: string): void {
    this.errors.push({ field, message })
  }

  /** The result of a row whose kind, in this cell, no reader knows. */
  unknownKind(field: string): RowResult {
    this.addError(field, unknownKindMessage(this.text(field)))
    return []
  }

  #cell(index = -1): string {
    return this.#cells[index]?.trim() ?? ''
  }

  /** The first of these columns with text in this row, else the first that the table has, else the first. */
  #nameOf(names: readonly string[]): string {
    const filled = names.find((name) => this.#cell(this.#indexes.get(name)) !== '')
    return filled ?? names.find((name) => this.#indexes.has(name)) ?? (names[0] as string)
  }
}

/** The index of each column; of two with one name the first. */
export function columnIndexes(columns: readonly string[]): Map<string, number> {
  const indexes = new Map<string, number>()
  columns.forEach((name, at) => {
    if (name !== '' && !indexes.has(name)) indexes.set(name, at)
  })
  return indexes
}

/** The rows of a table. */
export function tableFields(table: Table, format: TableFormat): RowFields[] {
  const indexes = columnIndexes(table.columns)
  return table.rows.map((row) => new RowFields(row, indexes, format))
}

/** Reads a table row by row. */
export const readRows = (table: Table, format: TableFormat, read: (fields: RowFields) => RowResult): ImportRow[] =>
  tableFields(table, format).flatMap((fields) => toImportRows(fields.row, read(fields), fields.errors))

/** The result of one row: its errors, or else what was read. */
export function toImportRows(row: number, result: RowResult, errors: readonly RowError[]): ImportRow[] {
  if (errors.length > 0) return errors.map((error) => ({ row, error }))
  return 'skipped' in result ? [{ row, skipped: result.skipped }] : result.map((draft) => ({ row, ...draft }))
}
