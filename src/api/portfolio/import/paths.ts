import { z } from 'zod'
import type { ZodOpenApiPathsObject } from 'zod-openapi'
import { jsonResponse, operation } from '../../http/operation.ts'
import { exportQuerySchema } from '../export.ts'
import { importQuerySchema } from './import.ts'
import { importResultSchema } from './result.ts'

const tags = ['Portfolio']
const userSecurity: Record<string, string[]>[] = [{ user: [] }, { session: [] }]

const file = z.string().meta({ description: 'The file as it is' })
const headers = z.object({
  'idempotency-key': z.string().max(200).optional().meta({ description: 'The same request with it is done once' }),
})

/** The endpoints of import and export, for the OpenAPI document. */
export const IMPORT_PATHS: ZodOpenApiPathsObject = {
  '/api/v1/portfolio/import': {
    post: operation(
      {
        operationId: 'importPortfolio',
        summary: 'Import activities of a file, all or nothing',
        description:
          'Reads Ghostfolio’s JSON and CSV, exports of Kerb, of Coinbase, Crypto.com, DEGIRO, Delta, Interactive Brokers, ' +
          'Parqet, Schwab and Trading 212, and tables with such columns as date, symbol, quantity, price, currency and ' +
          'type. What is there already is not added again. With any error nothing is written: `errors` names the rows. ' +
          'Sales of more than is held open short lots; what is yet to come has no effect until then.',
        tags,
        security: userSecurity,
        requestParams: { query: importQuerySchema, header: headers },
        requestBody: {
          required: true,
          content: {
            'text/csv': { schema: file },
            'application/json': { schema: z.looseObject({ activities: z.array(z.unknown()) }) },
            'multipart/form-data': { schema: z.object({ file }) },
          },
        },
      },
      jsonResponse(
        'What was imported; with dry_run=true what would be, also where there are errors',
        importResultSchema,
      ),
      ['invalid_request', 'unauthorized', 'forbidden', 'message_too_large', 'idempotency_conflict', 'unavailable'],
    ),
  },
  '/api/v1/portfolio/export': {
    get: operation(
      {
        operationId: 'exportPortfolio',
        summary: 'All activities as a file, which an import takes back',
        description:
          'In Ghostfolio’s JSON or CSV; what these have no place for stands beside it, where they do not look.',
        tags,
        security: userSecurity,
        requestParams: { query: exportQuerySchema },
      },
      {
        200: {
          description: 'The file',
          headers: z.object({ 'content-disposition': z.string() }),
          content: {
            'application/json': { schema: z.looseObject({ activities: z.array(z.unknown()) }) },
            'text/csv': { schema: z.string() },
          },
        },
      },
      ['invalid_request', 'unauthorized', 'unavailable'],
    ),
  },
}
