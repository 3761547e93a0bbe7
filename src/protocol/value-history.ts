import { z } from 'zod'
import { decimalSchema } from './portfolio.ts'
import { HISTORY_INTERVALS, HISTORY_RANGES } from './price-history.ts'

/** `GET /api/v1/portfolio/history`: amounts in the portfolio's currency. */
export const valueHistorySchema = z.object({
  range: z.enum(HISTORY_RANGES),
  interval: z.enum(HISTORY_INTERVALS),
  currency: z.string(),
  data: z.array(
    z.object({
      date: z.string().meta({ description: 'A day; of a week or month its first; RFC 3339 within days and for now' }),
      value: decimalSchema,
      net_deposits: decimalSchema.meta({
        description:
          'Put in less taken out, each at the rate of its day: purchases, transfers in, fees and taxes less sales, transfers out, dividends and interest',
      }),
      incomplete: z.boolean().meta({ description: 'A price or a rate of then is missing' }),
    }),
  ),
  count: z.int(),
})
export type ValueHistory = z.infer<typeof valueHistorySchema>
