import { type Context, Hono } from 'hono'
import type { UserSql } from '../../db/client.ts'
import { findActivity, readActivities } from '../../db/read-activities.ts'
import type { Activity } from '../../portfolio/activity.ts'
import type { ActivityPage, ActivityView } from '../../protocol/activity.ts'
import { CodedError } from '../../protocol/errors.ts'
import {
  activitiesQuerySchema,
  activityChangeSchema,
  type NewActivityInput,
  newActivitySchema,
} from '../../protocol/lot-input.ts'
import { requireUser } from '../accounts/session.ts'
import { type JsonFields, readFields } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { type Command, respondIdempotent } from '../http/idempotency.ts'
import { parse } from '../http/input.ts'
import { PRIVATE_NO_STORE, withUser } from '../http/user-transaction.ts'
import { assetIdsBySymbol, decodeCursor, toPage } from './cursor.ts'
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

/** What somebody has entered, with what it has where that was not given. @param usual the currency of what has no asset */
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
 * Enters an activity; `answer` makes the body of it.
 * @throws CodedError for a future date, a symbol that means nothing or several; when it runs, for an unknown currency and
 *   what `write` refuses
 */
export async function buildAddCommand<T>(
  c: Context<AppEnv>,
  input: NewActivityInput,
  place: string,
  answer: (sql: UserSql, added: ActivityView) => Promise<T>,
): Promise<Command<T>> {
  const { user } = c.var
  const now = new Date()
  checkNotInFuture(input.traded_at, now)
  const asset = input.symbol === undefined ? null : await resolveAsset(c, input.symbol, givenCurrency(input))
  return async (sql, profile) => {
    const activity = toActivity(input, asset, profile.currency, now)
    await checkCurrency(sql, activity.currency, asset?.currency ?? profile.currency)
    checkLots(activity.lots, activity.quantity)
    const change = await writeActivities(sql, user.id, now, activity.id, {
      insert: [{ ...activity, fingerprint: null }],
    })
    const added = (await findActivity(sql, user.id, activity.id)) as ActivityView
    const body = await answer(sql, added)
    return { status: 201, headers: { location: `${place}/${activity.id}`, ...versionEtag(added) }, body, change }
  }
}

const givenCurrency = (input: NewActivityInput): string | undefined =>
  input.kind === 'split' ? undefined : input.currency

/** Changes the activity with this id; `answer` makes the body of it. @throws CodedError as `adding`, and `unknown_activity`, `version_conflict` */
export async function buildChangeCommand<T>(
  c: Context<AppEnv>,
  { id, fields, ifMatch }: { id: string; fields: JsonFields; ifMatch: string | undefined },
  answer: (sql: UserSql, changed: ActivityView) => Promise<T>,
): Promise<Command<T>> {
  const { user } = c.var
  const now = new Date()
  const given = parse(activityChangeSchema, fields)
  checkNotInFuture(given.traded_at, now)
  const asset = given.symbol === undefined ? null : await resolveAsset(c, given.symbol, given.currency)
  return async (sql) => {
    const before = await lockActivityForChange(sql, user.id, id, ifMatch)
    if (Object.keys(given).length === 0)
      return { status: 200, headers: versionEtag(before), body: await answer(sql, before), change: null }
    if (given.currency !== undefined) await checkCurrency(sql, given.currency, asset?.currency ?? before.currency)
    const change = await writeActivities(sql, user.id, now, id, { update: [applyChange(before, given, asset)] })
    const after = (await findActivity(sql, user.id, id)) as ActivityView
    return { status: 200, headers: versionEtag(after), body: await answer(sql, after), change }
  }
}

/** Deletes the activity with this id. @throws CodedError `unknown_activity`, `version_conflict`, `insufficient_quantity` when it runs */
export function deleteActivityCommand(c: Context<AppEnv>, id: string, ifMatch: string | undefined): Command<null> {
  const { user } = c.var
  return async (sql) => {
    const { id: known } = await lockActivityForChange(sql, user.id, id, ifMatch)
    const change = await writeActivities(sql, user.id, new Date(), known, { remove: [known] })
    return { status: 204, headers: {}, body: null, change }
  }
}

const asIs = async (_sql: UserSql, activity: ActivityView): Promise<ActivityView> => activity

/** Enters an activity of any kind. @throws CodedError */
export const addActivityCommand = async (c: Context<AppEnv>, fields: JsonFields): Promise<Command<ActivityView>> =>
  buildAddCommand(c, parse(newActivitySchema, fields), '/api/v1/activities', asIs)

/** Changes what is given of an activity. @throws CodedError */
export const changeActivityCommand = (
  c: Context<AppEnv>,
  id: string,
  fields: JsonFields,
  ifMatch: string | undefined,
) => buildChangeCommand(c, { id, fields, ifMatch }, asIs)

/** A page of the activities of who asks. @throws CodedError `invalid_request`, `unavailable` */
export async function listActivities(c: Context<AppEnv>, query: URLSearchParams): Promise<ActivityPage> {
  const { user } = c.var
  const { limit, cursor, symbol, kind = null } = parse(activitiesQuerySchema, Object.fromEntries(query))
  const after = decodeCursor(cursor)
  const found = await withUser(c.env, user, async (sql) => {
    const assetIds = await assetIdsBySymbol(sql, user.id, symbol)
    return readActivities(sql, user.id, { assetIds, kind, limit: limit + 1, after })
  })
  const { rows, next } = toPage(found, limit)
  return { activities: rows, next_cursor: next }
}

/** The activity with this id. @throws CodedError `unknown_activity`, `unavailable` */
export async function readActivity(c: Context<AppEnv>, id: string): Promise<ActivityView> {
  const { user } = c.var
  const found = isUuid(id) ? await withUser(c.env, user, (sql) => findActivity(sql, user.id, id)) : null
  if (found) return found
  throw new CodedError('unknown_activity', 'there is no such activity')
}

/** `/api/v1/activities`: what was entered or imported, of any kind. */
export const activityRoutes = new Hono<AppEnv>()
  .get('/api/v1/activities', requireUser, async (c) =>
    c.json(await listActivities(c, new URL(c.req.url).searchParams), 200, PRIVATE_NO_STORE),
  )
  .post('/api/v1/activities', requireUser, async (c) => {
    const fields = await readFields(c)
    return respondIdempotent(c, fields, () => addActivityCommand(c, fields))
  })
  .get('/api/v1/activities/:id', requireUser, async (c) => {
    const found = await readActivity(c, c.req.param('id'))
    return c.json(found, 200, { ...PRIVATE_NO_STORE, ...versionEtag(found) })
  })
  .patch('/api/v1/activities/:id', requireUser, async (c) => {
    const fields = await readFields(c)
    return respondIdempotent(c, fields, () =>
      changeActivityCommand(c, c.req.param('id'), fields, c.req.header('if-match')),
    )
  })
  .delete('/api/v1/activities/:id', requireUser, (c) =>
    respondIdempotent(c, null, async () => deleteActivityCommand(c, c.req.param('id'), c.req.header('if-match'))),
  )
