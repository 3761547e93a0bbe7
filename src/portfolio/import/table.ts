import Papa from 'papaparse'

/** One row of a table: its cells, and the number that a spreadsheet shows beside it. */
export type TableRow = { row: number; cells: readonly string[] }

/** A text of rows and columns: `columns` are names as `columnName` makes them, in the order of the cells. */
export type Table = { columns: readonly string[]; rows: readonly TableRow[]; delimiter: string }

/** Lines above the names of the columns that some brokers write: a title, the account. */
const MAX_PREAMBLE_ROWS = 20
/** Characters by which the delimiter is guessed. */
const DELIMITER_SAMPLE_LENGTH = 4_000

/** A name of a column without what differs between exports: capitals, accents' forms, spaces, marks. */
export const normalizeColumnName = (text: string): string =>
  text
    .normalize('NFC')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]/gu, '')

const isEmpty = (cells: readonly string[]): boolean => cells.every((cell) => cell.trim() === '')

/** The names of a table's columns, and where they stand: `at` rows of the text come before them. */
export type TableHeader = { columns: readonly string[]; delimiter: string; at: number }

/**
 * The heads that a text may have: divided by comma, semicolon, tab or bar, each of the first few rows as the names of the
 * columns, the likeliest first.
 */
export function* findHeaders(text: string): Generator<TableHeader> {
  const start = text.slice(0, DELIMITER_SAMPLE_LENGTH)
  const counted = [',', ';', '\t', '|'].map((delimiter) => ({ delimiter, count: start.split(delimiter).length - 1 }))
  const likely = counted.filter(({ count }) => count > 0).sort((a, b) => b.count - a.count)
  for (const { delimiter } of likely) {
    const rows = Papa.parse<string[]>(stripBom(text), { delimiter, preview: MAX_PREAMBLE_ROWS }).data
    for (const [at, cells] of rows.entries()) {
      const columns = cells.map(normalizeColumnName)
      if (columns.filter((name) => name !== '').length >= 3) yield { columns, delimiter, at }
    }
  }
}

/** The table below a head. CRLF and quoted fields, also of several lines, are what they are; empty rows are left out. */
export function parseTable(text: string, { columns, delimiter, at }: TableHeader): Table {
  const rows = Papa.parse<string[]>(stripBom(text), { delimiter }).data.slice(at + 1)
  const numbered = rows.map((cells, i) => ({ row: at + i + 2, cells }))
  return { columns, delimiter, rows: numbered.filter(({ cells }) => !isEmpty(cells)) }
}

/** A byte order mark is no part of the first name. */
const stripBom = (text: string): string => text.replace(/^\ufeff/, '')
