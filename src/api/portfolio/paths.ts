import { z } from 'zod'
import type { ZodOpenApiPathsObject } from 'zod-openapi'
import { enrichedPortfolioSchema } from '../../protocol/portfolio.ts'
import { jsonResponse, operation } from '../http/operation.ts'
import { refreshPortfolioSchema } from './refresh-portfolio.ts'

const tags = ['Portfolio']
const userSecurity: Record<string, string[]>[] = [{ user: [] }, { session: [] }]

const ticketResponseSchema = z.object({
  ticket: z.string().meta({ description: 'Opens one socket: /ws/portfolio?ticket=…' }),
  expires_in: z.number().meta({ description: 'Seconds' }),
})

/** What a socket may be opened with. */
export const ticketParam = z.string().optional().meta({ description: 'Of POST /api/v1/auth/ticket' })

const enrichedResponseSchema = enrichedPortfolioSchema.meta({
  id: 'Enriched',
  description: 'A portfolio as of now: totals, and what is held. Amounts are decimals as text; null is not known',
})

const refreshingSchema = z.object({
  status: z.literal('refreshing'),
  location: z.string().meta({ description: 'Where it will be' }),
  retry_after: z.number().meta({ description: 'Seconds' }),
})

const enrichedResponses = {
  ...jsonResponse('The portfolio; `age_seconds` tells how old the oldest of it is', enrichedResponseSchema),
  202: {
    description: 'It is being made: look again at `Location`, after `Retry-After`',
    headers: z.object({ location: z.string(), 'retry-after': z.string() }),
    content: { 'application/json': { schema: refreshingSchema } },
  },
}

/** The endpoints of portfolios as they move, for the OpenAPI document. */
export const PORTFOLIO_PATHS: ZodOpenApiPathsObject = {
  '/api/v1/auth/ticket': {
    post: operation(
      {
        operationId: 'getTicket',
        summary: 'A ticket that opens one socket, for browsers: they send no header there',
        tags: ['Accounts'],
        security: userSecurity,
      },
      jsonResponse('The ticket', ticketResponseSchema),
      ['unauthorized', 'forbidden', 'unavailable'],
    ),
  },
  '/api/v1/stocks/portfolio-enriched': {
    get: operation(
      {
        operationId: 'getEnrichedPortfolio',
        summary: 'What you hold, with prices, values and gains, each and in total',
        tags,
        security: userSecurity,
      },
      enrichedResponses,
      ['unauthorized', 'unavailable'],
    ),
  },
  '/api/v1/stocks/portfolio-cache': {
    get: operation(
      {
        operationId: 'getCachedPortfolio',
        summary: 'The same, for who was told to look again, or asks at an interval',
        tags,
        security: userSecurity,
      },
      enrichedResponses,
      ['unauthorized', 'unavailable'],
    ),
  },
  '/refresh-portfolio': {
    post: operation(
      {
        operationId: 'refreshPortfolio',
        summary: 'Has a portfolio valued anew: your own; with the service key, anybody’s',
        tags,
        security: [...userSecurity, { serviceKey: [] }],
        requestBody: { required: false, content: { 'application/json': { schema: refreshPortfolioSchema } } },
      },
      {
        202: {
          description: 'Whether a job was queued: false while one is under way',
          content: { 'application/json': { schema: z.object({ queued: z.boolean() }) } },
        },
      },
      ['invalid_request', 'unauthorized', 'forbidden', 'message_too_large', 'unavailable'],
    ),
  },
  '/ws/portfolio': {
    get: operation(
      {
        operationId: 'openPortfolioSocket',
        summary: 'A WebSocket of your own portfolio: channels portfolio, asset.AAPL',
        description:
          'Let in are a bearer token, a ticket, and the cookies of our own pages. A browser’s page has to be ours, or of an allowed origin.',
        tags: ['Live'],
        security: [...userSecurity, {}],
        requestParams: {
          query: z.object({ ticket: ticketParam }),
        },
      },
      {
        101: {
          description: 'The socket is open; the messages are those of the schemas named Socket… and PortfolioMessage',
        },
      },
      ['invalid_request', 'unauthorized', 'forbidden', 'upgrade_required', 'too_many_sockets', 'unavailable'],
    ),
  },
}
