import { z } from 'zod'
import type { ZodOpenApiPathsObject } from 'zod-openapi'
import { activityPageSchema, activitySchema, lotPageSchema, saleSchema } from '../../protocol/activity.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { lotSchema } from '../../protocol/portfolio.ts'
import {
  activitiesQuerySchema,
  activityChangeSchema,
  newActivitySchema,
  sellQuerySchema,
  sellSchema,
  stockChangeSchema,
  stockSchema,
  stocksQuerySchema,
} from '../../protocol/stock-input.ts'
import { json, operation } from '../http/operation.ts'

const tags = ['Portfolio']
const security: Record<string, string[]>[] = [{ user: [] }, { session: [] }]

const lot = lotSchema.meta({ id: 'Lot', description: 'A purchase, as far as it is still open' })
const activity = activitySchema.meta({ id: 'Activity', description: 'What was entered or imported' })
const sale = saleSchema.meta({ id: 'Sale', description: 'What a sale takes and realises' })

const takes = (schema: z.ZodType) => ({
  requestBody: { required: true, content: { 'application/json': { schema } } },
})

const etag = z.string().meta({ description: 'The version, for If-Match', example: '"v1"' })
const tagged = (description: string, schema: z.ZodType) => ({
  200: { ...json(description, schema)[200], headers: z.object({ etag }) },
})
const created = (description: string, schema: z.ZodType) => ({
  201: {
    description,
    headers: z.object({ etag, location: z.string() }),
    content: { 'application/json': { schema } },
  },
})
const gone = { 204: { description: 'Deleted' } }

const id = z.object({ id: z.uuid() })
const once = z.object({
  'idempotency-key': z.string().min(1).max(200).optional().meta({
    description: 'The same request with the same key is done once within a day, and has the same answer',
  }),
})
const matching = once.extend({
  'if-match': z.string().optional().meta({ description: 'The ETag that was read: another version is not changed' }),
})

const READ: readonly ErrorCode[] = ['unauthorized', 'unavailable']
const WRITE: readonly ErrorCode[] = [
  ...READ,
  'invalid_request',
  'forbidden',
  'message_too_large',
  'insufficient_quantity',
  'idempotency_conflict',
]
const SYMBOL: readonly ErrorCode[] = ['unknown_symbol', 'ambiguous_symbol']

/** The endpoints of lots and activities, for the OpenAPI document. */
export const STOCK_PATHS: ZodOpenApiPathsObject = {
  '/api/v1/stocks': {
    get: operation(
      {
        operationId: 'listStocks',
        summary: 'Your lots with their figures of now, the newest first',
        tags,
        security,
        requestParams: { query: stocksQuerySchema },
      },
      json('A page of lots', lotPageSchema.extend({ stocks: z.array(lot) })),
      [...READ, 'invalid_request'],
    ),
    post: operation(
      {
        operationId: 'addStock',
        summary: 'Enter a purchase',
        description:
          'It opens a lot. Where short lots of the asset are open it closes those first; with nothing left, the lot that is answered has the quantity 0.',
        tags,
        security,
        requestParams: { header: once },
        ...takes(stockSchema),
      },
      created('The lot', lot),
      [...WRITE, ...SYMBOL],
    ),
  },
  '/api/v1/stocks/{id}': {
    get: operation(
      { operationId: 'getStock', summary: 'One lot', tags, security, requestParams: { path: id } },
      tagged('The lot', lot),
      [...READ, 'unknown_lot'],
    ),
    patch: operation(
      {
        operationId: 'changeStock',
        summary: 'Change the purchase that opened a lot; what is not given stays',
        description:
          'quantity and price are as they were traded, before later splits, as the activity with this id has them. Refused where later sales would lack what they took.',
        tags,
        security,
        requestParams: { path: id, header: matching },
        ...takes(stockChangeSchema),
      },
      tagged('The lot as it is then', lot),
      [...WRITE, ...SYMBOL, 'unknown_lot', 'version_conflict'],
    ),
    delete: operation(
      {
        operationId: 'deleteStock',
        summary: 'Delete the purchase that opened a lot',
        description: 'Refused where later sales would lack what they took.',
        tags,
        security,
        requestParams: { path: id, header: matching },
      },
      gone,
      [...WRITE, 'unknown_lot', 'version_conflict'],
    ),
  },
  '/api/v1/stocks/{id}/sell': {
    post: operation(
      {
        operationId: 'sellStock',
        summary: 'Sell of the asset of a lot',
        description:
          'The id tells the asset. Without `lots` the oldest lots of it are taken first, whichever lot the id is; with `lots` those alone. Overselling is refused.',
        tags,
        security,
        requestParams: { path: id, query: sellQuerySchema, header: once },
        ...takes(sellSchema),
      },
      { ...created('Sold', sale), ...json('With dry_run=true: what it would do', sale) },
      [...WRITE, 'unknown_lot'],
    ),
  },
  '/api/v1/activities': {
    get: operation(
      {
        operationId: 'listActivities',
        summary: 'What you have entered or imported, the newest first',
        tags,
        security,
        requestParams: { query: activitiesQuerySchema },
      },
      json('A page of activities', activityPageSchema.extend({ activities: z.array(activity) })),
      [...READ, 'invalid_request'],
    ),
    post: operation(
      {
        operationId: 'addActivity',
        summary: 'Enter an activity of any kind',
        description:
          'A dividend, interest, fee or tax amounts to quantity × price. A split changes the lots that were open before its day.',
        tags,
        security,
        requestParams: { header: once },
        ...takes(newActivitySchema),
      },
      created('The activity', activity),
      [...WRITE, ...SYMBOL, 'unknown_lot'],
    ),
  },
  '/api/v1/activities/{id}': {
    get: operation(
      { operationId: 'getActivity', summary: 'One activity', tags, security, requestParams: { path: id } },
      tagged('The activity', activity),
      [...READ, 'unknown_activity'],
    ),
    patch: operation(
      {
        operationId: 'changeActivity',
        summary: 'Change an activity; what is not given stays, and its kind always',
        tags,
        security,
        requestParams: { path: id, header: matching },
        ...takes(activityChangeSchema),
      },
      tagged('The activity as it is then', activity),
      [...WRITE, ...SYMBOL, 'unknown_lot', 'unknown_activity', 'version_conflict'],
    ),
    delete: operation(
      {
        operationId: 'deleteActivity',
        summary: 'Delete an activity',
        tags,
        security,
        requestParams: { path: id, header: matching },
      },
      gone,
      [...WRITE, 'unknown_activity', 'version_conflict'],
    ),
  },
}
