import { coinbase } from './coinbase.ts'
import { cryptocom } from './cryptocom.ts'
import { degiro } from './degiro.ts'
import { delta } from './delta.ts'
import { genericCsv } from './generic-csv.ts'
import { looksLikeJson, readGhostfolioJson } from './ghostfolio-json.ts'
import { ibkrCash, ibkrTrades } from './ibkr.ts'
import { parqet } from './parqet.ts'
import type { ImportReader } from './reader.ts'
import type { ImportRow } from './row.ts'
import { schwab } from './schwab.ts'
import { findHeaders, parseTable } from './table.ts'
import { trading212 } from './trading212.ts'

/** Those that ask for more columns go before those that ask for few. */
const READERS: readonly ImportReader[] = [
  trading212,
  coinbase,
  cryptocom,
  degiro,
  delta,
  parqet,
  schwab,
  ibkrTrades,
  ibkrCash,
  genericCsv,
]

const JSON_FORMAT = 'ghostfolio-json'

/** Every format that is read, as `format` may name it. */
export const IMPORT_FORMATS: readonly string[] = [JSON_FORMAT, ...READERS.map(({ format }) => format)]

/** What a text is, and its rows in the order of the file; `format` null: nothing here reads it, `rows` has the one reason. */
export type ImportedFile = { format: string | null; rows: ImportRow[] }

const unreadableFile = (message: string): ImportedFile => ({
  format: null,
  rows: [{ row: 1, error: { field: 'format', message } }],
})

/**
 * Reads a broker's export, by the names of its columns, or Ghostfolio's JSON.
 * @param format what it has to be; null: whatever it is
 */
export function readImport(text: string, format: string | null): ImportedFile {
  if (looksLikeJson(text) && (format === null || format === JSON_FORMAT)) {
    const rows = readGhostfolioJson(text)
    return rows === null ? unreadableFile('is no JSON with a list of activities') : { format: JSON_FORMAT, rows }
  }
  const readers = READERS.filter((reader) => format === null || reader.format === format)
  for (const head of findHeaders(text)) {
    const columns = new Set(head.columns)
    const reader = readers.find(({ matches: fits }) => fits(columns))
    if (reader) return { format: reader.format, rows: reader.read(parseTable(text, head)) }
  }
  return unreadableFile(
    format === null
      ? `is of no form that is known here: a table with columns such as date, symbol, quantity, price, currency and type, or one of ${IMPORT_FORMATS.join(', ')}`
      : `is not of the form ${format}`,
  )
}
