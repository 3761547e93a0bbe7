import { Hono } from 'hono'
import { z } from 'zod'
import { createDocument, type ZodOpenApiPathsObject } from 'zod-openapi'
import { readSettings } from '../config.ts'
import { clientMessageSchema, serverMessageSchema } from '../protocol/messages.ts'
import { portfolioMessageSchema } from '../protocol/portfolio.ts'
import { AUTH_PATHS } from './accounts/auth.ts'
import { PROFILE_PATHS } from './accounts/profile.ts'
import { SESSION_COOKIE_NAME } from './accounts/session.ts'
import { TICKET_PATHS } from './accounts/tickets.ts'
import { CANDLE_AUDIT_PATHS } from './candles/candle-audit.ts'
import { CANDLE_PATHS } from './candles/candles.ts'
import { PRODUCT_PATHS } from './candles/products.ts'
import { HEALTH_PATHS } from './health.ts'
import type { AppEnv } from './http/context.ts'
import { jsonResponse, operation } from './http/operation.ts'
import { ACTIVITY_PATHS } from './portfolio/activities.ts'
import { EXPORT_PATHS } from './portfolio/export.ts'
import { IMPORT_PATHS } from './portfolio/import/import.ts'
import { ENRICHED_PORTFOLIO_PATHS } from './portfolio/live-portfolio.ts'
import { LOT_PATHS } from './portfolio/lots.ts'
import { REFRESH_PORTFOLIO_PATHS } from './portfolio/refresh-portfolio.ts'
import { PORTFOLIO_SOCKET_PATHS } from './portfolio/socket.ts'
import { PORTFOLIO_HISTORY_PATHS } from './portfolio/value-history.ts'
import { ASSET_PATHS } from './quotes/assets.ts'
import { PRICE_HISTORY_PATHS } from './quotes/price-history.ts'
import { PRICE_PATHS } from './quotes/prices.ts'
import { REFRESH_PRICES_PATHS } from './quotes/refresh-prices.ts'
import { SOCKET_PATHS } from './streams/sockets.ts'
import { STREAM_PATHS } from './streams/streams.ts'

const PATHS: ZodOpenApiPathsObject = {
  ...PRICE_PATHS,
  ...PRICE_HISTORY_PATHS,
  ...REFRESH_PRICES_PATHS,
  ...ASSET_PATHS,
  ...PRODUCT_PATHS,
  ...CANDLE_PATHS,
  ...CANDLE_AUDIT_PATHS,
  ...STREAM_PATHS,
  ...SOCKET_PATHS,
  ...AUTH_PATHS,
  ...PROFILE_PATHS,
  ...TICKET_PATHS,
  ...ENRICHED_PORTFOLIO_PATHS,
  ...REFRESH_PORTFOLIO_PATHS,
  ...PORTFOLIO_SOCKET_PATHS,
  ...PORTFOLIO_HISTORY_PATHS,
  ...LOT_PATHS,
  ...ACTIVITY_PATHS,
  ...IMPORT_PATHS,
  ...EXPORT_PATHS,
  ...HEALTH_PATHS,
  '/openapi.json': {
    get: operation(
      { operationId: 'getOpenApi', summary: 'This document', tags: ['Operation'] },
      jsonResponse('OpenAPI 3.1', z.looseObject({ openapi: z.string() })),
      [],
    ),
  },
}

/** An OpenAPI document. */
export type OpenApiDocument = ReturnType<typeof createDocument>

const documents = new Map<string, OpenApiDocument>()

/** The OpenAPI 3.1 document of every endpoint (D6), generated once from the schemas that parse the requests. */
export function getOpenApiDocument(version: string): OpenApiDocument {
  const generated = documents.get(version)
  if (generated) return generated
  const document = createDocument(
    {
      openapi: '3.1.0',
      info: {
        title: 'Kerb',
        version,
        description:
          'Live candles, quotes, price history and portfolios. Numbers have the digits of their provider: a client that needs all of them must not parse them as floats. Clients must ignore unknown fields. Errors are problem details with a `code` of a closed set.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: [{ url: '/' }],
      security: [],
      tags: [
        { name: 'Prices', description: 'Stocks, funds, indices, currencies and crypto' },
        { name: 'Assets', description: 'Anything with a price' },
        { name: 'Candles', description: 'Trading pairs, with candles built from trades' },
        { name: 'Live', description: 'WebSockets and event streams' },
        { name: 'Accounts', description: 'Sign-up, sign-in and profiles' },
        { name: 'Portfolio', description: 'A user’s holdings and what they are worth' },
        { name: 'Operation', description: 'For operators of a Kerb' },
      ],
      paths: PATHS,
      components: {
        securitySchemes: {
          serviceKey: { type: 'http', scheme: 'bearer', description: 'The service key' },
          user: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'An access token of a user' },
          session: {
            type: 'apiKey',
            in: 'cookie',
            name: SESSION_COOKIE_NAME,
            description: 'The cookie that sign-in sets; only pages of this Kerb may write with it',
          },
        },
        schemas: {
          SocketRequest: clientMessageSchema.meta({
            unusedIO: 'input',
            description: 'A message from a client on a WebSocket',
          }),
          SocketMessage: serverMessageSchema.meta({ description: 'A message to a client on a WebSocket' }),
          PortfolioMessage: portfolioMessageSchema.meta({ description: 'A message to a client about its portfolio' }),
        },
      },
    },
    {
      override: ({ jsonSchema }) => {
        // Clients ignore unknown fields: a schema that forbids them would break with the next new field.
        if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties
        // The bounds of JavaScript's integers mean nothing to a reader.
        if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
        if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
      },
    },
  )
  documents.set(version, document)
  return document
}

/** `GET /openapi.json`. */
export const openApiRoutes = new Hono<AppEnv>().get('/openapi.json', (c) =>
  c.json(getOpenApiDocument(readSettings(c.env).VERSION), 200, { 'cache-control': 'public, max-age=300' }),
)
