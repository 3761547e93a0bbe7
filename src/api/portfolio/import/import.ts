import { type Context, Hono } from 'hono'
import { z } from 'zod'
import { sha256 } from '../../../auth/digest.ts'
import { readSettings } from '../../../config.ts'
import { changeActivities, lockPortfolio, type NewActivity } from '../../../db/activities.ts'
import type { UserSql } from '../../../db/client.ts'
import { readDuplicateCandidates } from '../../../db/import-activities.ts'
import { computeFingerprints, type DuplicateMatch, matchDuplicates } from '../../../portfolio/fingerprint.ts'
import { IMPORT_FORMATS, readImport } from '../../../portfolio/import/read-import.ts'
import { type ImportRow, isActivity } from '../../../portfolio/import/row.ts'
import { CodedError } from '../../../protocol/errors.ts'
import { requireUser } from '../../accounts/session.ts'
import { readBytes } from '../../http/body.ts'
import type { AppEnv } from '../../http/context.ts'
import { type Command, dryRun, respondIdempotent } from '../../http/idempotency.ts'
import { invalidField, parse } from '../../http/input.ts'
import { PRIVATE_NO_STORE } from '../../http/user-transaction.ts'
import { isUuid } from '../write-activity.ts'
import { assignAssetIds, assignIds, type ResolvedActivity, resolveActivities, toNote } from './resolve.ts'
import { type ImportResult, MAX_LISTED, type RowError } from './result.ts'

/** The query of `POST /api/v1/portfolio/import`. */
export const importQuerySchema = z.object({
  dry_run: z
    .enum(['true', 'false'], 'must be true or false')
    .default('false')
    .transform((text) => text === 'true')
    .meta({ description: 'true: tells what the import would do, and writes nothing' }),
  format: z
    .enum(IMPORT_FORMATS as [string, ...string[]], `must be one of ${IMPORT_FORMATS.join(', ')}`)
    .optional()
    .meta({ description: 'What the file is; without it, that is found out by the names of its columns' }),
  unknown: z
    .enum(['refuse', 'own'], 'must be refuse or own')
    .default('refuse')
    .meta({ description: 'own: what no provider knows becomes an asset of your own, kept at cost' }),
})
export type ImportQuery = z.output<typeof importQuerySchema>

/** Which of these are there already. */
async function findDuplicates(
  sql: UserSql,
  userId: string,
  activities: readonly NewActivity[],
): Promise<DuplicateMatch[]> {
  if (activities.length === 0) return []
  const fingerprints = await computeFingerprints(activities, sha256)
  const times = activities.map(({ traded_at }) => traded_at).sort((a, b) => Date.parse(a) - Date.parse(b))
  const asked = { from: times[0] as string, to: times[times.length - 1] as string, fingerprints }
  return matchDuplicates(activities, fingerprints, await readDuplicateCandidates(sql, userId, asked))
}

type PreparedActivity = { resolved: ResolvedActivity; activity: NewActivity }

function toNewActivity(
  { imported: read, currency }: ResolvedActivity,
  id: string,
  asset_id: number | null,
): NewActivity {
  const { kind, quantity, price, fees, traded_at, split, lots, note, short } = read
  return {
    id,
    kind,
    asset_id,
    quantity,
    price,
    fees,
    currency,
    traded_at,
    split,
    lots,
    note: toNote(note),
    short,
    fingerprint: null,
  }
}

/** Named lots by the ids that their purchases have here: those of the file, or of what is there already. */
function resolveLotIds(
  chosen: readonly PreparedActivity[],
  verdicts: readonly DuplicateMatch[],
  faults: RowError[],
): NewActivity[] {
  const ids = new Map(
    chosen.map(({ resolved: placed, activity }, at) => [placed.imported.id, verdicts[at]?.known ?? activity.id]),
  )
  return chosen.flatMap(({ resolved: placed, activity }, at): NewActivity[] => {
    const verdict = verdicts[at] as DuplicateMatch
    if (verdict.known !== null) return []
    const lots = activity.lots?.map(({ lot_id, quantity }) => ({ lot_id: ids.get(lot_id) ?? lot_id, quantity })) ?? null
    const strange = lots?.find(({ lot_id }) => !isUuid(lot_id))
    if (strange)
      faults.push({
        row: placed.imported.row,
        field: 'lots',
        message: `there is no lot ${strange.lot_id.slice(0, 60)}`,
      })
    return [{ ...activity, lots, fingerprint: verdict.fingerprint }]
  })
}

/** Tells what is wrong with a file that is imported for good. */
function throwRowErrors(faults: readonly RowError[]): never {
  const [first, ...more] = faults as [RowError, ...RowError[]]
  const rest = more.length === 0 ? '' : `; and ${more.length} more`
  throw new CodedError(
    'invalid_request',
    `nothing was imported: row ${first.row}, ${first.field}: ${first.message}${rest}`,
    {
      errors: faults.slice(0, MAX_LISTED),
    },
  )
}

const byRow = (a: RowError, b: RowError): number => a.row - b.row

/**
 * Imports a file, all or nothing: each row becomes activities, is skipped with a reason, or is an error, and with any
 * error nothing is written. What is there already is left as it is. Sales of more than is held go short; what is yet to
 * come has no effect until then.
 * @throws CodedError `message_too_large` for too many rows; when it runs, unless it is a dry run, `invalid_request` with
 *   the rows and the reasons
 */
export async function importCommand(
  c: Context<AppEnv>,
  text: string,
  query: ImportQuery,
): Promise<Command<ImportResult>> {
  const { user } = c.var
  const now = new Date()
  const { format, rows } = readImport(text, query.format ?? null)
  const count = new Set(rows.map(({ row }) => row)).size
  const most = readSettings(c.env).MAX_IMPORT_ROWS
  if (count > most)
    throw new CodedError('message_too_large', `an import has ${most} rows at most, and this one has ${count}`)
  const before: RowError[] = rows.flatMap((row) => ('error' in row ? [{ row: row.row, ...row.error }] : []))
  const placed = await resolveActivities(c, rows.filter(isActivity), query.unknown, before)
  const ids = assignIds(placed, now)

  return async (sql) => {
    const faults = [...before]
    await lockPortfolio(sql, user.id)
    const numbers = await assignAssetIds(sql, user.id, placed, faults)
    const chosen = placed.flatMap((one, at): PreparedActivity[] => {
      const number = numbers.get(one)
      return number === undefined ? [] : [{ resolved: one, activity: toNewActivity(one, ids[at] as string, number) }]
    })
    const verdicts = await findDuplicates(
      sql,
      user.id,
      chosen.map(({ activity }) => activity),
    )
    const insert = resolveLotIds(chosen, verdicts, faults)
    const written =
      faults.length > 0 || insert.length === 0 ? null : await changeActivities(sql, user.id, now, { insert })
    if (written?.ok === false) {
      const { activity_id, detail } = written.refused
      const row = chosen.find(({ activity }) => activity.id === activity_id)?.resolved.imported.row
      faults.push({ row: row ?? 0, field: row === undefined ? 'activity' : 'quantity', message: detail })
    }
    if (faults.length > 0 && !query.dry_run) throwRowErrors(faults.sort(byRow))
    const answer: ImportResult = {
      format,
      dry_run: query.dry_run,
      rows: count,
      imported: insert.length,
      duplicates: verdicts.filter(({ known }) => known !== null).length,
      ...listSkips(rows),
      failed: faults.length,
      errors: faults.sort(byRow).slice(0, MAX_LISTED),
      activities: chosen
        .slice(0, MAX_LISTED)
        .map(({ resolved: one, activity }, at) => toListedActivity(one, activity, verdicts[at] as DuplicateMatch)),
    }
    return { status: 200, headers: {}, body: answer, change: written?.ok ? written.change : null }
  }
}

function listSkips(rows: readonly ImportRow[]): Pick<ImportResult, 'skipped' | 'skips'> {
  const skips = rows.flatMap((row) => ('skipped' in row ? [{ row: row.row, reason: row.skipped }] : []))
  return { skipped: skips.length, skips: skips.slice(0, MAX_LISTED) }
}

function toListedActivity(
  { imported: read, target }: ResolvedActivity,
  activity: NewActivity,
  verdict: DuplicateMatch,
): ImportResult['activities'][number] {
  const { kind, quantity, price, fees, currency, traded_at, split, note } = activity
  const named = target === null ? null : 'own' in target ? target.own : target
  return {
    row: read.row,
    kind,
    symbol: named?.symbol ?? null,
    name: named?.name ?? null,
    quantity,
    price,
    fees,
    currency,
    traded_at,
    split,
    note,
    duplicate: verdict.known !== null,
  }
}

/** The text of a file, whatever program has written it. */
export function decodeText(bytes: Uint8Array): string {
  const [first, second] = bytes
  if (first === 0xff && second === 0xfe) return new TextDecoder('utf-16le').decode(bytes)
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes)
  } catch {
    return new TextDecoder('windows-1252').decode(bytes)
  }
}

/** The file of a request: its body, or the part `file` of a form. @throws CodedError `message_too_large`, `invalid_request` */
async function readImportFile(c: Context<AppEnv>): Promise<string> {
  const bytes = await readBytes(c.req.raw, readSettings(c.env).MAX_IMPORT_BYTES)
  const type = c.req.header('content-type') ?? ''
  if (!/^multipart\/form-data\b/i.test(type)) return decodeText(bytes)
  const missing = invalidField('file', 'is missing')
  const form = await new Response(bytes, { headers: { 'content-type': type } }).formData().catch(() => {
    throw missing
  })
  const file = form.get('file')
  if (file === null) throw missing
  return typeof file === 'string' ? file : decodeText(new Uint8Array(await (file as File).arrayBuffer()))
}

/** What an import would do; nothing is written. @throws CodedError */
export async function previewImport(c: Context<AppEnv>, text: string, query: ImportQuery): Promise<ImportResult> {
  const { body } = await dryRun(c, await importCommand(c, text, { ...query, dry_run: true }))
  return body
}

/** `POST /api/v1/portfolio/import`: a broker's export, or one of Ghostfolio or of ours. */
export const importRoutes = new Hono<AppEnv>().post('/api/v1/portfolio/import', requireUser, async (c) => {
  const query = parse(importQuerySchema, c.req.query())
  const text = await readImportFile(c)
  if (query.dry_run) return c.json(await previewImport(c, text, query), 200, PRIVATE_NO_STORE)
  return respondIdempotent(c, text, () => importCommand(c, text, query))
})
