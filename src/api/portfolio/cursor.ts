import type { UserSql } from '../../db/client.ts'
import { type ActivityCursor, readActivityAssets } from '../../db/read-activities.ts'
import { resolve } from '../../pricing/symbol.ts'
import { invalidField } from '../http/input.ts'
import { isUuid } from './write-activity.ts'

const CURSOR_PATTERN = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)((?:\.\d{1,6})?Z) (\S+)$/

/** A cursor as opaque text, safe in a URL. */
const encodeCursor = ({ traded_at, id }: ActivityCursor): string =>
  btoa(`${traded_at} ${id}`).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')

/** Parses a cursor; null starts from the beginning. @throws CodedError naming `cursor` when it is malformed */
export function decodeCursor(cursor: string | undefined): ActivityCursor | null {
  if (cursor === undefined) return null
  const [, second = '', rest = '', id = ''] = CURSOR_PATTERN.exec(decodeBase64Url(cursor)) ?? []
  // `Date` would take a day outside the calendar for another one.
  const time = new Date(`${second}Z`)
  if (!isUuid(id) || Number.isNaN(time.getTime()) || time.toISOString().slice(0, 19) !== second)
    throw invalidField('cursor', 'must be what a page gave as next_cursor')
  return { traded_at: `${second}${rest}`, id }
}

function decodeBase64Url(cursor: string): string {
  try {
    return atob(cursor.replaceAll('-', '+').replaceAll('_', '/'))
  } catch {
    return ''
  }
}

/** The first `limit` rows, of which one more was read, and the cursor of the next page. */
export function toPage<T extends ActivityCursor>(
  rows: readonly T[],
  limit: number,
): { rows: T[]; next: string | null } {
  const last = rows.length > limit ? rows[limit - 1] : undefined
  return { rows: rows.slice(0, limit), next: last ? encodeCursor(last) : null }
}

/** The assets that a symbol names among the user's activities; null without a symbol. */
export async function assetIdsBySymbol(
  sql: UserSql,
  userId: string,
  symbol: string | undefined,
): Promise<number[] | null> {
  if (symbol === undefined) return null
  const found = resolve(symbol.toUpperCase(), await readActivityAssets(sql, userId))
  if (found.kind === 'none') return []
  return found.kind === 'one' ? [found.asset.asset_id] : found.assets.map(({ asset_id }) => asset_id)
}
