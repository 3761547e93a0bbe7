import type { Style } from './amount.ts'
import { type Line, readLines } from './degiro-lines.ts'
import { tradeOf } from './degiro-words.ts'
import { type Fields, placesOf, readRows, rowsOf } from './fields.ts'
import type { Reader } from './reader.ts'
import type { ImportRow, RowFault, Said } from './row.ts'
import type { Table, TableRow } from './table.ts'

/** The names of the columns in DEGIRO's languages. */
const DATE = ['datum', 'date', 'fecha', 'data', 'dato', 'dátum']
const TIME = ['tijd', 'time', 'uhrzeit', 'heure', 'hora', 'ora', 'tid', 'čas', 'godzina']
const PRODUCT = ['product', 'produkt', 'produit', 'producto', 'prodotto', 'produto']
const ISIN = ['isin', 'codeisin']
const WORDS = [
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
function unwrapped(table: Table): { table: Table; wrapped: Map<number, number> } {
  const places = placesOf(table.columns)
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

function lineOf(fields: Fields): Line {
  const [date, time] = [fields.text(...DATE), fields.text(...TIME)]
  const words = fields.text(...WORDS)
  const change = CHANGE.find((name) => fields.has(name)) as string
  const amount = fields.beside(change)
  const rate = fields.text(...RATE)
  return {
    row: fields.row,
    at: fields.moment('date', time === '' ? date : `${date} ${time}`),
    product: fields.text(...PRODUCT),
    isin: fields.text(...ISIN).toUpperCase(),
    words,
    currency: fields.text(change),
    amount: amount === '' ? null : fields.decimal('change', amount),
    rate: rate === '' ? null : fields.decimal('fx', rate),
    order: fields.text(...ORDER),
    trade: tradeOf(words),
  }
}

/** DEGIRO's account statement, in any of its languages. */
export const degiro: Reader = {
  format: 'degiro',
  fits: (columns) =>
    [DATE, PRODUCT, ISIN, WORDS, CHANGE, ORDER].every((names) => names.some((name) => columns.has(name))),
  read(table) {
    const { table: whole, wrapped } = unwrapped(table)
    const style: Style = table.columns.includes('description') && table.columns.includes('change') ? 'point' : 'comma'
    const lines: Line[] = []
    const refused = readRows(whole, { style, order: 'dmy' }, (fields) => {
      lines.push(lineOf(fields))
      return []
    })
    const faulty = new Set(refused.map(({ row }) => row))
    const told = readLines(
      lines.filter(({ row }) => !faulty.has(row)),
      style,
    )
    const rows = whole.rows.flatMap(({ row }): ImportRow[] => {
      const said = told.get(row)
      if (said === undefined) return refused.filter((one) => one.row === row)
      return isFaults(said) ? rowsOf(row, [], said) : rowsOf(row, said, [])
    })
    const joined = [...wrapped].map(([row, above]): ImportRow => ({ row, skipped: `goes on with row ${above}` }))
    return [...rows, ...joined].sort((a, b) => a.row - b.row)
  },
}

const isFaults = (said: Said | RowFault[]): said is RowFault[] =>
  Array.isArray(said) && said[0] !== undefined && 'field' in said[0]
