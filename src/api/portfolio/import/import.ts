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
import { requireUser } from '../../accounts/session-cookies.ts'
import { readBytes } from '../../http/body.ts'
import { type AppEnv, type UserRequest, userRequest } from '../../http/context.ts'
import { dryRun, respondOnce, type Write, type WriteResult } from '../../http/idempotency.ts'
import { invalidField, parse } from '../../http/input.ts'
import { type Operations, operation, response } from '../../http/operation.ts'
import { PRIVATE_NO_STORE } from '../../http/user-transaction.ts'
import { idempotencyHeaders, READ_ERRORS } from '../operations.ts'
import { isUuid } from '../write-activity.ts'
import { assignAssetIds, assignIds, type ResolvedActivity, resolveActivities, toNote } from './resolve.ts'
import { type ImportResult, importResultSchema, MAX_LISTED, type RowError } from './result.ts'

/** The query of `POST /api/v1/portfolio/import`. */
const importQuerySchema = z.object({
  dry_run: z
    .enum(['true', 'false'], 'must be true or false')
    .default('false')
    .transform((text) => text === 'true')
    .meta({ description: 'true: returns the result that the import would have, and writes nothing' }),
  format: z
    .enum(IMPORT_FORMATS as [string, ...string[]], `must be one of ${IMPORT_FORMATS.join(', ')}`)
    .optional()
    .meta({ description: 'The format of the file; by default, the names of its columns decide' }),
  unknown: z
    .enum(['refuse', 'own'], 'must be refuse or own')
    .default('refuse')
    .meta({ description: 'own: an asset that no provider knows becomes a custom asset of yours, valued at cost' }),
})
export type ImportQuery = z.output<typeof importQuerySchema>

/** For each activity, the stored one that it repeats, if any. */
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

/** An activity as it will be stored, and the row that it comes from. */
type PreparedActivity = { resolved: ResolvedActivity; activity: NewActivity }

function toNewActivity({ imported, currency }: ResolvedActivity, id: string, asset_id: number | null): NewActivity {
  const { row: _row, asset: _asset, note, ...fields } = imported
  return { ...fields, id, asset_id, currency, note: toNote(note), fingerprint: null }
}

/**
 * The activities to be inserted: those that are no duplicates, their named lots by the ids of the purchases here, in the
 * file or stored already. Adds an error for a lot that does not exist.
 */
function resolveLotIds(
  chosen: readonly PreparedActivity[],
  duplicates: readonly DuplicateMatch[],
  errors: RowError[],
): NewActivity[] {
  const ids = new Map(
    chosen.map(({ resolved, activity }, i) => [resolved.imported.id, duplicates[i]?.known ?? activity.id]),
  )
  return chosen.flatMap(({ resolved, activity }, i): NewActivity[] => {
    const duplicate = duplicates[i] as DuplicateMatch
    if (duplicate.known !== null) return []
    const lots = activity.lots?.map(({ lot_id, quantity }) => ({ lot_id: ids.get(lot_id) ?? lot_id, quantity })) ?? null
    const unknown = lots?.find(({ lot_id }) => !isUuid(lot_id))
    if (unknown)
      errors.push({
        row: resolved.imported.row,
        field: 'lots',
        message: `This lot doesn't exist: ${unknown.lot_id.slice(0, 60)}`,
      })
    return [{ ...activity, lots, fingerprint: duplicate.fingerprint }]
  })
}

/** @throws CodedError `invalid_request` with the first rows that are wrong, always */
function throwRowErrors(errors: readonly RowError[]): never {
  const [first, ...more] = errors as [RowError, ...RowError[]]
  const rest = more.length === 0 ? '' : `; and ${more.length} more`
  const message = `nothing was imported: row ${first.row}, ${first.field}: ${first.message}${rest}`
  throw new CodedError('invalid_request', message, { errors: errors.slice(0, MAX_LISTED) })
}

/** A file that was read, with its assets looked up: everything that a write needs besides the database. */
type ParsedFile = {
  format: string | null
  rows: readonly ImportRow[]
  /** Rows of the file; a row may be several activities. */
  rowCount: number
  resolved: ResolvedActivity[]
  errors: RowError[]
  now: Date
}

/**
 * Imports a file, or finds out what that would do (`dry_run`).
 * @throws CodedError `message_too_large` for too many rows, `unavailable`; the write throws `invalid_request`
 */
export async function importFile(request: UserRequest, text: string, query: ImportQuery): Promise<Write<ImportResult>> {
  const now = new Date()
  const { format, rows } = readImport(text, query.format ?? null)
  const rowCount = new Set(rows.map(({ row }) => row)).size
  const { MAX_IMPORT_ROWS } = readSettings(request.env)
  if (rowCount > MAX_IMPORT_ROWS)
    throw new CodedError('message_too_large', `an import has at most ${MAX_IMPORT_ROWS} rows; this one has ${rowCount}`)
  const errors: RowError[] = rows.flatMap((row) => ('error' in row ? [{ row: row.row, ...row.error }] : []))
  const resolved = await resolveActivities(request, rows.filter(isActivity), query.unknown, errors)
  const file = { format, rows, rowCount, resolved, errors, now }
  return (sql, { user_id }) => writeImport(sql, user_id, file, query.dry_run)
}

/**
 * Writes a file, all or nothing: each row becomes activities, is skipped with a reason, or is an error, and with any error
 * nothing is written. Activities that are stored already do not change. Sales of more than is held open short lots;
 * activities in the future have no effect until then.
 * @throws CodedError `invalid_request` with the rows and the reasons, unless it is a dry run
 */
async function writeImport(
  sql: UserSql,
  userId: string,
  file: ParsedFile,
  isDryRun: boolean,
): Promise<WriteResult<ImportResult>> {
  const { format, rows, resolved, now } = file
  const errors = [...file.errors]
  const ids = assignIds(resolved, now)
  await lockPortfolio(sql, userId)
  const assetIds = await assignAssetIds(sql, userId, resolved, errors)
  const chosen = resolved.flatMap((one, i): PreparedActivity[] => {
    const assetId = assetIds.get(one)
    return assetId === undefined ? [] : [{ resolved: one, activity: toNewActivity(one, ids[i] as string, assetId) }]
  })
  const activities = chosen.map(({ activity }) => activity)
  const duplicates = await findDuplicates(sql, userId, activities)
  const insert = resolveLotIds(chosen, duplicates, errors)
  const written = errors.length > 0 || insert.length === 0 ? null : await changeActivities(sql, userId, now, { insert })
  if (written?.ok === false) {
    const { activity_id, detail } = written.refused
    const row = chosen.find(({ activity }) => activity.id === activity_id)?.resolved.imported.row
    errors.push({ row: row ?? 0, field: row === undefined ? 'activity' : 'quantity', message: detail })
  }
  errors.sort((a, b) => a.row - b.row)
  if (errors.length > 0 && !isDryRun) throwRowErrors(errors)
  const skips = rows.flatMap((row) => ('skipped' in row ? [{ row: row.row, reason: row.skipped }] : []))
  const body: ImportResult = {
    format,
    dry_run: isDryRun,
    rows: file.rowCount,
    imported: insert.length,
    duplicates: duplicates.filter(({ known }) => known !== null).length,
    skipped: skips.length,
    skips: skips.slice(0, MAX_LISTED),
    failed: errors.length,
    errors: errors.slice(0, MAX_LISTED),
    activities: chosen
      .slice(0, MAX_LISTED)
      .map(({ resolved: one, activity }, i) => toListedActivity(one, activity, duplicates[i] as DuplicateMatch)),
  }
  return { status: 200, headers: {}, body, change: written?.ok ? written.change : null }
}

function toListedActivity(
  { imported, target }: ResolvedActivity,
  activity: NewActivity,
  match: DuplicateMatch,
): ImportResult['activities'][number] {
  const { kind, quantity, price, fees, currency, traded_at, split, note } = activity
  const asset = target === null ? null : 'own' in target ? target.own : target
  const { symbol, name } = asset ?? { symbol: null, name: null }
  const duplicate = match.known !== null
  return { row: imported.row, kind, symbol, name, quantity, price, fees, currency, traded_at, split, note, duplicate }
}

/** The text of a file: UTF-16 with a byte order mark, UTF-8, or else Windows-1252. */
export function decodeText(bytes: Uint8Array): string {
  const [first, second] = bytes
  if (first === 0xff && second === 0xfe) return new TextDecoder('utf-16le').decode(bytes)
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes)
  } catch {
    return new TextDecoder('windows-1252').decode(bytes)
  }
}

/** The file of a request: its body, or the part `file` of a multipart form. @throws CodedError `message_too_large`, `invalid_request` */
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

/** The result that an import would have; nothing is written. @throws CodedError as `importFile` */
export const previewImport = async (request: UserRequest, text: string, query: ImportQuery): Promise<ImportResult> =>
  dryRun(request, await importFile(request, text, { ...query, dry_run: true }))

/** `POST /api/v1/portfolio/import`: an export of a broker, of Ghostfolio or of Kerb. */
export const importRoutes = new Hono<AppEnv>().post('/api/v1/portfolio/import', requireUser(), async (c) => {
  const query = parse(importQuerySchema, c.req.query())
  const text = await readImportFile(c)
  if (query.dry_run) return c.json(await previewImport(userRequest(c), text, query), 200, PRIVATE_NO_STORE)
  return respondOnce(c, text, (request) => importFile(request, text, query))
})

const file = z.string().meta({ description: 'The unchanged file' })
export const IMPORT_OPERATIONS: Operations = {
  'post /api/v1/portfolio/import': operation('Portfolio', 'importPortfolio', {
    summary: 'Import the activities of a file, all or nothing',
    description:
      'Reads Ghostfolio’s JSON and CSV, exports of Kerb, of Coinbase, Crypto.com, DEGIRO, Delta, Interactive Brokers, ' +
      'Parqet, Schwab and Trading 212, and tables with such columns as date, symbol, quantity, price, currency and ' +
      'type. Activities that are stored already are not added again. With any error nothing is written: `errors` names ' +
      'the rows. Sales of more than is held open short lots; activities in the future have no effect until then.',
    query: importQuerySchema,
    header: idempotencyHeaders,
    requestBody: {
      required: true,
      content: {
        'text/csv': { schema: file },
        'application/json': { schema: z.looseObject({ activities: z.array(z.unknown()) }) },
        'multipart/form-data': { schema: z.object({ file }) },
      },
    },
    responses: response(200, 'The result; with dry_run=true as it would be, even with errors', importResultSchema),
    errors: [...READ_ERRORS, 'invalid_request', 'forbidden', 'message_too_large', 'idempotency_conflict'],
  }),
}
