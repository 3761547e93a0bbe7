import { Hono } from 'hono'
import { z } from 'zod'
import { createDocument, type ZodOpenApiPathsObject } from 'zod-openapi'
import { readSettings } from '../config.ts'
import { clientMessageSchema, serverMessageSchema } from '../protocol/messages.ts'
import { portfolioMessageSchema } from '../protocol/portfolio.ts'
import { SESSION_COOKIE_NAME } from './accounts/session-cookies.ts'
import { FEATURES } from './features.ts'
import type { AppEnv } from './http/context.ts'
import { type Operations, operation, response } from './http/operation.ts'

const OPEN_API_OPERATIONS: Operations = {
  'get /openapi.json': operation('Operation', 'getOpenApi', {
    summary: 'This document',
    responses: response(200, 'OpenAPI 3.1', z.looseObject({ openapi: z.string() })),
    errors: [],
  }),
}

/** All operations by path, then by method. */
function documentPaths(): ZodOpenApiPathsObject {
  const paths: ZodOpenApiPathsObject = {}
  for (const operations of [...FEATURES.map(([, each]) => each), OPEN_API_OPERATIONS])
    for (const [name, each] of Object.entries(operations)) {
      const [method = '', path = ''] = name.split(' ')
      paths[path] = { ...paths[path], [method]: each }
    }
  return paths
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
      paths: documentPaths(),
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
