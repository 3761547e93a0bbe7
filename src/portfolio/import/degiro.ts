import type { DecimalStyle } from './amount.ts'
import { parseTrade } from './degiro-language.ts'
import { type AccountLine, readAccountLines } from './degiro-lines.ts'
import { columnIndexes, type RowFields, readRows, toImportRows } from './fields.ts'
import type { ImportReader } from './reader.ts'
import type { ImportRow, RowError, RowResult } from './row.ts'
import type { Table, TableRow } from './table.ts'

/** The names of the columns in DEGIRO's languages. */
const DATE = ['datum', 'date', 'fecha', 'data', 'dato', 'dátum']
const TIME = ['tijd', 'time', 'uhrzeit', 'heure', 'hora', 'ora', 'tid', 'čas', 'godzina']
const PRODUCT = ['product', 'produkt', 'produit', 'producto', 'prodotto', 'produto']
const ISIN = ['isin', 'codeisin']
const DESCRIPTION = [
  'omschrijving',
  'description',
  'beschreibung',
  'descripción',
  'descrizione',
  'descrição',
  'beskrivning',
  'beskrivelse',
  'popis',
  'opis',
]
const CHANGE = [
  'mutatie',
  'change',
  'änderung',
  'mouvements',
  'variación',
  'variazioni',
  'mudança',
  'förändring',
  'ændring',
  'změna',
  'zmiana',
]
const RATE = ['fx', 'tipo', 'wisselkoers', 'exchangerate']
const ORDER = ['orderid', 'idordre', 'idorden', 'idordine', 'iddaordem', 'idpokynu', 'identyfikatorzlecenia']

/** A line without a day goes on with the one above it: a long text or number was wrapped. */
function joinWrappedRows(table: Table): { table: Table; wrapped: Map<number, number> } {
  const places = columnIndexes(table.columns)
  const day = DATE.map((name) => places.get(name)).find((at) => at !== undefined) as number
  const order = ORDER.map((name) => places.get(name)).find((at) => at !== undefined)
  const rows: TableRow[] = []
  const wrapped = new Map<number, number>()
  for (const row of table.rows) {
    const above = rows.at(-1)
    if (above === undefined || row.cells[day]?.trim() !== '') {
      rows.push(row)
      continue
    }
    const joined = above.cells.map((cell, at) => {
      const more = row.cells[at]?.trim() ?? ''
      return more === '' ? cell : at === order ? cell.trim() + more : `${cell.trim()} ${more}`
    })
    rows[rows.length - 1] = { row: above.row, cells: joined }
    wrapped.set(row.row, above.row)
  }
  return { table: { ...table, rows }, wrapped }
}

function readLine(fields: RowFields): AccountLine {
  const [date, time] = [fields.text(...DATE), fields.text(...TIME)]
  const words = fields.text(...DESCRIPTION)
  const change = CHANGE.find((name) => fields.has(name)) as string
  const amount = fields.cellAfter(change)
  const rate = fields.text(...RATE)
  return {
    row: fields.row,
    at: fields.parseTime('date', time === '' ? date : `${date} ${time}`),
    product: fields.text(...PRODUCT),
    isin: fields.text(...ISIN).toUpperCase(),
    description: words,
    currency: fields.text(change),
    amount: amount === '' ? null : fields.parseAmount('change', amount),
    rate: rate === '' ? null : fields.parseAmount('fx', rate),
    order: fields.text(...ORDER),
    trade: parseTrade(words),
  }
}

/** DEGIRO's account statement, in any of its languages. */
export const degiro: ImportReader = {
  format: 'degiro',
  matches: (columns) =>
    [DATE, PRODUCT, ISIN, DESCRIPTION, CHANGE, ORDER].every((names) => names.some((name) => columns.has(name))),
  read(table) {
    const { table: whole, wrapped } = joinWrappedRows(table)
    const style: DecimalStyle =
      table.columns.includes('description') && table.columns.includes('change') ? 'point' : 'comma'
    const lines: AccountLine[] = []
    const refused = readRows(whole, { style, order: 'dmy' }, (fields) => {
      lines.push(readLine(fields))
      return []
    })
    const faulty = new Set(refused.map(({ row }) => row))
    const told = readAccountLines(
      lines.filter(({ row }) => !faulty.has(row)),
      style,
    )
    const rows = whole.rows.flatMap(({ row }): ImportRow[] => {
      const said = told.get(row)
      if (said === undefined) return refused.filter((one) => one.row === row)
      return isErrors(said) ? toImportRows(row, [], said) : toImportRows(row, said, [])
    })
    const joined = [...wrapped].map(([row, above]): ImportRow => ({ row, skipped: `goes on with row ${above}` }))
    return [...rows, ...joined].sort((a, b) => a.row - b.row)
  },
}

const isErrors = (said: RowResult | RowError[]): said is RowError[] =>
  Array.isArray(said) && said[0] !== undefined && 'field' in said[0]
