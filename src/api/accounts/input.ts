import { z } from 'zod'
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from '../../auth/password-rule.ts'
import { MAX_NAME_CHARS, MAX_REFRESH_INTERVAL_S } from '../../protocol/profile.ts'
import { isCurrency } from '../http/input.ts'

/** Longest deliverable email address (RFC 5321). */
const MAX_EMAIL = 254

const email = z
  .string('is required')
  .trim()
  .toLowerCase()
  .pipe(z.email('must be an email address').max(MAX_EMAIL, `must have at most ${MAX_EMAIL} characters`))
  .meta({ example: 'ada@example.com' })

const password = (min: number, message: string) =>
  z
    .string('is required')
    .min(min, message)
    .max(MAX_PASSWORD_LENGTH, `must have at most ${MAX_PASSWORD_LENGTH} characters`)
const newPassword = password(MIN_PASSWORD_LENGTH, `must have at least ${MIN_PASSWORD_LENGTH} characters`)
/** A longer password cannot be right, so refusing it reveals nothing about an account. */
const oldPassword = password(1, 'is required')

const personName = z
  .string('is required')
  .trim()
  .min(1, 'is required')
  .max(MAX_NAME_CHARS, `must have at most ${MAX_NAME_CHARS} characters`)
  .regex(/^\P{Cc}*$/u, 'must be a single line of text')

export const signUpSchema = z.object({ email, password: newPassword, name: personName })
export const signInSchema = z.object({ email, password: oldPassword })
export const passwordChangeSchema = z.object({ current_password: oldPassword, password: newPassword })
export const resetRequestSchema = z.object({ email })
const mailToken = z.string('is required').min(1, 'is required').max(1_024, 'is not a valid token')
export const confirmSchema = z.object({ token: mailToken })
export const resetSchema = z.object({ token: mailToken, password: newPassword })

const currency = z
  .string()
  .trim()
  .toUpperCase()
  .refine(isCurrency, 'must be an ISO 4217 currency such as USD')
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
      .meta({ description: 'null: the default of this Kerb' }),
  },
  {
    error: (issue) =>
      issue.code === 'unrecognized_keys' ? 'has fields that are unknown or cannot be changed' : undefined,
  },
)
