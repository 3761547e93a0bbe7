import type { ImportRow } from './row.ts'
import type { Table } from './table.ts'

/** Reads one format of tables. `fits` looks at the names of the columns alone. */
export type ImportReader = {
  format: string
  matches(columns: ReadonlySet<string>): boolean
  read(table: Table): ImportRow[]
}
