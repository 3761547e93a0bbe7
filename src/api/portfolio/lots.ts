import { Hono } from 'hono'
import { z } from 'zod'
import type { ZodOpenApiPathsObject } from 'zod-openapi'
import { lockPortfolio } from '../../db/activities.ts'
import type { UserSql } from '../../db/client.ts'
import type { StoredResponse } from '../../db/idempotency.ts'
import { readLots } from '../../db/portfolio-views.ts'
import type { StoredProfile } from '../../db/profiles.ts'
import { findActivity, readAssetCurrency } from '../../db/read-activities.ts'
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
import { requireUser } from '../accounts/session.ts'
import { type JsonFields, readFields } from '../http/body.ts'
import type { AppEnv, UserRequest } from '../http/context.ts'
import {
  dryRun,
  findResponse,
  type IdempotencyKey,
  idempotencyKey,
  runIdempotent,
  sendStored,
  type WriteResult,
} from '../http/idempotency.ts'
import { parse } from '../http/input.ts'
import { jsonRequestBody, jsonResponse } from '../http/operation.ts'
import { userRequest } from '../http/request.ts'
import { PRIVATE_NO_STORE, withUser } from '../http/user-transaction.ts'
import { insertActivity, removeActivity, resolveChange, resolveInputAsset, updateActivity } from './activities.ts'
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
import { readSale } from './sale.ts'
import { checkCurrency, checkLots, checkNotInFuture, isUuid, versionEtag, writeActivities } from './write-activity.ts'

/** @throws CodedError `unknown_lot` */
async function findLot(sql: UserSql, userId: string, id: string): Promise<LotView> {
  const [lot] = isUuid(id) ? await readLots(sql, userId, { ids: [id], limit: 1 }) : []
  if (lot) return lot
  throw new CodedError('unknown_lot', 'there is no such lot')
}

/** The lot that a purchase has opened; one of quantity 0 where it has only closed short lots. */
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

/** Adds a purchase, which opens a lot. @throws CodedError */
export async function addLot(
  request: UserRequest,
  fields: JsonFields,
  key: IdempotencyKey | null,
): Promise<StoredResponse> {
  const input = { kind: 'buy' as const, ...parse(newLotSchema, fields) }
  const now = new Date()
  checkNotInFuture(input.traded_at, now)
  const asset = await resolveInputAsset(request, input)
  return runIdempotent(request, key, async (sql, profile) => {
    const { activity, change } = await insertActivity(sql, profile, input, asset, now)
    const headers = { location: `/api/v1/stocks/${activity.id}`, ...versionEtag(activity) }
    return { status: 201, headers, body: await openedLot(sql, request.user.id, activity), change }
  })
}

/** Changes the purchase that opened a lot; what `fields` leaves out stays. @throws CodedError */
async function changeLot(
  request: UserRequest,
  id: string,
  fields: JsonFields,
  { ifMatch, key }: { ifMatch: string | undefined; key: IdempotencyKey | null },
): Promise<StoredResponse> {
  const { id: userId } = request.user
  parse(lotChangeSchema, fields)
  const resolved = await resolveChange(request, id, fields, ifMatch)
  return runIdempotent(request, key, async (sql) => {
    await lockAndFindLot(sql, userId, id)
    const { activity, change } = await updateActivity(sql, userId, resolved)
    return { status: 200, headers: versionEtag(activity), body: await openedLot(sql, userId, activity), change }
  })
}

/** Deletes the purchase that opened a lot. @throws CodedError */
const deleteLot = (
  request: UserRequest,
  id: string,
  { ifMatch, key }: { ifMatch: string | undefined; key: IdempotencyKey | null },
): Promise<StoredResponse> =>
  runIdempotent(request, key, async (sql) => {
    await lockAndFindLot(sql, request.user.id, id)
    return removeActivity(sql, request.user.id, id, ifMatch)
  })

/** The lot with this id; other writes of the user wait until the transaction ends. @throws CodedError `unknown_lot` */
async function lockAndFindLot(sql: UserSql, userId: string, id: string): Promise<LotView> {
  await lockPortfolio(sql, userId)
  return findLot(sql, userId, id)
}

type SaleInput = z.output<typeof sellSchema>

/** @throws CodedError naming the field that is not valid */
function parseSale(fields: JsonFields): SaleInput {
  const input = parse(sellSchema, fields)
  checkNotInFuture(input.traded_at, new Date())
  checkLots(input.lots ?? null, input.quantity)
  return input
}

/**
 * Writes a sale of the asset of a lot: it takes the oldest lots first, or those that it names, whichever lot `id` is (P4).
 * @throws CodedError `unknown_lot`, `insufficient_quantity`, and for a currency that does not exist
 */
async function writeSale(
  sql: UserSql,
  profile: StoredProfile,
  id: string,
  input: SaleInput,
): Promise<WriteResult<Sale>> {
  const { user_id: userId } = profile
  const now = new Date()
  const { asset_id, currency: paid } = await lockAndFindLot(sql, userId, id)
  const usual = (await readAssetCurrency(sql, userId, asset_id)) ?? paid
  const {
    quantity,
    price,
    fees = '0',
    currency = usual,
    traded_at = now.toISOString(),
    lots = null,
    note = null,
  } = input
  await checkCurrency(sql, currency, usual)
  const saleId = crypto.randomUUID()
  const sale = { id: saleId, kind: 'sell', asset_id, quantity, price, fees, currency, traded_at, lots, note } as const
  const change = await writeActivities(sql, userId, now, saleId, {
    insert: [{ ...sale, split: null, short: false, fingerprint: null }],
  })
  const sold = (await findActivity(sql, userId, saleId)) as ActivityView
  const headers = { location: `/api/v1/activities/${saleId}`, ...versionEtag(sold) }
  return { status: 201, headers, body: await readSale(sql, userId, sold, profile.currency), change }
}

/** Sells of the asset of a lot. @throws CodedError as `writeSale` */
export async function sell(
  request: UserRequest,
  id: string,
  fields: JsonFields,
  key: IdempotencyKey | null,
): Promise<StoredResponse> {
  const input = parseSale(fields)
  return runIdempotent(request, key, (sql, profile) => writeSale(sql, profile, id, input))
}

/** The result that such a sale would have; nothing is written. @throws CodedError as `writeSale` */
export async function previewSale(request: UserRequest, id: string, fields: JsonFields): Promise<Sale> {
  const input = parseSale(fields)
  return { ...(await dryRun(request, (sql, profile) => writeSale(sql, profile, id, input))), activity_id: null }
}

/** Which lots a page lists. @throws CodedError `invalid_request` */
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
    const request = userRequest(c)
    const fields = await readFields(c)
    const key = await idempotencyKey(c, fields)
    return sendStored(c, (await findResponse(request, key)) ?? (await addLot(request, fields, key)))
  })
  .get('/api/v1/stocks/:id', requireUser(), async (c) => {
    const lot = await readLot(userRequest(c), c.req.param('id'))
    return c.json(lot, 200, { ...PRIVATE_NO_STORE, ...versionEtag(lot) })
  })
  .patch('/api/v1/stocks/:id', requireUser(), async (c) => {
    const request = userRequest(c)
    const fields = await readFields(c)
    const write = { ifMatch: c.req.header('if-match'), key: await idempotencyKey(c, fields) }
    const previous = await findResponse(request, write.key)
    return sendStored(c, previous ?? (await changeLot(request, c.req.param('id'), fields, write)))
  })
  .delete('/api/v1/stocks/:id', requireUser(), async (c) => {
    const request = userRequest(c)
    const write = { ifMatch: c.req.header('if-match'), key: await idempotencyKey(c, null) }
    const previous = await findResponse(request, write.key)
    return sendStored(c, previous ?? (await deleteLot(request, c.req.param('id'), write)))
  })
  .post('/api/v1/stocks/:id/sell', requireUser(), async (c) => {
    const request = userRequest(c)
    const id = c.req.param('id')
    const { dry_run } = parse(sellQuerySchema, c.req.query())
    const fields = await readFields(c)
    if (dry_run) return c.json(await previewSale(request, id, fields), 200, PRIVATE_NO_STORE)
    const key = await idempotencyKey(c, fields)
    return sendStored(c, (await findResponse(request, key)) ?? (await sell(request, id, fields, key)))
  })

const lot = lotSchema.meta({ id: 'Lot', description: 'A purchase, as far as it is still open' })
const sale = saleSchema.meta({ id: 'Sale', description: 'What a sale takes and realises' })

export const LOT_PATHS: ZodOpenApiPathsObject = {
  '/api/v1/stocks': {
    get: portfolioOperation(
      {
        operationId: 'listStocks',
        summary: 'Your lots with their figures of now, the newest first',
        requestParams: { query: lotsQuerySchema },
      },
      jsonResponse('A page of lots', lotPageSchema.extend({ stocks: z.array(lot) })),
      [...READ_ERRORS, 'invalid_request'],
    ),
    post: portfolioOperation(
      {
        operationId: 'addStock',
        summary: 'Enter a purchase',
        description:
          'It opens a lot. Where short lots of the asset are open it closes those first; with nothing left, the lot that is answered has the quantity 0.',
        requestParams: { header: idempotencyHeaders },
        ...jsonRequestBody(newLotSchema),
      },
      createdResponse('The lot', lot),
      [...WRITE_ERRORS, ...SYMBOL_ERRORS],
    ),
  },
  '/api/v1/stocks/{id}': {
    get: portfolioOperation(
      { operationId: 'getStock', summary: 'One lot', requestParams: { path: idPath } },
      okWithEtag('The lot', lot),
      [...READ_ERRORS, 'unknown_lot'],
    ),
    patch: portfolioOperation(
      {
        operationId: 'changeStock',
        summary: 'Change the purchase that opened a lot; what is not given stays',
        description:
          'quantity and price are as they were traded, before later splits, as the activity with this id has them. Refused where later sales would lack what they took.',
        requestParams: { path: idPath, header: conditionalHeaders },
        ...jsonRequestBody(lotChangeSchema),
      },
      okWithEtag('The lot as it is then', lot),
      [...WRITE_ERRORS, ...SYMBOL_ERRORS, 'unknown_lot', 'version_conflict'],
    ),
    delete: portfolioOperation(
      {
        operationId: 'deleteStock',
        summary: 'Delete the purchase that opened a lot',
        description: 'Refused where later sales would lack what they took.',
        requestParams: { path: idPath, header: conditionalHeaders },
      },
      deletedResponse,
      [...WRITE_ERRORS, 'unknown_lot', 'version_conflict'],
    ),
  },
  '/api/v1/stocks/{id}/sell': {
    post: portfolioOperation(
      {
        operationId: 'sellStock',
        summary: 'Sell of the asset of a lot',
        description:
          'The id tells the asset. Without `lots` the oldest lots of it are taken first, whichever lot the id is; with `lots` those alone. Overselling is refused.',
        requestParams: { path: idPath, query: sellQuerySchema, header: idempotencyHeaders },
        ...jsonRequestBody(sellSchema),
      },
      { ...createdResponse('Sold', sale), ...jsonResponse('With dry_run=true: what it would do', sale) },
      [...WRITE_ERRORS, 'unknown_lot'],
    ),
  },
}
