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
} from '../../protocol/stock-input.ts'
import { requireUser } from '../accounts/session.ts'
import { type Fields, fieldsOf } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { answerOnce, type Work } from '../http/idempotency.ts'
import { parse } from '../http/input.ts'
import { asUser, OWN } from '../http/user-transaction.ts'
import { assetsNamed, pageOf, placeOf } from './cursor.ts'
import {
  assetMeant,
  changed,
  checkCurrency,
  checkLots,
  checkTime,
  isId,
  type Meant,
  tagOf,
  toChange,
  write,
} from './write-activity.ts'

/** What somebody has entered, with what it has where that was not given. @param usual the currency of what has no asset */
function entered(input: NewActivityInput, asset: Meant | null, usual: string, now: Date): Activity {
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
export async function adding<T>(
  c: Context<AppEnv>,
  input: NewActivityInput,
  place: string,
  answer: (sql: UserSql, added: ActivityView) => Promise<T>,
): Promise<Work<T>> {
  const { user } = c.var
  const now = new Date()
  checkTime(input.traded_at, now)
  const asset = input.symbol === undefined ? null : await assetMeant(c, input.symbol, givenCurrency(input))
  return async (sql, profile) => {
    const activity = entered(input, asset, profile.currency, now)
    await checkCurrency(sql, activity.currency, asset?.currency ?? profile.currency)
    checkLots(activity.lots, activity.quantity)
    const change = await write(sql, user.id, now, activity.id, { insert: [{ ...activity, fingerprint: null }] })
    const added = (await findActivity(sql, user.id, activity.id)) as ActivityView
    const body = await answer(sql, added)
    return { status: 201, headers: { location: `${place}/${activity.id}`, ...tagOf(added) }, body, change }
  }
}

const givenCurrency = (input: NewActivityInput): string | undefined =>
  input.kind === 'split' ? undefined : input.currency

/** Changes the activity with this id; `answer` makes the body of it. @throws CodedError as `adding`, and `unknown_activity`, `version_conflict` */
export async function changing<T>(
  c: Context<AppEnv>,
  { id, fields, ifMatch }: { id: string; fields: Fields; ifMatch: string | undefined },
  answer: (sql: UserSql, changed: ActivityView) => Promise<T>,
): Promise<Work<T>> {
  const { user } = c.var
  const now = new Date()
  const given = parse(activityChangeSchema, fields)
  checkTime(given.traded_at, now)
  const asset = given.symbol === undefined ? null : await assetMeant(c, given.symbol, given.currency)
  return async (sql) => {
    const before = await toChange(sql, user.id, id, ifMatch)
    if (Object.keys(given).length === 0)
      return { status: 200, headers: tagOf(before), body: await answer(sql, before), change: null }
    if (given.currency !== undefined) await checkCurrency(sql, given.currency, asset?.currency ?? before.currency)
    const change = await write(sql, user.id, now, id, { update: [changed(before, given, asset)] })
    const after = (await findActivity(sql, user.id, id)) as ActivityView
    return { status: 200, headers: tagOf(after), body: await answer(sql, after), change }
  }
}

/** Deletes the activity with this id. @throws CodedError `unknown_activity`, `version_conflict`, `insufficient_quantity` when it runs */
export function removing(c: Context<AppEnv>, id: string, ifMatch: string | undefined): Work<null> {
  const { user } = c.var
  return async (sql) => {
    const { id: known } = await toChange(sql, user.id, id, ifMatch)
    const change = await write(sql, user.id, new Date(), known, { remove: [known] })
    return { status: 204, headers: {}, body: null, change }
  }
}

const asIs = async (_sql: UserSql, activity: ActivityView): Promise<ActivityView> => activity

/** Enters an activity of any kind. @throws CodedError */
export const addingActivity = async (c: Context<AppEnv>, fields: Fields): Promise<Work<ActivityView>> =>
  adding(c, parse(newActivitySchema, fields), '/api/v1/activities', asIs)

/** Changes what is given of an activity. @throws CodedError */
export const changingActivity = (c: Context<AppEnv>, id: string, fields: Fields, ifMatch: string | undefined) =>
  changing(c, { id, fields, ifMatch }, asIs)

/** A page of the activities of who asks. @throws CodedError `invalid_request`, `unavailable` */
export async function listActivities(c: Context<AppEnv>, query: URLSearchParams): Promise<ActivityPage> {
  const { user } = c.var
  const { limit, cursor, symbol, kind = null } = parse(activitiesQuerySchema, Object.fromEntries(query))
  const after = placeOf(cursor)
  const found = await asUser(c.env, user, async (sql) => {
    const assetIds = await assetsNamed(sql, user.id, symbol)
    return readActivities(sql, user.id, { assetIds, kind, limit: limit + 1, after })
  })
  const { rows, next } = pageOf(found, limit)
  return { activities: rows, next_cursor: next }
}

/** The activity with this id. @throws CodedError `unknown_activity`, `unavailable` */
export async function readActivity(c: Context<AppEnv>, id: string): Promise<ActivityView> {
  const { user } = c.var
  const found = isId(id) ? await asUser(c.env, user, (sql) => findActivity(sql, user.id, id)) : null
  if (found) return found
  throw new CodedError('unknown_activity', 'there is no such activity')
}

/** `/api/v1/activities`: what was entered or imported, of any kind. */
export const activities = new Hono<AppEnv>()
  .get('/api/v1/activities', requireUser, async (c) =>
    c.json(await listActivities(c, new URL(c.req.url).searchParams), 200, OWN),
  )
  .post('/api/v1/activities', requireUser, async (c) => {
    const fields = await fieldsOf(c)
    return answerOnce(c, fields, () => addingActivity(c, fields))
  })
  .get('/api/v1/activities/:id', requireUser, async (c) => {
    const found = await readActivity(c, c.req.param('id'))
    return c.json(found, 200, { ...OWN, ...tagOf(found) })
  })
  .patch('/api/v1/activities/:id', requireUser, async (c) => {
    const fields = await fieldsOf(c)
    return answerOnce(c, fields, () => changingActivity(c, c.req.param('id'), fields, c.req.header('if-match')))
  })
  .delete('/api/v1/activities/:id', requireUser, (c) =>
    answerOnce(c, null, async () => removing(c, c.req.param('id'), c.req.header('if-match'))),
  )
