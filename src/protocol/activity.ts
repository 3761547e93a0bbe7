import { z } from 'zod'
import { ACTIVITY_KINDS, decimalSchema, lotSchema } from './portfolio.ts'

const amount = decimalSchema.nullable()

/** So many new shares for so many old ones. */
const splitSchema = z.object({ numerator: decimalSchema, denominator: decimalSchema })

/** A part of a lot that a sale names; `quantity` in the shares of the day of the sale. */
const namedLotSchema = z.object({ lot_id: z.uuid(), quantity: decimalSchema })

/**
 * An activity that was entered or imported. `quantity` and `price` are as traded, before later splits; an activity without
 * an asset has neither `asset_id` nor `symbol`.
 */
export const activitySchema = z.object({
  id: z.uuid(),
  kind: z.enum(ACTIVITY_KINDS),
  asset_id: z.int().nullable(),
  symbol: z.string().nullable(),
  name: z.string().nullable(),
  quantity: decimalSchema,
  price: decimalSchema,
  fees: decimalSchema,
  currency: z.string(),
  traded_at: z.string(),
  split: splitSchema.nullable(),
  lots: z.array(namedLotSchema).nullable(),
  note: z.string().nullable(),
  short: z.boolean().meta({ description: 'Whether it may open a short lot: an import’s may' }),
  version: z.int(),
  created_at: z.string(),
  updated_at: z.string(),
})
export type ActivityView = z.infer<typeof activitySchema>

const gain = {
  cost: amount.meta({ description: 'At the rate of the day of the purchase' }),
  proceeds: amount.meta({ description: 'Less fees, at the rate of the day of the sale' }),
  realised_gain: amount,
}

/**
 * The lots that a sale takes and the gain that it realises: in the currency of the sale, and under `portfolio` in the
 * portfolio's. Null where a rate is missing (P3). Lots are in the order in which they were taken.
 */
export const saleSchema = z.object({
  activity_id: z.uuid().nullable().meta({ description: 'null: it was asked for only, with dry_run=true' }),
  asset_id: z.int(),
  symbol: z.string(),
  quantity: decimalSchema,
  price: decimalSchema,
  fees: decimalSchema,
  currency: z.string(),
  traded_at: z.string(),
  ...gain,
  portfolio: z.object({ currency: z.string(), ...gain }),
  lots: z.array(
    z.object({
      lot_id: z.uuid(),
      traded_at: z.string(),
      quantity: decimalSchema.meta({ description: 'In the shares of the day of the sale' }),
      lot_cost: decimalSchema.meta({ description: 'What was paid for this part with its fees, in lot_currency' }),
      lot_currency: z.string(),
      ...gain,
      portfolio: z.object(gain),
    }),
  ),
})
export type Sale = z.infer<typeof saleSchema>

const next_cursor = z.string().nullable().meta({ description: 'Asks for the next page; null: this is the last' })

export const lotPageSchema = z.object({ stocks: z.array(lotSchema), next_cursor })
export type LotPage = z.infer<typeof lotPageSchema>

export const activityPageSchema = z.object({ activities: z.array(activitySchema), next_cursor })
export type ActivityPage = z.infer<typeof activityPageSchema>
