import { Hono } from 'hono'
import { z } from 'zod'
import type { ZodOpenApiPathsObject } from 'zod-openapi'
import type { UserSql } from '../../db/client.ts'
import type { StoredResponse } from '../../db/idempotency.ts'
import type { StoredProfile } from '../../db/profiles.ts'
import { findActivity, readActivities } from '../../db/read-activities.ts'
import type { Activity } from '../../portfolio/activity.ts'
import { type ActivityPage, type ActivityView, activityPageSchema, activitySchema } from '../../protocol/activity.ts'
import { CodedError } from '../../protocol/errors.ts'
import {
  type ActivityChange,
  activitiesQuerySchema,
  activityChangeSchema,
  type NewActivityInput,
  newActivitySchema,
} from '../../protocol/lot-input.ts'
import { requireUser } from '../accounts/session.ts'
import { type JsonFields, readFields } from '../http/body.ts'
import type { AppEnv, UserRequest } from '../http/context.ts'
import { findResponse, type IdempotencyKey, idempotencyKey, runIdempotent, sendStored } from '../http/idempotency.ts'
import { parse } from '../http/input.ts'
import { jsonRequestBody, jsonResponse } from '../http/operation.ts'
import { userRequest } from '../http/request.ts'
import { PRIVATE_NO_STORE, withUser } from '../http/user-transaction.ts'
import { assetIdsBySymbol, decodeCursor, toPage } from './cursor.ts'
import {
  conditionalHeaders,
  createdResponse,
  deletedResponse,
  idempotencyHeaders,
  idPath,
  okWithEtag,
  portfolioOperation,
  READ_ERRORS,
  SYMBOL_ERRORS,
  WRITE_ERRORS,
} from './operations.ts'
import {
  applyChange,
  checkCurrency,
  checkLots,
  checkNotInFuture,
  isUuid,
  lockActivityForChange,
  type ResolvedAsset,
  resolveAsset,
  versionEtag,
  type WrittenActivity,
  writeActivities,
} from './write-activity.ts'

/** The activity of an input, with a default for what was left out. `usual` is the currency of one without an asset. */
function toActivity(input: NewActivityInput, asset: ResolvedAsset | null, usual: string, now: Date): Activity {
  const given: Partial<Pick<Activity, 'quantity' | 'price' | 'fees' | 'currency' | 'lots'>> =
    input.kind === 'split' ? {} : input
  return {
    id: crypto.randomUUID(),
    kind: input.kind,
    asset_id: asset?.asset_id ?? null,
    quantity: given.quantity ?? (input.kind === 'split' ? '0' : '1'),
    price: given.price ?? '0',
    fees: given.fees ?? '0',
    currency: given.currency ?? asset?.currency ?? usual,
    traded_at: input.traded_at ?? now.toISOString(),
    split: input.kind === 'split' ? input.split : null,
    lots: given.lots ?? null,
    note: input.note ?? null,
    short: false,
  }
}

/**
 * The asset of a new activity, null for none. It comes before the transaction: boards and providers may be asked.
 * @throws CodedError as `resolveAsset`
 */
export async function resolveInputAsset(request: UserRequest, input: NewActivityInput): Promise<ResolvedAsset | null> {
  if (input.symbol === undefined) return null
  return resolveAsset(request, input.symbol, input.kind === 'split' ? undefined : input.currency)
}

/**
 * Inserts an activity, with the lots that follow from it.
 * @throws CodedError for a currency that does not exist, and as `writeActivities`
 */
export async function insertActivity(
  sql: UserSql,
  profile: StoredProfile,
  input: NewActivityInput,
  asset: ResolvedAsset | null,
  now: Date,
): Promise<WrittenActivity> {
  const { user_id: userId } = profile
  const activity = toActivity(input, asset, profile.currency, now)
  await checkCurrency(sql, activity.currency, asset?.currency ?? profile.currency)
  checkLots(activity.lots, activity.quantity)
  const insert = [{ ...activity, fingerprint: null }]
  const change = await writeActivities(sql, userId, now, activity.id, { insert })
  return { activity: (await findActivity(sql, userId, activity.id)) as ActivityView, change }
}

/** What a change asks for, checked, and the asset that it names. */
export type ResolvedChange = {
  id: string
  ifMatch: string | undefined
  change: ActivityChange
  asset: ResolvedAsset | null
}

/**
 * Reads a change, and finds the asset that it names.
 * @throws CodedError `invalid_request`, and as `resolveAsset`
 */
export async function resolveChange(
  request: UserRequest,
  id: string,
  fields: JsonFields,
  ifMatch: string | undefined,
): Promise<ResolvedChange> {
  const change = parse(activityChangeSchema, fields)
  checkNotInFuture(change.traded_at, new Date())
  const asset = change.symbol === undefined ? null : await resolveAsset(request, change.symbol, change.currency)
  return { id, ifMatch, change, asset }
}

/**
 * Changes an activity, with the lots that follow from it; an empty change writes nothing.
 * @throws CodedError `unknown_activity`, `version_conflict`, and as `writeActivities`
 */
export async function updateActivity(
  sql: UserSql,
  userId: string,
  { id, ifMatch, change: given, asset }: ResolvedChange,
): Promise<WrittenActivity> {
  const before = await lockActivityForChange(sql, userId, id, ifMatch)
  if (Object.keys(given).length === 0) return { activity: before, change: null }
  if (given.currency !== undefined) await checkCurrency(sql, given.currency, asset?.currency ?? before.currency)
  const update = [applyChange(before, given, asset)]
  const change = await writeActivities(sql, userId, new Date(), id, { update })
  return { activity: (await findActivity(sql, userId, id)) as ActivityView, change }
}

/**
 * Deletes an activity, with the lots that follow from it.
 * @throws CodedError `unknown_activity`, `version_conflict`, and as `writeActivities`
 */
export async function removeActivity(sql: UserSql, userId: string, id: string, ifMatch: string | undefined) {
  const { id: known } = await lockActivityForChange(sql, userId, id, ifMatch)
  const change = await writeActivities(sql, userId, new Date(), known, { remove: [known] })
  return { status: 204, headers: {}, body: null, change } as const
}

/** Adds an activity of any kind. @throws CodedError */
export async function addActivity(
  request: UserRequest,
  fields: JsonFields,
  key: IdempotencyKey | null,
): Promise<StoredResponse> {
  const input = parse(newActivitySchema, fields)
  const now = new Date()
  checkNotInFuture(input.traded_at, now)
  const asset = await resolveInputAsset(request, input)
  return runIdempotent(request, key, async (sql, profile) => {
    const { activity, change } = await insertActivity(sql, profile, input, asset, now)
    const headers = { location: `/api/v1/activities/${activity.id}`, ...versionEtag(activity) }
    return { status: 201, headers, body: activity, change }
  })
}

/** Changes an activity; what `fields` leaves out stays. @throws CodedError */
export async function changeActivity(
  request: UserRequest,
  id: string,
  fields: JsonFields,
  { ifMatch, key }: { ifMatch: string | undefined; key: IdempotencyKey | null },
): Promise<StoredResponse> {
  const resolved = await resolveChange(request, id, fields, ifMatch)
  return runIdempotent(request, key, async (sql) => {
    const { activity, change } = await updateActivity(sql, request.user.id, resolved)
    return { status: 200, headers: versionEtag(activity), body: activity, change }
  })
}

/** Deletes an activity. @throws CodedError */
export const deleteActivity = (
  request: UserRequest,
  id: string,
  { ifMatch, key }: { ifMatch: string | undefined; key: IdempotencyKey | null },
): Promise<StoredResponse> => runIdempotent(request, key, (sql) => removeActivity(sql, request.user.id, id, ifMatch))

/** A page of the user's activities, the newest first. @throws CodedError `invalid_request`, `unavailable` */
export async function listActivities(request: UserRequest, query: URLSearchParams): Promise<ActivityPage> {
  const { id: userId } = request.user
  const { limit, cursor, symbol, kind = null } = parse(activitiesQuerySchema, Object.fromEntries(query))
  const after = decodeCursor(cursor)
  const found = await withUser(request, async (sql) => {
    const assetIds = await assetIdsBySymbol(sql, userId, symbol)
    return readActivities(sql, userId, { assetIds, kind, limit: limit + 1, after })
  })
  const { rows, next } = toPage(found, limit)
  return { activities: rows, next_cursor: next }
}

/** The activity with this id. @throws CodedError `unknown_activity`, `unavailable` */
export async function readActivity(request: UserRequest, id: string): Promise<ActivityView> {
  const found = isUuid(id) ? await withUser(request, (sql) => findActivity(sql, request.user.id, id)) : null
  if (found) return found
  throw new CodedError('unknown_activity', 'there is no such activity')
}

/** `/api/v1/activities`: what was entered or imported, of any kind. */
export const activityRoutes = new Hono<AppEnv>()
  .get('/api/v1/activities', requireUser(), async (c) =>
    c.json(await listActivities(userRequest(c), new URL(c.req.url).searchParams), 200, PRIVATE_NO_STORE),
  )
  .post('/api/v1/activities', requireUser(), async (c) => {
    const request = userRequest(c)
    const fields = await readFields(c)
    const key = await idempotencyKey(c, fields)
    return sendStored(c, (await findResponse(request, key)) ?? (await addActivity(request, fields, key)))
  })
  .get('/api/v1/activities/:id', requireUser(), async (c) => {
    const found = await readActivity(userRequest(c), c.req.param('id'))
    return c.json(found, 200, { ...PRIVATE_NO_STORE, ...versionEtag(found) })
  })
  .patch('/api/v1/activities/:id', requireUser(), async (c) => {
    const request = userRequest(c)
    const fields = await readFields(c)
    const write = { ifMatch: c.req.header('if-match'), key: await idempotencyKey(c, fields) }
    const previous = await findResponse(request, write.key)
    return sendStored(c, previous ?? (await changeActivity(request, c.req.param('id'), fields, write)))
  })
  .delete('/api/v1/activities/:id', requireUser(), async (c) => {
    const request = userRequest(c)
    const write = { ifMatch: c.req.header('if-match'), key: await idempotencyKey(c, null) }
    const previous = await findResponse(request, write.key)
    return sendStored(c, previous ?? (await deleteActivity(request, c.req.param('id'), write)))
  })

const activity = activitySchema.meta({ id: 'Activity', description: 'What was entered or imported' })

export const ACTIVITY_PATHS: ZodOpenApiPathsObject = {
  '/api/v1/activities': {
    get: portfolioOperation(
      {
        operationId: 'listActivities',
        summary: 'What you have entered or imported, the newest first',
        requestParams: { query: activitiesQuerySchema },
      },
      jsonResponse('A page of activities', activityPageSchema.extend({ activities: z.array(activity) })),
      [...READ_ERRORS, 'invalid_request'],
    ),
    post: portfolioOperation(
      {
        operationId: 'addActivity',
        summary: 'Enter an activity of any kind',
        description:
          'A dividend, interest, fee or tax amounts to quantity × price. A split changes the lots that were open before its day.',
        requestParams: { header: idempotencyHeaders },
        ...jsonRequestBody(newActivitySchema),
      },
      createdResponse('The activity', activity),
      [...WRITE_ERRORS, ...SYMBOL_ERRORS, 'unknown_lot'],
    ),
  },
  '/api/v1/activities/{id}': {
    get: portfolioOperation(
      { operationId: 'getActivity', summary: 'One activity', requestParams: { path: idPath } },
      okWithEtag('The activity', activity),
      [...READ_ERRORS, 'unknown_activity'],
    ),
    patch: portfolioOperation(
      {
        operationId: 'changeActivity',
        summary: 'Change an activity; what is not given stays, and its kind always',
        requestParams: { path: idPath, header: conditionalHeaders },
        ...jsonRequestBody(activityChangeSchema),
      },
      okWithEtag('The activity as it is then', activity),
      [...WRITE_ERRORS, ...SYMBOL_ERRORS, 'unknown_lot', 'unknown_activity', 'version_conflict'],
    ),
    delete: portfolioOperation(
      {
        operationId: 'deleteActivity',
        summary: 'Delete an activity',
        requestParams: { path: idPath, header: conditionalHeaders },
      },
      deletedResponse,
      [...WRITE_ERRORS, 'unknown_activity', 'version_conflict'],
    ),
  },
}
