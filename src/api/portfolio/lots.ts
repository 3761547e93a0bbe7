import { type Context, Hono } from 'hono'
import { lockPortfolio } from '../../db/activities.ts'
import type { UserSql } from '../../db/client.ts'
import { readLots } from '../../db/portfolio-views.ts'
import { findActivity, readCurrency } from '../../db/read-activities.ts'
import type { ActivityView, LotPage, Sale } from '../../protocol/activity.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { LotView } from '../../protocol/portfolio.ts'
import {
  sellQuerySchema,
  sellSchema,
  stockChangeSchema,
  stockSchema,
  stocksQuerySchema,
} from '../../protocol/stock-input.ts'
import { requireUser } from '../accounts/session.ts'
import { type Fields, fieldsOf } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { answerOnce, rehearse, type Work } from '../http/idempotency.ts'
import { parse } from '../http/input.ts'
import { asUser, OWN } from '../http/user-transaction.ts'
import { adding, changing, removing } from './activities.ts'
import { assetsNamed, pageOf, placeOf } from './cursor.ts'
import { saleOf } from './sale.ts'
import { checkCurrency, checkLots, checkTime, isId, tagOf, write } from './write-activity.ts'

/** The lot with this id. @throws CodedError `unknown_lot` */
async function lotWith(sql: UserSql, userId: string, id: string): Promise<LotView> {
  const [lot] = isId(id) ? await readLots(sql, userId, { ids: [id], limit: 1 }) : []
  if (lot) return lot
  throw new CodedError('unknown_lot', 'there is no such lot')
}

/** The lot that a purchase has opened; one of nothing where it has closed short ones, and no share is left. */
async function lotOf(sql: UserSql, userId: string, bought: ActivityView): Promise<LotView> {
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
export const addingStock = async (c: Context<AppEnv>, fields: Fields): Promise<Work<LotView>> =>
  adding(c, { kind: 'buy', ...parse(stockSchema, fields) }, '/api/v1/stocks', (sql, bought) =>
    lotOf(sql, c.var.user.id, bought),
  )

/** Changes what is given of the purchase that opened a lot. @throws CodedError, `unknown_lot` when it runs */
async function changingStock(
  c: Context<AppEnv>,
  id: string,
  fields: Fields,
  ifMatch: string | undefined,
): Promise<Work<LotView>> {
  const { user } = c.var
  parse(stockChangeSchema, fields)
  const work = await changing(c, { id, fields, ifMatch }, (sql, bought) => lotOf(sql, user.id, bought))
  return ofLot(c, id, work)
}

/** Deletes the purchase that opened a lot. @throws CodedError, `unknown_lot` when it runs */
const removingStock = (c: Context<AppEnv>, id: string, ifMatch: string | undefined): Work<null> =>
  ofLot(c, id, removing(c, id, ifMatch))

const ofLot =
  <T>(c: Context<AppEnv>, id: string, work: Work<T>): Work<T> =>
  async (sql, profile) => {
    await lockPortfolio(sql, c.var.user.id)
    await lotWith(sql, c.var.user.id, id)
    return work(sql, profile)
  }

/**
 * Sells of the asset of a lot: the oldest lots first, or those that are named, whichever lot `id` is (P4).
 * @throws CodedError, `unknown_lot` and `insufficient_quantity` when it runs
 */
export function selling(c: Context<AppEnv>, id: string, fields: Fields): Work<Sale> {
  const { user } = c.var
  const now = new Date()
  const input = parse(sellSchema, fields)
  const { lots = null, note = null, fees = '0', traded_at = now.toISOString() } = input
  checkTime(input.traded_at, now)
  checkLots(lots, input.quantity)
  return async (sql, profile) => {
    await lockPortfolio(sql, user.id)
    const { asset_id, currency: paid } = await lotWith(sql, user.id, id)
    const usual = (await readCurrency(sql, user.id, asset_id)) ?? paid
    const { quantity, price, currency = usual } = input
    await checkCurrency(sql, currency, usual)
    const sale = crypto.randomUUID()
    const change = await write(sql, user.id, now, sale, {
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
    const headers = { location: `/api/v1/activities/${sale}`, ...tagOf(sold) }
    return { status: 201, headers, body: await saleOf(sql, user.id, sold, profile.currency), change }
  }
}

/** What such a sale would do; nothing is written. @throws CodedError as the sale itself */
export async function previewSale(c: Context<AppEnv>, id: string, fields: Fields): Promise<Sale> {
  const { body } = await rehearse(c, selling(c, id, fields))
  return { ...body, activity_id: null }
}

/** A page of the lots of who asks, the newest first. @throws CodedError `invalid_request`, `unavailable` */
export async function listStocks(c: Context<AppEnv>, query: URLSearchParams): Promise<LotPage> {
  const { user } = c.var
  const { limit, cursor, symbol, open } = parse(stocksQuerySchema, Object.fromEntries(query))
  const after = placeOf(cursor)
  const found = await asUser(c.env, user, async (sql) => {
    const assetIds = await assetsNamed(sql, user.id, symbol)
    return readLots(sql, user.id, {
      limit: limit + 1,
      ...(assetIds && { assetIds }),
      ...(open !== undefined && { open }),
      ...(after && { after }),
    })
  })
  const { rows, next } = pageOf(found, limit)
  return { stocks: rows, next_cursor: next }
}

/** The lot with this id. @throws CodedError `unknown_lot`, `unavailable` */
export const readStock = (c: Context<AppEnv>, id: string): Promise<LotView> =>
  asUser(c.env, c.var.user, (sql) => lotWith(sql, c.var.user.id, id))

/** `/api/v1/stocks` (brief 002): purchases of stocks and crypto, as lots. */
export const stocks = new Hono<AppEnv>()
  .get('/api/v1/stocks', requireUser, async (c) =>
    c.json(await listStocks(c, new URL(c.req.url).searchParams), 200, OWN),
  )
  .post('/api/v1/stocks', requireUser, async (c) => {
    const fields = await fieldsOf(c)
    return answerOnce(c, fields, () => addingStock(c, fields))
  })
  .get('/api/v1/stocks/:id', requireUser, async (c) => {
    const lot = await readStock(c, c.req.param('id'))
    return c.json(lot, 200, { ...OWN, ...tagOf(lot) })
  })
  .patch('/api/v1/stocks/:id', requireUser, async (c) => {
    const fields = await fieldsOf(c)
    return answerOnce(c, fields, () => changingStock(c, c.req.param('id'), fields, c.req.header('if-match')))
  })
  .delete('/api/v1/stocks/:id', requireUser, (c) =>
    answerOnce(c, null, async () => removingStock(c, c.req.param('id'), c.req.header('if-match'))),
  )
  .post('/api/v1/stocks/:id/sell', requireUser, async (c) => {
    const id = c.req.param('id')
    const { dry_run } = parse(sellQuerySchema, c.req.query())
    const fields = await fieldsOf(c)
    if (dry_run) return c.json(await previewSale(c, id, fields), 200, OWN)
    return answerOnce(c, fields, async () => selling(c, id, fields))
  })
