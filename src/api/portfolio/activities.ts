import { Hono } from 'hono'
import { z } from 'zod'
import type { UserSql } from '../../db/client.ts'
import type { StoredProfile } from '../../db/profiles.ts'
import { findActivity, readActivities } from '../../db/read-activities.ts'
import type { Activity } from '../../portfolio/activity.ts'
import { type ActivityPage, type ActivityView, activityPageSchema, activitySchema } from '../../protocol/activity.ts'
import { CodedError } from '../../protocol/errors.ts'
import {
  activitiesQuerySchema,
  activityChangeSchema,
  type NewActivityInput,
  newActivitySchema,
} from '../../protocol/lot-input.ts'
import { requireUser } from '../accounts/session-cookies.ts'
import { type JsonFields, readFields } from '../http/body.ts'
import { type AppEnv, type UserRequest, userRequest } from '../http/context.ts'
import { respondOnce, type Write, type WriteResult } from '../http/idempotency.ts'
import { parse } from '../http/input.ts'
import { type Operations, operation, response } from '../http/operation.ts'
import { PRIVATE_NO_STORE, withUser } from '../http/user-transaction.ts'
import { assetIdsBySymbol, decodeCursor, toPage } from './cursor.ts'
import {
  CHANGE_ERRORS,
  conditionalHeaders,
  createdResponse,
  idempotencyHeaders,
  idPath,
  okWithEtag,
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
  writeActivities,
} from './write-activity.ts'

/** The activity of an input, with defaults. `defaultCurrency` applies to an activity without an asset. */
function toActivity(
  input: NewActivityInput,
  asset: ResolvedAsset | null,
  defaultCurrency: string,
  now: Date,
): Activity {
  const given: Partial<Pick<Activity, 'quantity' | 'price' | 'fees' | 'currency' | 'lots'>> =
    input.kind === 'split' ? {} : input
  return {
    id: crypto.randomUUID(),
    kind: input.kind,
    asset_id: asset?.asset_id ?? null,
    quantity: given.quantity ?? (input.kind === 'split' ? '0' : '1'),
    price: given.price ?? '0',
    fees: given.fees ?? '0',
    currency: given.currency ?? asset?.currency ?? defaultCurrency,
    traded_at: input.traded_at ?? now.toISOString(),
    split: input.kind === 'split' ? input.split : null,
    lots: given.lots ?? null,
    note: input.note ?? null,
    short: false,
  }
}

/**
 * Inserts an activity, with the lots that follow from it.
 * @throws CodedError for a currency that does not exist or lots that do not add up, and as `writeActivities`
 */
export async function insertActivity(
  sql: UserSql,
  profile: StoredProfile,
  input: NewActivityInput,
  asset: ResolvedAsset | null,
  now: Date,
): Promise<WriteResult<ActivityView>> {
  const { user_id: userId } = profile
  const activity = toActivity(input, asset, profile.currency, now)
  const { id } = activity
  await checkCurrency(sql, activity.currency, asset?.currency ?? profile.currency)
  checkLots(activity.lots, activity.quantity)
  const change = await writeActivities(sql, userId, now, id, { insert: [{ ...activity, fingerprint: null }] })
  const body = (await findActivity(sql, userId, id)) as ActivityView
  return { status: 201, headers: { location: `/api/v1/activities/${id}`, ...versionEtag(body) }, body, change }
}

/** A write that inserts an activity. @throws CodedError as `resolveAsset`, and naming `traded_at` in the future */
export async function prepareActivity(request: UserRequest, input: NewActivityInput): Promise<Write<ActivityView>> {
  const now = new Date()
  checkNotInFuture(input.traded_at, now)
  const currency = input.kind === 'split' ? undefined : input.currency
  const asset = input.symbol === undefined ? null : await resolveAsset(request, input.symbol, currency)
  return (sql, profile) => insertActivity(sql, profile, input, asset, now)
}

/** Adds an activity of any kind. @throws CodedError `invalid_request`, and as `prepareActivity` */
export const addActivity = (request: UserRequest, fields: JsonFields): Promise<Write<ActivityView>> =>
  prepareActivity(request, parse(newActivitySchema, fields))

/**
 * Changes an activity, with the lots that follow from it. Fields that are left out stay the same; an empty change writes
 * nothing.
 * @throws CodedError `invalid_request`, and as `resolveAsset`; the write throws `unknown_activity`, `version_conflict`, …
 */
export async function changeActivity(
  request: UserRequest,
  id: string,
  fields: JsonFields,
  ifMatch: string | undefined,
): Promise<Write<ActivityView>> {
  const given = parse(activityChangeSchema, fields)
  checkNotInFuture(given.traded_at, new Date())
  const asset = given.symbol === undefined ? null : await resolveAsset(request, given.symbol, given.currency)
  return async (sql, { user_id: userId }) => {
    const before = await lockActivityForChange(sql, userId, id, ifMatch)
    if (Object.keys(given).length === 0)
      return { status: 200, headers: versionEtag(before), body: before, change: null }
    if (given.currency !== undefined) await checkCurrency(sql, given.currency, asset?.currency ?? before.currency)
    const update = [applyChange(before, given, asset)]
    const change = await writeActivities(sql, userId, new Date(), id, { update })
    const body = (await findActivity(sql, userId, id)) as ActivityView
    return { status: 200, headers: versionEtag(body), body, change }
  }
}

/** Deletes an activity, with the lots that follow from it. The write throws `unknown_activity`, `version_conflict`, … */
export const deleteActivity =
  (id: string, ifMatch: string | undefined): Write<null> =>
  async (sql, { user_id: userId }) => {
    const { id: found } = await lockActivityForChange(sql, userId, id, ifMatch)
    const change = await writeActivities(sql, userId, new Date(), found, { remove: [found] })
    return { status: 204, headers: {}, body: null, change }
  }

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
  throw new CodedError('unknown_activity', "This activity doesn't exist.")
}

/** `/api/v1/activities`: activities of any kind, entered or imported. */
export const activityRoutes = new Hono<AppEnv>()
  .get('/api/v1/activities', requireUser(), async (c) =>
    c.json(await listActivities(userRequest(c), new URL(c.req.url).searchParams), 200, PRIVATE_NO_STORE),
  )
  .post('/api/v1/activities', requireUser(), async (c) => {
    const fields = await readFields(c)
    return respondOnce(c, fields, (request) => addActivity(request, fields))
  })
  .get('/api/v1/activities/:id', requireUser(), async (c) => {
    const found = await readActivity(userRequest(c), c.req.param('id'))
    return c.json(found, 200, { ...PRIVATE_NO_STORE, ...versionEtag(found) })
  })
  .patch('/api/v1/activities/:id', requireUser(), async (c) => {
    const fields = await readFields(c)
    const ifMatch = c.req.header('if-match')
    return respondOnce(c, fields, (request) => changeActivity(request, c.req.param('id'), fields, ifMatch))
  })
  .delete('/api/v1/activities/:id', requireUser(), (c) =>
    respondOnce(c, null, () => deleteActivity(c.req.param('id'), c.req.header('if-match'))),
  )

const activity = activitySchema.meta({ id: 'Activity', description: 'An activity that was entered or imported' })

export const ACTIVITY_OPERATIONS: Operations = {
  'get /api/v1/activities': operation('Portfolio', 'listActivities', {
    summary: 'Your activities, the newest first',
    query: activitiesQuerySchema,
    responses: response(200, 'A page of activities', activityPageSchema.extend({ activities: z.array(activity) })),
    errors: [...READ_ERRORS, 'invalid_request'],
  }),
  'post /api/v1/activities': operation('Portfolio', 'addActivity', {
    summary: 'Enter an activity of any kind',
    description:
      'A dividend, interest, fee or tax amounts to quantity × price. A split changes the lots that were open before its day.',
    header: idempotencyHeaders,
    body: newActivitySchema,
    responses: createdResponse('The activity', activity),
    errors: [...WRITE_ERRORS, ...SYMBOL_ERRORS, 'unknown_lot'],
  }),
  'get /api/v1/activities/{id}': operation('Portfolio', 'getActivity', {
    summary: 'One activity',
    path: idPath,
    responses: okWithEtag('The activity', activity),
    errors: [...READ_ERRORS, 'unknown_activity'],
  }),
  'patch /api/v1/activities/{id}': operation('Portfolio', 'changeActivity', {
    summary: 'Change an activity; fields that are left out and its kind stay the same',
    path: idPath,
    header: conditionalHeaders,
    body: activityChangeSchema,
    responses: okWithEtag('The changed activity', activity),
    errors: [...CHANGE_ERRORS, ...SYMBOL_ERRORS, 'unknown_lot', 'unknown_activity'],
  }),
  'delete /api/v1/activities/{id}': operation('Portfolio', 'deleteActivity', {
    summary: 'Delete an activity',
    path: idPath,
    header: conditionalHeaders,
    responses: response(204, 'Deleted'),
    errors: [...CHANGE_ERRORS, 'unknown_activity'],
  }),
}
