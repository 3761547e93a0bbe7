import { z } from 'zod'
import type { ZodOpenApiPathsObject } from 'zod-openapi'
import { activityPageSchema, activitySchema, lotPageSchema, saleSchema } from '../../protocol/activity.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import {
  activitiesQuerySchema,
  activityChangeSchema,
  lotChangeSchema,
  lotsQuerySchema,
  newActivitySchema,
  newLotSchema,
  sellQuerySchema,
  sellSchema,
} from '../../protocol/lot-input.ts'
import { lotSchema } from '../../protocol/portfolio.ts'
import { jsonResponse, operation } from '../http/operation.ts'

const tags = ['Portfolio']
const userSecurity: Record<string, string[]>[] = [{ user: [] }, { session: [] }]

const lot = lotSchema.meta({ id: 'Lot', description: 'A purchase, as far as it is still open' })
const activity = activitySchema.meta({ id: 'Activity', description: 'What was entered or imported' })
const sale = saleSchema.meta({ id: 'Sale', description: 'What a sale takes and realises' })

const jsonRequestBody = (schema: z.ZodType) => ({
  requestBody: { required: true, content: { 'application/json': { schema } } },
})

const etag = z.string().meta({ description: 'The version, for If-Match', example: '"v1"' })
const okWithEtag = (description: string, schema: z.ZodType) => ({
  200: { ...jsonResponse(description, schema)[200], headers: z.object({ etag }) },
})
const createdResponse = (description: string, schema: z.ZodType) => ({
  201: {
    description,
    headers: z.object({ etag, location: z.string() }),
    content: { 'application/json': { schema } },
  },
})
const deletedResponse = { 204: { description: 'Deleted' } }

const idPath = z.object({ id: z.uuid() })
const idempotencyHeaders = z.object({
  'idempotency-key': z.string().min(1).max(200).optional().meta({
    description: 'The same request with the same key is done once within a day, and has the same answer',
  }),
})
const conditionalHeaders = idempotencyHeaders.extend({
  'if-match': z.string().optional().meta({ description: 'The ETag that was read: another version is not changed' }),
})

const READ_ERRORS: readonly ErrorCode[] = ['unauthorized', 'unavailable']
const WRITE_ERRORS: readonly ErrorCode[] = [
  ...READ_ERRORS,
  'invalid_request',
  'forbidden',
  'message_too_large',
  'insufficient_quantity',
  'idempotency_conflict',
]
const SYMBOL_ERRORS: readonly ErrorCode[] = ['unknown_symbol', 'ambiguous_symbol']

/** The endpoints of lots and activities, for the OpenAPI document. */
export const STOCK_PATHS: ZodOpenApiPathsObject = {
  '/api/v1/stocks': {
    get: operation(
      {
        operationId: 'listStocks',
        summary: 'Your lots with their figures of now, the newest first',
        tags,
        security: userSecurity,
        requestParams: { query: lotsQuerySchema },
      },
      jsonResponse('A page of lots', lotPageSchema.extend({ stocks: z.array(lot) })),
      [...READ_ERRORS, 'invalid_request'],
    ),
    post: operation(
      {
        operationId: 'addStock',
        summary: 'Enter a purchase',
        description:
          'It opens a lot. Where short lots of the asset are open it closes those first; with nothing left, the lot that is answered has the quantity 0.',
        tags,
        security: userSecurity,
        requestParams: { header: idempotencyHeaders },
        ...jsonRequestBody(newLotSchema),
      },
      createdResponse('The lot', lot),
      [...WRITE_ERRORS, ...SYMBOL_ERRORS],
    ),
  },
  '/api/v1/stocks/{id}': {
    get: operation(
      { operationId: 'getStock', summary: 'One lot', tags, security: userSecurity, requestParams: { path: idPath } },
      okWithEtag('The lot', lot),
      [...READ_ERRORS, 'unknown_lot'],
    ),
    patch: operation(
      {
        operationId: 'changeStock',
        summary: 'Change the purchase that opened a lot; what is not given stays',
        description:
          'quantity and price are as they were traded, before later splits, as the activity with this id has them. Refused where later sales would lack what they took.',
        tags,
        security: userSecurity,
        requestParams: { path: idPath, header: conditionalHeaders },
        ...jsonRequestBody(lotChangeSchema),
      },
      okWithEtag('The lot as it is then', lot),
      [...WRITE_ERRORS, ...SYMBOL_ERRORS, 'unknown_lot', 'version_conflict'],
    ),
    delete: operation(
      {
        operationId: 'deleteStock',
        summary: 'Delete the purchase that opened a lot',
        description: 'Refused where later sales would lack what they took.',
        tags,
        security: userSecurity,
        requestParams: { path: idPath, header: conditionalHeaders },
      },
      deletedResponse,
      [...WRITE_ERRORS, 'unknown_lot', 'version_conflict'],
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
        security: userSecurity,
        requestParams: { path: idPath, query: sellQuerySchema, header: idempotencyHeaders },
        ...jsonRequestBody(sellSchema),
      },
      { ...createdResponse('Sold', sale), ...jsonResponse('With dry_run=true: what it would do', sale) },
      [...WRITE_ERRORS, 'unknown_lot'],
    ),
  },
  '/api/v1/activities': {
    get: operation(
      {
        operationId: 'listActivities',
        summary: 'What you have entered or imported, the newest first',
        tags,
        security: userSecurity,
        requestParams: { query: activitiesQuerySchema },
      },
      jsonResponse('A page of activities', activityPageSchema.extend({ activities: z.array(activity) })),
      [...READ_ERRORS, 'invalid_request'],
    ),
    post: operation(
      {
        operationId: 'addActivity',
        summary: 'Enter an activity of any kind',
        description:
          'A dividend, interest, fee or tax amounts to quantity × price. A split changes the lots that were open before its day.',
        tags,
        security: userSecurity,
        requestParams: { header: idempotencyHeaders },
        ...jsonRequestBody(newActivitySchema),
      },
      createdResponse('The activity', activity),
      [...WRITE_ERRORS, ...SYMBOL_ERRORS, 'unknown_lot'],
    ),
  },
  '/api/v1/activities/{id}': {
    get: operation(
      {
        operationId: 'getActivity',
        summary: 'One activity',
        tags,
        security: userSecurity,
        requestParams: { path: idPath },
      },
      okWithEtag('The activity', activity),
      [...READ_ERRORS, 'unknown_activity'],
    ),
    patch: operation(
      {
        operationId: 'changeActivity',
        summary: 'Change an activity; what is not given stays, and its kind always',
        tags,
        security: userSecurity,
        requestParams: { path: idPath, header: conditionalHeaders },
        ...jsonRequestBody(activityChangeSchema),
      },
      okWithEtag('The activity as it is then', activity),
      [...WRITE_ERRORS, ...SYMBOL_ERRORS, 'unknown_lot', 'unknown_activity', 'version_conflict'],
    ),
    delete: operation(
      {
        operationId: 'deleteActivity',
        summary: 'Delete an activity',
        tags,
        security: userSecurity,
        requestParams: { path: idPath, header: conditionalHeaders },
      },
      deletedResponse,
      [...WRITE_ERRORS, 'unknown_activity', 'version_conflict'],
    ),
  },
}
