import { Hono } from 'hono'
import { z } from 'zod'
import { createDocument, type ZodOpenApiPathsObject } from 'zod-openapi'
import { readSettings } from '../config.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import { GRANULARITIES } from '../protocol/granularity.ts'
import { clientMessageSchema, serverMessageSchema } from '../protocol/messages.ts'
import { portfolioMessageSchema } from '../protocol/portfolio.ts'
import { ACCOUNT_PATHS } from './accounts/paths.ts'
import type { AppEnv } from './http/context.ts'
import {
  assetsSchema,
  auditSchema,
  barsSchema,
  candlesSchema,
  historySchema,
  priceSchema,
  refreshSchema,
  symbolsSchema,
} from './http/input.ts'
import { jsonResponse, operation } from './http/operation.ts'
import {
  assetResponseSchema,
  assetsResponseSchema,
  auditResponseSchema,
  batchPricesResponseSchema,
  candlesResponseSchema,
  healthResponseSchema,
  priceHistoryResponseSchema,
  productResponseSchema,
  productsResponseSchema,
  quoteSchema,
  refreshResponseSchema,
} from './http/response-schemas.ts'
import { IMPORT_PATHS } from './portfolio/import/paths.ts'
import { STOCK_PATHS } from './portfolio/lot-paths.ts'
import { PORTFOLIO_PATHS, ticketParam } from './portfolio/paths.ts'
import { PORTFOLIO_HISTORY_PATHS } from './portfolio/value-history.ts'

const etagHeader = z.string().meta({ description: 'Sent back as If-None-Match, gives 304 while nothing has changed' })

const eventStreamResponse = (description: string) => ({
  200: { description, content: { 'text/event-stream': { schema: z.string() } } },
})

const productIdPath = z.object({ id: z.string().meta({ description: 'A product', example: 'BTC-USD' }) })

/** What the event streams read, which repeats or holds commas: it is checked as a whole, by hand. */
const candleStreamQuery = {
  product: z
    .string()
    .optional()
    .meta({ description: 'Products, divided by commas or repeated; * is all. Or `products`' }),
  granularity: z
    .string()
    .optional()
    .meta({ description: `Of ${GRANULARITIES.join(', ')}, likewise; * is all. Or \`granularities\`` }),
  passive: z.enum(['true', 'false']).optional().meta({ description: 'true: opens no feed by being there' }),
}
const resumeQuery = {
  since: z.string().optional().meta({ description: 'The position to go on from, as the header Last-Event-ID' }),
}
const symbolsParam = z.string().optional().meta({ description: 'Symbols, likewise; * is all. Or `symbols`' })

const SYMBOL_ERRORS: readonly ErrorCode[] = ['unknown_symbol', 'ambiguous_symbol', 'unavailable']
const STREAM_ERRORS: readonly ErrorCode[] = [
  'invalid_request',
  'unknown_product',
  'unknown_granularity',
  'product_offline',
  'too_many_sockets',
]
const switchingProtocols = {
  101: { description: 'The socket is open; the messages are those of the schemas named Socket…' },
}
const socketQuery = { passive: candleStreamQuery.passive }

const PATHS: ZodOpenApiPathsObject = {
  '/get-price': {
    get: operation(
      {
        operationId: 'getPrice',
        summary: 'The price of one asset',
        description: 'A symbol that no asset has is looked for at the providers, and added when one knows it.',
        tags: ['Prices'],
        requestParams: { query: priceSchema },
      },
      jsonResponse('The price, as fresh as it says', quoteSchema),
      ['invalid_request', ...SYMBOL_ERRORS],
    ),
  },
  '/get-batch-prices': {
    post: operation(
      {
        operationId: 'getBatchPrices',
        summary: 'The prices of up to 1,000 assets, each with its own status',
        tags: ['Prices'],
        requestBody: { required: true, content: { 'application/json': { schema: symbolsSchema } } },
      },
      jsonResponse('A price or an error for each symbol', batchPricesResponseSchema),
      ['invalid_request', 'too_many_symbols', 'message_too_large'],
    ),
  },
  '/get-history': {
    get: operation(
      {
        operationId: 'getHistory',
        summary: 'Price history of one asset, in bars of one interval',
        description:
          '1d has bars of five minutes, 7d of thirty; up to 1y of a day, 3y of a week, beyond of a month. A stretch that lies so far back that its bars are not kept any more has the next longer ones: `interval` tells.',
        tags: ['Prices'],
        requestParams: { query: historySchema },
      },
      {
        200: {
          description: 'The bars, ascending; the last may not be complete',
          headers: z.object({ etag: etagHeader }),
          content: { 'application/json': { schema: priceHistoryResponseSchema } },
        },
        304: { description: 'What the client has is still what there is' },
      },
      ['invalid_request', 'unknown_range', ...SYMBOL_ERRORS],
    ),
  },
  '/refresh-prices': {
    post: operation(
      {
        operationId: 'refreshPrices',
        summary: 'Has prices refreshed now, within the providers’ budgets',
        tags: ['Prices'],
        security: [{ serviceKey: [] }],
        requestBody: { required: false, content: { 'application/json': { schema: refreshSchema } } },
      },
      jsonResponse('What came of it', refreshResponseSchema),
      ['unauthorized', 'invalid_request', 'too_many_symbols', 'message_too_large'],
    ),
  },
  '/api/v1/assets': {
    get: operation(
      {
        operationId: 'findAssets',
        summary: 'Assets by symbol or name, the best first',
        tags: ['Assets'],
        requestParams: { query: assetsSchema },
      },
      jsonResponse('A page of assets', assetsResponseSchema),
      ['invalid_request', 'unavailable'],
    ),
  },
  '/api/v1/assets/{symbol}': {
    get: operation(
      {
        operationId: 'getAsset',
        summary: 'One asset',
        tags: ['Assets'],
        requestParams: { path: priceSchema },
      },
      jsonResponse('The asset', assetResponseSchema),
      SYMBOL_ERRORS,
    ),
  },
  '/api/v1/products': {
    get: operation(
      { operationId: 'getProducts', summary: 'The exchange’s pairs, the active ones first', tags: ['Candles'] },
      jsonResponse('The products', productsResponseSchema),
      [],
    ),
  },
  '/api/v1/products/{id}': {
    get: operation(
      { operationId: 'getProduct', summary: 'One pair', tags: ['Candles'], requestParams: { path: productIdPath } },
      jsonResponse('The product', productResponseSchema),
      ['unknown_product'],
    ),
  },
  '/api/v1/products/{id}/candles': {
    get: operation(
      {
        operationId: 'getCandles',
        summary: 'Candles of one product, ascending, the forming one last',
        tags: ['Candles'],
        requestParams: { path: productIdPath, query: candlesSchema },
      },
      jsonResponse('The last `limit` candles of the stretch', candlesResponseSchema),
      ['invalid_request', 'unknown_granularity', 'unknown_product', 'unavailable'],
    ),
  },
  '/api/v1/audit': {
    get: operation(
      {
        operationId: 'getAudits',
        summary: 'What the comparison of finished days with the exchange’s own candles has found',
        tags: ['Candles'],
        requestParams: { query: auditSchema },
      },
      jsonResponse('The audits, the newest first', auditResponseSchema),
      ['invalid_request', 'unknown_product', 'unavailable'],
    ),
  },
  '/api/v1/stream': {
    get: operation(
      {
        operationId: 'stream',
        summary: 'Candles and quotes as server-sent events',
        description: 'Products and granularities, or symbols, or both. Events: `position`, `candle`, `quote`, `feed`.',
        tags: ['Live'],
        requestParams: { query: z.object({ ...candleStreamQuery, symbol: symbolsParam, ...resumeQuery }) },
      },
      eventStreamResponse(
        '`event: candle` with a Candle, `event: quote` with a Quote; `id` is the position to come back with',
      ),
      [...STREAM_ERRORS, 'unknown_symbol', 'ambiguous_symbol', 'too_many_symbols'],
    ),
  },
  '/api/v1/datastar': {
    get: operation(
      {
        operationId: 'streamElements',
        summary: 'Candles as `<spot-candle>` elements for Datastar',
        tags: ['Live'],
        requestParams: { query: z.object(candleStreamQuery) },
      },
      eventStreamResponse('`event: datastar-patch-elements`'),
      STREAM_ERRORS,
    ),
  },
  '/api/v1/datastar/chart': {
    get: operation(
      {
        operationId: 'streamCharts',
        summary: 'Charts as `<spot-chart>` elements for Datastar',
        tags: ['Live'],
        requestParams: { query: z.object({ ...candleStreamQuery, ...barsSchema.shape }) },
      },
      eventStreamResponse('`event: datastar-patch-elements`'),
      STREAM_ERRORS,
    ),
  },
  '/ws': {
    get: operation(
      {
        operationId: 'openSocket',
        summary: 'A WebSocket for any channels: candles.BTC-USD.ONE_MINUTE, quotes.AAPL, portfolio, asset.AAPL',
        description: 'The last two are for who is let in as to /ws/portfolio.',
        tags: ['Live'],
        security: [{}, { user: [] }, { session: [] }],
        requestParams: { query: z.object({ ...socketQuery, ticket: ticketParam }) },
      },
      switchingProtocols,
      ['invalid_request', 'unauthorized', 'forbidden', 'upgrade_required', 'too_many_sockets', 'unavailable'],
    ),
  },
  '/ws/products/{id}': {
    get: operation(
      {
        operationId: 'openProductSocket',
        summary: 'A WebSocket of one product’s own object',
        tags: ['Live'],
        requestParams: { path: productIdPath, query: z.object(socketQuery) },
      },
      switchingProtocols,
      ['upgrade_required', 'unknown_product', 'product_offline', 'too_many_sockets'],
    ),
  },
  ...ACCOUNT_PATHS,
  ...PORTFOLIO_PATHS,
  ...PORTFOLIO_HISTORY_PATHS,
  ...STOCK_PATHS,
  ...IMPORT_PATHS,
  '/health': {
    get: operation(
      {
        operationId: 'getHealth',
        summary: 'Whether feeds and database can be used',
        tags: ['Operation'],
        requestParams: { query: z.object({ verbose: z.string().optional() }) },
      },
      {
        ...jsonResponse('Something can be served', healthResponseSchema),
        503: { description: 'Neither can', content: { 'application/json': { schema: healthResponseSchema } } },
      },
      [],
    ),
  },
  '/openapi.json': {
    get: operation(
      { operationId: 'getOpenApi', summary: 'This document', tags: ['Operation'] },
      jsonResponse('OpenAPI 3.1', z.looseObject({ openapi: z.string() })),
      [],
    ),
  },
}

/** A document as `createDocument` gives it. */
export type OpenApiDocument = ReturnType<typeof createDocument>

const documentCache = new Map<string, OpenApiDocument>()

/** The OpenAPI 3.1 document of every endpoint (D6), made once of the schemas that check what comes in. */
export function getOpenApiDocument(version: string): OpenApiDocument {
  const known = documentCache.get(version)
  if (known) return known
  const document = createDocument(
    {
      openapi: '3.1.0',
      info: {
        title: 'Kerb',
        version,
        description:
          'Live candles, quotes and price history. Numbers are written with the digits of who told them: a reader that wants them all must not go through floats. Unknown fields are to be ignored. Errors are problem details with a `code` of a closed set.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: [{ url: '/' }],
      security: [],
      tags: [
        { name: 'Prices', description: 'Stocks, funds, indices, currencies and crypto' },
        { name: 'Assets', description: 'What has a price' },
        { name: 'Candles', description: 'Of trading pairs, built from trades' },
        { name: 'Live', description: 'Sockets and event streams' },
        { name: 'Accounts', description: 'Signing in, and what belongs to who is signed in' },
        { name: 'Portfolio', description: 'What somebody holds, and what it is worth' },
        { name: 'Operation', description: 'For whoever runs this' },
      ],
      paths: PATHS,
      components: {
        securitySchemes: {
          serviceKey: { type: 'http', scheme: 'bearer', description: 'The service key' },
          user: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'An access token of a user' },
          session: {
            type: 'apiKey',
            in: 'cookie',
            name: '__Host-kerb_refresh',
            description: 'The cookie that signing in sets; writes with it come from pages of this Kerb alone',
          },
        },
        schemas: {
          SocketRequest: clientMessageSchema.meta({
            unusedIO: 'input',
            description: 'What a client sends on a socket',
          }),
          SocketMessage: serverMessageSchema.meta({ description: 'What a client gets on a socket' }),
          PortfolioMessage: portfolioMessageSchema.meta({ description: 'What it gets of a portfolio' }),
        },
      },
    },
    {
      // Readers ignore fields that they do not know: a schema that forbids them would break with the next one.
      override: ({ jsonSchema }) => {
        if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties
        // What every whole number is in JavaScript tells a reader nothing.
        if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
        if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
      },
    },
  )
  documentCache.set(version, document)
  return document
}

/** `GET /openapi.json`. */
export const openApiRoutes = new Hono<AppEnv>().get('/openapi.json', (c) =>
  c.json(getOpenApiDocument(readSettings(c.env).VERSION), 200, { 'cache-control': 'public, max-age=300' }),
)
