import { type Context, Hono } from 'hono'
import { lockPortfolio } from '../../db/activities.ts'
import type { UserSql } from '../../db/client.ts'
import { readLots } from '../../db/portfolio-views.ts'
import { findActivity, readAssetCurrency } from '../../db/read-activities.ts'
import type { ActivityView, LotPage, Sale } from '../../protocol/activity.ts'
import { CodedError } from '../../protocol/errors.ts'
import {
  lotChangeSchema,
  lotsQuerySchema,
  newLotSchema,
  sellQuerySchema,
  sellSchema,
} from '../../protocol/lot-input.ts'
import type { LotView } from '../../protocol/portfolio.ts'
import { requireUser } from '../accounts/session.ts'
import { type JsonFields, readFields } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { type Command, dryRun, respondIdempotent } from '../http/idempotency.ts'
import { parse } from '../http/input.ts'
import { PRIVATE_NO_STORE, withUser } from '../http/user-transaction.ts'
import { buildAddCommand, buildChangeCommand, deleteActivityCommand } from './activities.ts'
import { assetIdsBySymbol, decodeCursor, toPage } from './cursor.ts'
import { readSale } from './sale.ts'
import { checkCurrency, checkLots, checkNotInFuture, isUuid, versionEtag, writeActivities } from './write-activity.ts'

/** The lot with this id. @throws CodedError `unknown_lot` */
async function findLot(sql: UserSql, userId: string, id: string): Promise<LotView> {
  const [lot] = isUuid(id) ? await readLots(sql, userId, { ids: [id], limit: 1 }) : []
  if (lot) return lot
  throw new CodedError('unknown_lot', 'there is no such lot')
}

/** The lot that a purchase has opened; one of nothing where it has closed short ones, and no share is left. */
async function openedLot(sql: UserSql, userId: string, bought: ActivityView): Promise<LotView> {
  const [lot] = await readLots(sql, userId, { ids: [bought.id], limit: 1 })
  if (lot) return lot
  const { id, asset_id, symbol, price, currency, traded_at, note, version } = bought
  return {
    id,
    asset_id: asset_id ?? 0,
    symbol: symbol ?? '',
    quantity: '0',
    opened_quantity: '0',
    price,
    fees: '0',
    currency,
    traded_at,
    cost: '0',
    note,
    version,
    invested: '0',
    present_value: '0',
    gain_loss: '0',
    gain_loss_percent: null,
    day_change: '0',
  }
}

/** Enters a purchase. @throws CodedError */
export const addLotCommand = async (c: Context<AppEnv>, fields: JsonFields): Promise<Command<LotView>> =>
  buildAddCommand(c, { kind: 'buy', ...parse(newLotSchema, fields) }, '/api/v1/stocks', (sql, bought) =>
    openedLot(sql, c.var.user.id, bought),
  )

/** Changes what is given of the purchase that opened a lot. @throws CodedError, `unknown_lot` when it runs */
async function changeLotCommand(
  c: Context<AppEnv>,
  id: string,
  fields: JsonFields,
  ifMatch: string | undefined,
): Promise<Command<LotView>> {
  const { user } = c.var
  parse(lotChangeSchema, fields)
  const work = await buildChangeCommand(c, { id, fields, ifMatch }, (sql, bought) => openedLot(sql, user.id, bought))
  return requireLot(c, id, work)
}

/** Deletes the purchase that opened a lot. @throws CodedError, `unknown_lot` when it runs */
const deleteLotCommand = (c: Context<AppEnv>, id: string, ifMatch: string | undefined): Command<null> =>
  requireLot(c, id, deleteActivityCommand(c, id, ifMatch))

const requireLot =
  <T>(c: Context<AppEnv>, id: string, work: Command<T>): Command<T> =>
  async (sql, profile) => {
    await lockPortfolio(sql, c.var.user.id)
    await findLot(sql, c.var.user.id, id)
    return work(sql, profile)
  }

/**
 * Sells of the asset of a lot: the oldest lots first, or those that are named, whichever lot `id` is (P4).
 * @throws CodedError, `unknown_lot` and `insufficient_quantity` when it runs
 */
export function sellCommand(c: Context<AppEnv>, id: string, fields: JsonFields): Command<Sale> {
  const { user } = c.var
  const now = new Date()
  const input = parse(sellSchema, fields)
  const { lots = null, note = null, fees = '0', traded_at = now.toISOString() } = input
  checkNotInFuture(input.traded_at, now)
  checkLots(lots, input.quantity)
  return async (sql, profile) => {
    await lockPortfolio(sql, user.id)
    const { asset_id, currency: paid } = await findLot(sql, user.id, id)
    const usual = (await readAssetCurrency(sql, user.id, asset_id)) ?? paid
    const { quantity, price, currency = usual } = input
    await checkCurrency(sql, currency, usual)
    const sale = crypto.randomUUID()
    const change = await writeActivities(sql, user.id, now, sale, {
      insert: [
        {
          id: sale,
          kind: 'sell',
          asset_id,
          quantity,
          price,
          fees,
          currency,
          traded_at,
          split: null,
          lots,
          note,
          short: false,
          fingerprint: null,
        },
      ],
    })
    const sold = (await findActivity(sql, user.id, sale)) as ActivityView
    const headers = { location: `/api/v1/activities/${sale}`, ...versionEtag(sold) }
    return { status: 201, headers, body: await readSale(sql, user.id, sold, profile.currency), change }
  }
}

/** What such a sale would do; nothing is written. @throws CodedError as the sale itself */
export async function previewSale(c: Context<AppEnv>, id: string, fields: JsonFields): Promise<Sale> {
  const { body } = await dryRun(c, sellCommand(c, id, fields))
  return { ...body, activity_id: null }
}

/** A page of the lots of who asks, the newest first. @throws CodedError `invalid_request`, `unavailable` */
export async function listLots(c: Context<AppEnv>, query: URLSearchParams): Promise<LotPage> {
  const { user } = c.var
  const { limit, cursor, symbol, open } = parse(lotsQuerySchema, Object.fromEntries(query))
  const after = decodeCursor(cursor)
  const found = await withUser(c.env, user, async (sql) => {
    const assetIds = await assetIdsBySymbol(sql, user.id, symbol)
    return readLots(sql, user.id, {
      limit: limit + 1,
      ...(assetIds && { assetIds }),
      ...(open !== undefined && { open }),
      ...(after && { after }),
    })
  })
  const { rows, next } = toPage(found, limit)
  return { stocks: rows, next_cursor: next }
}

/** The lot with this id. @throws CodedError `unknown_lot`, `unavailable` */
export const readLot = (c: Context<AppEnv>, id: string): Promise<LotView> =>
  withUser(c.env, c.var.user, (sql) => findLot(sql, c.var.user.id, id))

/** `/api/v1/stocks` (brief 002): purchases of stocks and crypto, as lots. */
export const lotRoutes = new Hono<AppEnv>()
  .get('/api/v1/stocks', requireUser, async (c) =>
    c.json(await listLots(c, new URL(c.req.url).searchParams), 200, PRIVATE_NO_STORE),
  )
  .post('/api/v1/stocks', requireUser, async (c) => {
    const fields = await readFields(c)
    return respondIdempotent(c, fields, () => addLotCommand(c, fields))
  })
  .get('/api/v1/stocks/:id', requireUser, async (c) => {
    const lot = await readLot(c, c.req.param('id'))
    return c.json(lot, 200, { ...PRIVATE_NO_STORE, ...versionEtag(lot) })
  })
  .patch('/api/v1/stocks/:id', requireUser, async (c) => {
    const fields = await readFields(c)
    return respondIdempotent(c, fields, () => changeLotCommand(c, c.req.param('id'), fields, c.req.header('if-match')))
  })
  .delete('/api/v1/stocks/:id', requireUser, (c) =>
    respondIdempotent(c, null, async () => deleteLotCommand(c, c.req.param('id'), c.req.header('if-match'))),
  )
  .post('/api/v1/stocks/:id/sell', requireUser, async (c) => {
    const id = c.req.param('id')
    const { dry_run } = parse(sellQuerySchema, c.req.query())
    const fields = await readFields(c)
    if (dry_run) return c.json(await previewSale(c, id, fields), 200, PRIVATE_NO_STORE)
    return respondIdempotent(c, fields, async () => sellCommand(c, id, fields))
  })
