import type { DecimalStyle } from './amount.ts'
import { parseTrade } from './degiro-language.ts'
import { type AccountLine, readAccountLines } from './degiro-lines.ts'
import { columnIndexes, type ImportReader, type RowFields, tableFields, toImportRows } from './reader.ts'
import type { ImportRow } from './row.ts'
import type { Table, TableRow } from './table.ts'

/** The names of the columns in DEGIRO's languages. */
const DATE = 'datum date fecha data dato dátum'.split(' ')
const TIME = 'tijd time uhrzeit heure hora ora tid čas godzina'.split(' ')
const PRODUCT = 'product produkt produit producto prodotto produto'.split(' ')
const ISIN = 'isin codeisin'.split(' ')
const DESCRIPTION =
  'omschrijving description beschreibung descripción descrizione descrição beskrivning beskrivelse popis opis'.split(
    ' ',
  )
const CHANGE = 'mutatie change änderung mouvements variación variazioni mudança förändring ændring změna zmiana'.split(
  ' ',
)
const RATE = 'fx tipo wisselkoers exchangerate'.split(' ')
const ORDER = 'orderid idordre idorden idordine iddaordem idpokynu identyfikatorzlecenia'.split(' ')

/** Joins a row without a date to the one above it: a long text or number was wrapped. */
function joinWrappedRows(table: Table): { table: Table; wrapped: ImportRow[] } {
  const indexes = columnIndexes(table.columns)
  const date = DATE.map((name) => indexes.get(name)).find((at) => at !== undefined) as number
  const order = ORDER.map((name) => indexes.get(name)).find((at) => at !== undefined)
  const rows: TableRow[] = []
  const wrapped: ImportRow[] = []
  for (const row of table.rows) {
    const above = rows.at(-1)
    if (above === undefined || row.cells[date]?.trim() !== '') {
      rows.push(row)
      continue
    }
    const cells = above.cells.map((cell, at) => {
      const more = row.cells[at]?.trim() ?? ''
      return more === '' ? cell : at === order ? cell.trim() + more : `${cell.trim()} ${more}`
    })
    rows[rows.length - 1] = { row: above.row, cells }
    wrapped.push({ row: row.row, skipped: `continues in row ${above.row}` })
  }
  return { table: { ...table, rows }, wrapped }
}

function readLine(fields: RowFields): AccountLine {
  const [date, time] = [fields.text(...DATE), fields.text(...TIME)]
  const description = fields.text(...DESCRIPTION)
  const change = CHANGE.find((name) => fields.has(name)) as string
  const amount = fields.cellAfter(change)
  const rate = fields.text(...RATE)
  return {
    row: fields.row,
    at: fields.parseTime('date', time === '' ? date : `${date} ${time}`),
    product: fields.text(...PRODUCT),
    isin: fields.text(...ISIN).toUpperCase(),
    description,
    currency: fields.text(change),
    amount: amount === '' ? null : fields.parseAmount('change', amount),
    rate: rate === '' ? null : fields.parseAmount('fx', rate),
    order: fields.text(...ORDER),
    trade: parseTrade(description),
  }
}

/** DEGIRO's account statement, in any of its languages. */
export const degiro: ImportReader = {
  format: 'degiro',
  columns: [DATE, PRODUCT, ISIN, DESCRIPTION, CHANGE, ORDER],
  read(table) {
    const english = table.columns.includes('description') && table.columns.includes('change')
    const style: DecimalStyle = english ? 'point' : 'comma'
    const joined = joinWrappedRows(table)
    const read = tableFields(joined.table, { style, order: 'dmy' }).map((fields) => ({
      fields,
      line: readLine(fields),
    }))
    const valid = read.filter(({ fields }) => fields.errors.length === 0).map(({ line }) => line)
    const results = readAccountLines(valid, style)
    const rows = read.flatMap(({ fields: { row, errors } }) => {
      const result = results.get(row) ?? []
      return 'field' in result ? toImportRows(row, [], [result]) : toImportRows(row, result, errors)
    })
    return [...rows, ...joined.wrapped].sort((a, b) => a.row - b.row)
  },
}
