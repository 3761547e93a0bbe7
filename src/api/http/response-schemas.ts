import { z } from 'zod'
import { assetSchema, candidateSchema } from '../../protocol/asset.ts'
import { wireCandleSchema } from '../../protocol/candle.ts'
import { ERROR_CODES, type ErrorCode } from '../../protocol/errors.ts'
import { GRANULARITIES } from '../../protocol/granularity.ts'
import { HISTORY_INTERVALS, HISTORY_RANGES, PRICE_BASES, wirePriceBarSchema } from '../../protocol/price-history.ts'
import { productSchema } from '../../protocol/product.ts'
import { wireQuoteSchema } from '../../protocol/quote.ts'

/** Every code, for schemas. */
const CODES = Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]

const candidate = candidateSchema.meta({ id: 'Candidate', description: 'One of several assets that a name may mean' })

export const problemSchema = z
  .object({
    type: z.string().meta({ example: 'urn:kerb:problem:unknown_symbol' }),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.enum(CODES).meta({ description: 'A closed set' }),
    request_id: z.string(),
    errors: z
      .array(
        z.object({
          field: z.string(),
          message: z.string(),
          row: z.int().optional().meta({ description: 'Of a file, as in the answer to its import' }),
        }),
      )
      .optional(),
    candidates: z.array(candidate).optional().meta({ description: 'With ambiguous_symbol: what the symbol may mean' }),
  })
  .meta({ id: 'Problem', description: 'Problem details (RFC 9457)' })

const gaps = z
  .array(z.tuple([z.int(), z.int()]))
  .meta({ description: 'Stretches in which trades are missing: unix seconds, the end exclusive' })

export const candleSchema = wireCandleSchema.meta({
  id: 'Candle',
  description: 'A candle; its numbers have the exchange’s own digits',
})
export const candlesResponseSchema = z.object({ candles: z.array(candleSchema), gaps })

export const productResponseSchema = productSchema.meta({
  id: 'Product',
  description: 'A trading pair, amounts as decimal text',
})
export const productsResponseSchema = z.object({ products: z.array(productResponseSchema) })

export const auditResponseSchema = z.object({
  audits: z.array(
    z
      .object({
        exchange: z.string(),
        product_id: z.string(),
        day: z.string(),
        granularity: z.enum(GRANULARITIES),
        status: z.enum(['pending', 'compared', 'done']),
        compared: z.int().nullable(),
        equal: z.int().nullable(),
        repaired: z.int().nullable(),
        missing_here: z.int().nullable(),
        missing_there: z.int().nullable(),
        attempts: z.int(),
        attempted_at: z.string(),
        done_at: z.string().nullable(),
        error: z.string().nullable(),
        match_rate: z.string().nullable().meta({ description: 'Per cent of the candles compared, decimal text' }),
      })
      .meta({ id: 'Audit', description: 'One finished day of a product against the exchange’s own candles' }),
  ),
})

export const healthResponseSchema = z.object({
  status: z.enum(['ok', 'degraded']),
  version: z.string(),
  exchange: z.string(),
  feed: z
    .object({ open: z.int(), live: z.int(), states: z.record(z.string(), z.int()) })
    .nullable()
    .meta({ description: 'Open feeds and their states; null while that cannot be asked' }),
  database: z.object({ ok: z.boolean(), ms: z.number() }),
  jobs_overdue: z.array(z.string()).meta({ description: 'Jobs of cron that should have run and did not' }),
  providers_down: z
    .array(z.string())
    .meta({ description: 'Providers of quotes that have failed too often to be asked' }),
  products: z
    .array(z.looseObject({ product_id: z.string() }))
    .optional()
    .meta({ description: 'With verbose: what each product with an open feed counts' }),
  jobs: z
    .array(z.looseObject({ job: z.string() }))
    .optional()
    .meta({ description: 'With verbose: the last run of each job' }),
  boards: z
    .array(z.looseObject({ since: z.int() }))
    .optional()
    .meta({ description: 'With verbose: what each board of quotes counts' }),
  providers: z
    .array(z.looseObject({ provider: z.string() }))
    .optional()
    .meta({ description: 'With verbose: how each provider of quotes stands' }),
  portfolio_outbox: z.object({ rows: z.int(), since: z.string().nullable() }).nullable().optional().meta({
    description: 'With verbose: changes that the portfolios of users have yet to be told of; null: not known',
  }),
})

export const quoteSchema = wireQuoteSchema.meta({
  id: 'Quote',
  description:
    'A price with its layer, provider and age; amounts have the provider’s own digits. `stale` says why it is old',
})

/** One symbol of many that has no price. */
const quoteErrorSchema = z
  .object({
    symbol: z.string().meta({ description: 'As it was asked for' }),
    error: z.object({
      code: z.enum(CODES),
      message: z.string(),
      candidates: z.array(candidate).optional(),
    }),
  })
  .meta({ id: 'NoQuote', description: 'Why one symbol of many has no price' })

export const batchPricesResponseSchema = z.object({
  prices: z
    .array(z.union([quoteSchema, quoteErrorSchema]))
    .meta({ description: 'One for each symbol, in their order, under the name that was asked for' }),
  cached: z.int().meta({ description: 'Prices from the cache or the database' }),
  fetched: z.int().meta({ description: 'Prices that a provider was asked for' }),
  total: z.int().meta({ description: 'All symbols, those without a price as well' }),
})

const bar = wirePriceBarSchema.meta({
  id: 'Bar',
  description: 'A bar of price history; `date` is RFC 3339 within a day',
})

export const priceHistoryResponseSchema = z.object({
  symbol: z.string(),
  range: z.enum(HISTORY_RANGES),
  interval: z.enum(HISTORY_INTERVALS),
  basis: z.enum(PRICE_BASES),
  currency: z.string(),
  data: z.array(bar),
  count: z.int(),
  provider: z.string().nullable(),
  actions_version: z.string().meta({ description: 'Stands for the splits and dividends that were applied' }),
  gaps,
})

export const assetResponseSchema = assetSchema.meta({ id: 'Asset', description: 'What has a price' })
export const assetsResponseSchema = z.object({
  assets: z.array(assetResponseSchema),
  next: z.string().nullable().meta({ description: 'As `after`, asks for the next page; null: this is the last' }),
})

export const refreshResponseSchema = z.object({
  refreshed: z.int(),
  failed: z.int(),
  waiting: z.int().meta({ description: 'The providers’ budgets do not allow these yet' }),
})
