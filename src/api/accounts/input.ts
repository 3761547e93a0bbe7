import { z } from 'zod'
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from '../../auth/password-rule.ts'
import { MAX_NAME_CHARS, MAX_REFRESH_INTERVAL_S } from '../../protocol/profile.ts'
import { isCurrency } from '../quotes/currency.ts'

/** Longest email that can be delivered to (RFC 5321). */
const MAX_EMAIL = 254

const email = z
  .string('is required')
  .trim()
  .toLowerCase()
  .pipe(z.email('must be an email address').max(MAX_EMAIL, `has ${MAX_EMAIL} characters at most`))
  .meta({ example: 'ada@example.com' })

const newPassword = z
  .string('is required')
  .min(MIN_PASSWORD_LENGTH, `must have ${MIN_PASSWORD_LENGTH} characters at least`)
  .max(MAX_PASSWORD_LENGTH, `has ${MAX_PASSWORD_LENGTH} characters at most`)

/** One that is longer cannot be right; that it is refused tells nothing of any account. */
const oldPassword = z
  .string('is required')
  .min(1, 'is required')
  .max(MAX_PASSWORD_LENGTH, `has ${MAX_PASSWORD_LENGTH} characters at most`)

const personName = z
  .string('is required')
  .trim()
  .min(1, 'is required')
  .max(MAX_NAME_CHARS, `has ${MAX_NAME_CHARS} characters at most`)
  .regex(/^\P{Cc}*$/u, 'must be text of one line')

export const signUpSchema = z.object({ email, password: newPassword, name: personName })
export const signInSchema = z.object({ email, password: oldPassword })
export const passwordChangeSchema = z.object({ current_password: oldPassword, password: newPassword })
export const resetRequestSchema = z.object({ email })
const mailToken = z.string('is required').min(1, 'is required').max(1_024, 'is no token')
export const confirmSchema = z.object({ token: mailToken })
export const resetSchema = z.object({
  token: mailToken,
  password: newPassword,
})

const currency = z
  .string()
  .trim()
  .toUpperCase()
  .refine(isCurrency, 'must be a currency of ISO 4217, such as USD')
  .meta({ example: 'EUR' })

const INTERVAL_MESSAGE = `must be a whole number of seconds from 1 to ${MAX_REFRESH_INTERVAL_S}`

export const profileChangeSchema = z.strictObject(
  {
    name: personName.optional(),
    currency: currency.optional(),
    refresh_interval_seconds: z
      .int(INTERVAL_MESSAGE)
      .min(1, INTERVAL_MESSAGE)
      .max(MAX_REFRESH_INTERVAL_S, INTERVAL_MESSAGE)
      .nullable()
      .optional()
      .meta({ description: 'null: as often as this Kerb does by itself' }),
  },
  { error: (issue) => (issue.code === 'unrecognized_keys' ? 'has fields that cannot be changed' : undefined) },
)
