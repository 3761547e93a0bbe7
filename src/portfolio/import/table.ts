import Papa from 'papaparse'

/** One row of a table: its cells, and the number that a spreadsheet shows beside it. */
export type TableRow = { row: number; cells: readonly string[] }

/** A text of rows and columns: `columns` are normalised names, in the order of the cells. */
export type Table = { columns: readonly string[]; rows: readonly TableRow[]; delimiter: string }

/** The most lines above the column names; some brokers write a title or the account there. */
const MAX_PREAMBLE_ROWS = 20
/** Characters of the text from which the delimiter is guessed. */
const DELIMITER_SAMPLE_LENGTH = 4_000

/** A column name in the form in which exports agree: lower case, composed accents, no spaces or punctuation. */
export const normalizeColumnName = (text: string): string =>
  text
    .normalize('NFC')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]/gu, '')

const isEmpty = (cells: readonly string[]): boolean => cells.every((cell) => cell.trim() === '')

/** The column names of a table, after `at` other rows. */
export type TableHeader = { columns: readonly string[]; delimiter: string; at: number }

/**
 * The possible headers of a text, the likeliest first: its first rows, separated by comma, semicolon, tab or bar.
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

/** The table below a header, without empty rows. Quoted fields may have several lines. */
export function parseTable(text: string, { columns, delimiter, at }: TableHeader): Table {
  const rows = Papa.parse<string[]>(stripBom(text), { delimiter }).data.slice(at + 1)
  const numbered = rows.map((cells, i) => ({ row: at + i + 2, cells }))
  return { columns, delimiter, rows: numbered.filter(({ cells }) => !isEmpty(cells)) }
}

/** A byte order mark is not part of the first name. */
const stripBom = (text: string): string => text.replace(/^\ufeff/, '')
