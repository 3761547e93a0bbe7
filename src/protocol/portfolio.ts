import { z } from 'zod'
import { MARKET_STATES, STALE_REASONS } from './quote.ts'

/** The kinds of activities that are entered or imported. */
export const ACTIVITY_KINDS = [
  'buy',
  'sell',
  'dividend',
  'fee',
  'interest',
  'tax',
  'split',
  'transfer_in',
  'transfer_out',
] as const
export type ActivityKind = (typeof ACTIVITY_KINDS)[number]

/** Why the value of a position is not current: its quote is stale, or there is no price, or no rate to the portfolio's currency. */
const POSITION_STALE_REASONS = [...STALE_REASONS, 'unpriced', 'no_rate'] as const
export type PositionStaleReason = (typeof POSITION_STALE_REASONS)[number]

/**
 * A plain decimal as text: an amount never passes through a float (D7, P1). Entered amounts have at most 30 digits before the
 * point and 18 after it; products and percentages of them have more.
 */
export const decimalSchema = z
  .string()
  .regex(/^-?\d{1,100}(\.\d{1,80})?$/)
  .meta({ example: '12.5' })
const amount = decimalSchema.nullable()

/**
 * The open part of a purchase. `price`, `fees` and `cost` (= open quantity × price + fees) are in `currency`;
 * `invested` is that cost, at the rate of its day, in the portfolio's currency, as are the figures after it. Percentages
 * have four decimals; unknown figures are null (P3).
 */
export const lotSchema = z.object({
  id: z.uuid(),
  asset_id: z.int(),
  symbol: z.string(),
  quantity: decimalSchema,
  opened_quantity: decimalSchema,
  price: decimalSchema,
  fees: decimalSchema,
  currency: z.string(),
  traded_at: z.string(),
  cost: decimalSchema,
  note: z.string().nullable(),
  version: z.int(),
  invested: amount,
  present_value: amount,
  gain_loss: amount,
  gain_loss_percent: amount,
  day_change: amount,
})
export type LotView = z.infer<typeof lotSchema>

/**
 * All of one asset. `cmp` (the current market price) is in `cmp_currency`; every other amount in `currency`, the
 * portfolio's, so that positions sum to the totals (P2). A closed position stays, with `quantity` 0, for the gain that it
 * realised. `asset_id` 0 (`symbol` and `name` empty) has the activities without an asset: fees, interest, taxes.
 */
export const positionSchema = z.object({
  asset_id: z.int(),
  symbol: z.string(),
  name: z.string(),
  type: z.string(),
  quantity: decimalSchema,
  lots: z.int().meta({ description: 'How many are open' }),
  currency: z.string(),
  cmp: amount,
  cmp_currency: z.string(),
  rate: amount.meta({ description: 'What one of cmp_currency is in currency' }),
  average_cost: amount.meta({ description: 'invested by quantity' }),
  invested: amount,
  present_value: amount,
  gain_loss: amount,
  gain_loss_percent: amount,
  day_change: amount,
  day_change_percent: amount,
  realised_gain: amount,
  income: amount.meta({ description: 'Dividends and interest' }),
  expenses: amount.meta({ description: 'Fees and taxes of their own' }),
  pe_ratio: amount,
  pe_as_of: z.string().nullable(),
  market_state: z.enum(MARKET_STATES).nullable(),
  as_of: z.string().nullable().meta({ description: 'The market’s own time of the price' }),
  updated_at: z.string().nullable().meta({ description: 'When the provider sent it' }),
  stale: z.enum(POSITION_STALE_REASONS).nullable(),
})
export type Position = z.infer<typeof positionSchema>

/**
 * Sums of the known figures of all positions. `incomplete` when a price or a rate is missing for an open position, or a
 * rate for realised gains, income or expenses: `missing` has the symbols (P3).
 */
const totalsSchema = z.object({
  currency: z.string(),
  version: z.int().meta({ description: 'Rises with every change of what is held' }),
  positions: z.int().meta({ description: 'How many are open' }),
  invested: decimalSchema,
  present_value: decimalSchema,
  gain_loss: decimalSchema,
  gain_loss_percent: amount,
  day_change: decimalSchema,
  day_change_percent: amount,
  realised_gain: decimalSchema,
  income: decimalSchema,
  expenses: decimalSchema,
  incomplete: z.boolean(),
  missing: z.array(z.string()),
})
export type Totals = z.infer<typeof totalsSchema>

/** The price in a `price_update`; amounts are decimal text. */
export const portfolioPriceSchema = z.object({
  asset_id: z.int(),
  symbol: z.string(),
  price: decimalSchema,
  currency: z.string(),
  previous_close: amount,
  change24h: amount,
  eps: amount,
  pe_ratio: amount,
  pe_as_of: z.string().nullable(),
  market_state: z.enum(MARKET_STATES).nullable(),
  as_of: z.string(),
  updated_at: z.string(),
  stale: z.enum(STALE_REASONS).nullable(),
})
export type PortfolioPrice = z.infer<typeof portfolioPriceSchema>

/** `GET /api/v1/stocks/portfolio-enriched` and `portfolio-cache`. */
export const enrichedPortfolioSchema = z.object({
  portfolio: totalsSchema,
  positions: z.array(positionSchema),
  refreshed_at: z.string(),
  age_seconds: z.number(),
})
export type EnrichedPortfolio = z.infer<typeof enrichedPortfolioSchema>

/**
 * The messages of `/ws/portfolio`, beside those that all sockets send. A snapshot of `portfolio` has `portfolio` and `positions`; one
 * of `asset.X` has `prices`, `positions` (none where it is not held) and `lots`, the newest MAX_SNAPSHOT_LOTS open ones.
 * Updates carry the changed keys, with the `asset_id` or `id`; of several frames for one change only the last has the new
 * `position`.
 */
export const portfolioMessageSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('snapshot'),
    position: z.string(),
    channel: z.string(),
    portfolio: totalsSchema.optional(),
    positions: z.array(positionSchema),
    prices: z.array(portfolioPriceSchema).optional(),
    lots: z.array(lotSchema).optional(),
  }),
  z.object({ type: z.literal('price_update'), position: z.string(), prices: z.array(portfolioPriceSchema) }),
  z.object({
    type: z.literal('position_update'),
    position: z.string(),
    positions: z.array(positionSchema.partial().required({ asset_id: true })),
    removed: z.array(z.int()),
    portfolio: totalsSchema.partial(),
  }),
  z.object({
    type: z.literal('lot_update'),
    position: z.string(),
    lots: z.array(lotSchema),
    removed: z.array(z.uuid()),
  }),
])
export type PortfolioMessage = z.infer<typeof portfolioMessageSchema>

/** Most open lots in the snapshot of one asset; REST has the rest. */
export const MAX_SNAPSHOT_LOTS = 500
