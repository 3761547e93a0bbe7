import { Hono } from 'hono'
import { z } from 'zod'
import { lockPortfolio } from '../../db/activities.ts'
import type { UserSql } from '../../db/client.ts'
import { readLots } from '../../db/portfolio-views.ts'
import { readAssetCurrency } from '../../db/read-activities.ts'
import { type ActivityView, type LotPage, lotPageSchema, type Sale, saleSchema } from '../../protocol/activity.ts'
import { CodedError } from '../../protocol/errors.ts'
import {
  lotChangeSchema,
  lotsQuerySchema,
  newLotSchema,
  sellQuerySchema,
  sellSchema,
} from '../../protocol/lot-input.ts'
import { type LotView, lotSchema } from '../../protocol/portfolio.ts'
import { requireUser } from '../accounts/session-cookies.ts'
import { type JsonFields, readFields } from '../http/body.ts'
import { type AppEnv, type UserRequest, userRequest } from '../http/context.ts'
import { dryRun, respondOnce, type Write } from '../http/idempotency.ts'
import { parse } from '../http/input.ts'
import { type Operations, operation, response } from '../http/operation.ts'
import { PRIVATE_NO_STORE, withUser } from '../http/user-transaction.ts'
import { changeActivity, deleteActivity, insertActivity, prepareActivity } from './activities.ts'
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
import { readSale } from './sale.ts'
import { checkNotInFuture, isUuid, versionEtag } from './write-activity.ts'

/** @throws CodedError `unknown_lot` */
async function findLot(sql: UserSql, userId: string, id: string): Promise<LotView> {
  const [lot] = isUuid(id) ? await readLots(sql, userId, { ids: [id], limit: 1 }) : []
  if (lot) return lot
  throw new CodedError('unknown_lot', "This lot doesn't exist.")
}

/** The lot with this id; other writes of the user wait until the transaction ends. @throws CodedError `unknown_lot` */
async function lockAndFindLot(sql: UserSql, userId: string, id: string): Promise<LotView> {
  await lockPortfolio(sql, userId)
  return findLot(sql, userId, id)
}

/** The lot that a purchase opened; one of quantity 0 if the purchase only closed short lots. */
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

/** Adds a purchase, which opens a lot. @throws CodedError `invalid_request`, and as `prepareActivity` */
export async function addLot(request: UserRequest, fields: JsonFields): Promise<Write<LotView>> {
  const write = await prepareActivity(request, { kind: 'buy', ...parse(newLotSchema, fields) })
  return async (sql, profile) => {
    const { headers, body, ...result } = await write(sql, profile)
    const lot = await openedLot(sql, profile.user_id, body)
    return { ...result, headers: { ...headers, location: `/api/v1/stocks/${lot.id}` }, body: lot }
  }
}

/** Changes the purchase that opened a lot. @throws CodedError as `changeActivity`; the write throws `unknown_lot` */
async function changeLot(
  request: UserRequest,
  id: string,
  fields: JsonFields,
  ifMatch: string | undefined,
): Promise<Write<LotView>> {
  const write = await changeActivity(request, id, parse(lotChangeSchema, fields), ifMatch)
  return async (sql, profile) => {
    await lockAndFindLot(sql, profile.user_id, id)
    const result = await write(sql, profile)
    return { ...result, body: await openedLot(sql, profile.user_id, result.body) }
  }
}

/** Deletes the purchase that opened a lot. The write throws `unknown_lot`, and as `deleteActivity`. */
const deleteLot =
  (id: string, ifMatch: string | undefined): Write<null> =>
  async (sql, profile) => {
    await lockAndFindLot(sql, profile.user_id, id)
    return deleteActivity(id, ifMatch)(sql, profile)
  }

/**
 * Sells the asset of a lot: from the oldest lots, or from those that the sale names, whichever lot `id` is (P4).
 * @throws CodedError naming an invalid field; the write throws `unknown_lot`, and as `insertActivity`
 */
export function sell(id: string, fields: JsonFields): Write<Sale> {
  const input = parse(sellSchema, fields)
  checkNotInFuture(input.traded_at, new Date())
  return async (sql, profile) => {
    const { user_id: userId } = profile
    const { asset_id, symbol, currency: paid } = await lockAndFindLot(sql, userId, id)
    const currency = (await readAssetCurrency(sql, userId, asset_id)) ?? paid
    const sale = { kind: 'sell', symbol, ...input } as const
    const sold = await insertActivity(sql, profile, sale, { asset_id, currency }, new Date())
    return { ...sold, body: await readSale(sql, userId, sold.body, profile.currency) }
  }
}

/** The result that such a sale would have; nothing is written. @throws CodedError as `sell` */
export const previewSale = async (request: UserRequest, id: string, fields: JsonFields): Promise<Sale> => ({
  ...(await dryRun(request, sell(id, fields))),
  activity_id: null,
})

/** Selects the lots of a page. @throws CodedError `invalid_request` */
export function parseLotsQuery(query: Record<string, string>) {
  const { cursor, ...rest } = parse(lotsQuerySchema, query)
  return { ...rest, after: decodeCursor(cursor) }
}

/** A page of the user's lots, the newest first. */
export async function readLotPage(
  sql: UserSql,
  userId: string,
  { limit, symbol, open, after }: ReturnType<typeof parseLotsQuery>,
): Promise<LotPage> {
  const assetIds = await assetIdsBySymbol(sql, userId, symbol)
  const found = await readLots(sql, userId, {
    limit: limit + 1,
    ...(assetIds && { assetIds }),
    ...(open !== undefined && { open }),
    ...(after && { after }),
  })
  const { rows, next } = toPage(found, limit)
  return { stocks: rows, next_cursor: next }
}

/** The lot with this id. @throws CodedError `unknown_lot`, `unavailable` */
export const readLot = (request: UserRequest, id: string): Promise<LotView> =>
  withUser(request, (sql) => findLot(sql, request.user.id, id))

/** `/api/v1/stocks`: purchases of stocks and crypto, as lots. */
export const lotRoutes = new Hono<AppEnv>()
  .get('/api/v1/stocks', requireUser(), async (c) => {
    const query = parseLotsQuery(Object.fromEntries(new URL(c.req.url).searchParams))
    const page = await withUser(userRequest(c), (sql) => readLotPage(sql, c.var.user.id, query))
    return c.json(page, 200, PRIVATE_NO_STORE)
  })
  .post('/api/v1/stocks', requireUser(), async (c) => {
    const fields = await readFields(c)
    return respondOnce(c, fields, (request) => addLot(request, fields))
  })
  .get('/api/v1/stocks/:id', requireUser(), async (c) => {
    const lot = await readLot(userRequest(c), c.req.param('id'))
    return c.json(lot, 200, { ...PRIVATE_NO_STORE, ...versionEtag(lot) })
  })
  .patch('/api/v1/stocks/:id', requireUser(), async (c) => {
    const fields = await readFields(c)
    const ifMatch = c.req.header('if-match')
    return respondOnce(c, fields, (request) => changeLot(request, c.req.param('id'), fields, ifMatch))
  })
  .delete('/api/v1/stocks/:id', requireUser(), (c) =>
    respondOnce(c, null, () => deleteLot(c.req.param('id'), c.req.header('if-match'))),
  )
  .post('/api/v1/stocks/:id/sell', requireUser(), async (c) => {
    const id = c.req.param('id')
    const { dry_run } = parse(sellQuerySchema, c.req.query())
    const fields = await readFields(c)
    if (dry_run) return c.json(await previewSale(userRequest(c), id, fields), 200, PRIVATE_NO_STORE)
    return respondOnce(c, fields, () => sell(id, fields))
  })

const lot = lotSchema.meta({ id: 'Lot', description: 'The open part of a purchase' })
const sale = saleSchema.meta({ id: 'Sale', description: 'The lots that a sale takes and the gain that it realises' })

export const LOT_OPERATIONS: Operations = {
  'get /api/v1/stocks': operation('Portfolio', 'listStocks', {
    summary: 'Your lots with their current figures, the newest first',
    query: lotsQuerySchema,
    responses: response(200, 'A page of lots', lotPageSchema.extend({ stocks: z.array(lot) })),
    errors: [...READ_ERRORS, 'invalid_request'],
  }),
  'post /api/v1/stocks': operation('Portfolio', 'addStock', {
    summary: 'Enter a purchase',
    description:
      'It opens a lot. Open short lots of the asset are closed first; if nothing is left, the lot in the response has the quantity 0.',
    header: idempotencyHeaders,
    body: newLotSchema,
    responses: createdResponse('The lot', lot),
    errors: [...WRITE_ERRORS, ...SYMBOL_ERRORS],
  }),
  'get /api/v1/stocks/{id}': operation('Portfolio', 'getStock', {
    summary: 'One lot',
    path: idPath,
    responses: okWithEtag('The lot', lot),
    errors: [...READ_ERRORS, 'unknown_lot'],
  }),
  'patch /api/v1/stocks/{id}': operation('Portfolio', 'changeStock', {
    summary: 'Change the purchase that opened a lot; fields that are left out stay the same',
    description:
      'quantity and price are as they were traded, before later splits, as in the activity with this id. Refused if later sales would lack what they took.',
    path: idPath,
    header: conditionalHeaders,
    body: lotChangeSchema,
    responses: okWithEtag('The changed lot', lot),
    errors: [...CHANGE_ERRORS, ...SYMBOL_ERRORS, 'unknown_lot'],
  }),
  'delete /api/v1/stocks/{id}': operation('Portfolio', 'deleteStock', {
    summary: 'Delete the purchase that opened a lot',
    description: 'Refused if later sales would lack what they took.',
    path: idPath,
    header: conditionalHeaders,
    responses: response(204, 'Deleted'),
    errors: [...CHANGE_ERRORS, 'unknown_lot'],
  }),
  'post /api/v1/stocks/{id}/sell': operation('Portfolio', 'sellStock', {
    summary: 'Sell the asset of a lot',
    description:
      'The id names the asset. Without `lots` its oldest lots are taken first, whichever lot the id is; with `lots` only those. Overselling is refused.',
    path: idPath,
    query: sellQuerySchema,
    header: idempotencyHeaders,
    body: sellSchema,
    responses: {
      ...createdResponse('Sold', sale),
      ...response(200, 'With dry_run=true: the sale as it would be', sale),
    },
    errors: [...WRITE_ERRORS, 'unknown_lot'],
  }),
}
