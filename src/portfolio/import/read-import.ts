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

/** Readers that require more columns come before those that require few. */
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

/** The names of all formats. */
export const IMPORT_FORMATS: readonly string[] = [JSON_FORMAT, ...READERS.map(({ format }) => format)]

/** A file's format, and its rows in order. Where no reader knows the format it is null, and `rows` has one error. */
export type ImportedFile = { format: string | null; rows: ImportRow[] }

const unreadableFile = (message: string): ImportedFile => ({
  format: null,
  rows: [{ row: 1, error: { field: 'format', message } }],
})

const reads = ({ columns, without }: ImportReader, names: ReadonlySet<string>): boolean =>
  columns.every((column) => [column].flat().some((name) => names.has(name))) &&
  !(without !== undefined && names.has(without))

/**
 * Reads a broker's export, which it recognises by its column names, or Ghostfolio's JSON.
 * @param format the required format; null for any
 */
export function readImport(text: string, format: string | null): ImportedFile {
  if (looksLikeJson(text) && (format === null || format === JSON_FORMAT)) {
    const rows = readGhostfolioJson(text)
    return rows === null ? unreadableFile('is no JSON with a list of activities') : { format: JSON_FORMAT, rows }
  }
  const readers = READERS.filter((reader) => format === null || reader.format === format)
  for (const header of findHeaders(text)) {
    const names = new Set(header.columns)
    const reader = readers.find((each) => reads(each, names))
    if (reader) return { format: reader.format, rows: reader.read(parseTable(text, header)) }
  }
  return unreadableFile(
    format === null
      ? `is not a known format: send a table with columns such as date, symbol, quantity, price, currency and type, or one of ${IMPORT_FORMATS.join(', ')}`
      : `is not of the form ${format}`,
  )
}
