import { z } from 'zod'
import { decimalSchema, positionSchema } from './portfolio.ts'

/** Longest name of a person, in UTF-16 units. */
export const MAX_NAME_CHARS = 100
/** The longest refresh interval of a user, seconds: a day. */
export const MAX_REFRESH_INTERVAL_S = 86_400

/** A user's own profile. Times are RFC 3339. */
export const profileSchema = z.object({
  user_id: z.uuid(),
  name: z.string(),
  email: z.string(),
  currency: z.string().meta({ description: 'The currency of the totals', example: 'USD' }),
  refresh_interval_seconds: z
    .int()
    .nullable()
    .meta({ description: 'How old a price may become, within the bounds of this Kerb; null is its own default' }),
  created_at: z.string(),
  updated_at: z.string(),
  portfolio: z
    .array(
      positionSchema.pick({ asset_id: true, symbol: true, name: true, quantity: true, lots: true, invested: true }),
    )
    .meta({ description: 'What is held; invested is in your currency' }),
  total_investment: decimalSchema.meta({ description: 'What is invested in all of it, as far as rates are known' }),
})

/** The profile with a summary of the portfolio, as REST returns it. */
export type ProfileWithPortfolio = z.output<typeof profileSchema>
export type Profile = Omit<ProfileWithPortfolio, 'portfolio' | 'total_investment'>
