import type { Context } from 'hono'
import { formBody } from '../api/body.ts'
import type { AppEnv } from '../api/context.ts'
import { CodedError, ERROR_CODES, type ErrorCode, type FieldError } from '../protocol/errors.ts'
import type { FormState } from './form.ts'
import type { Html } from './layout.ts'
import { fresh } from './routes.ts'

/** Details that stand beside a form, in the words of a page. */
export const WORDS: Partial<Record<ErrorCode, string>> = {
  invalid_credentials: 'Email and password do not fit together, or the email is not confirmed yet.',
  token_over: 'This link is over or was used already. Ask for another mail.',
  too_many_requests: 'Too many attempts. Please wait a minute.',
  unavailable: 'This cannot be done at the moment. Please try again in a while.',
  insufficient_quantity: 'That is more than is held at that time.',
  version_conflict:
    'It was changed elsewhere meanwhile. What you typed is still here: save again to write it over that.',
  idempotency_conflict: 'This form was sent already. Look whether it is there; if not, open the page anew.',
}

const SECRET = new Set(['password', 'current_password', 'token'])

/**
 * Does what a form asks; where it cannot be done, shows the form again, with what was typed and what is wrong.
 * What is not for the form is thrown on.
 */
export async function submit(
  c: Context<AppEnv>,
  act: (fields: Record<string, string>) => Promise<Response>,
  again: (form: FormState, fields: Record<string, string>) => Html | Promise<Html>,
): Promise<Response> {
  const fields = await formBody(c)
  try {
    return await act(fields)
  } catch (error) {
    if (!(error instanceof CodedError)) throw error
    const form = formOf(error, fields)
    if (form === null) throw error
    if (error.retryAfter !== undefined) c.header('retry-after', String(error.retryAfter))
    return c.html(await again(form, fields), ERROR_CODES[error.code].status, fresh)
  }
}

/** The form that comes back with an error; null where it is none of a form. */
function formOf(error: CodedError, fields: Record<string, string>): FormState | null {
  const errors = error.errors.length > 0 ? error.errors.map(inWords) : symbolErrors(error)
  const problem = errors.length > 0 ? null : WORDS[error.code]
  if (problem === undefined) return null
  const values = Object.fromEntries(Object.entries(fields).filter(([name]) => !SECRET.has(name)))
  // Faults of what is no field of the form would not be seen.
  const unseen = errors.filter(({ field }) => !(field in fields))
  return { values, errors, problem: problem ?? (unseen.length > 0 ? unseen.map(faultText).join('. ') : null) }
}

const faultText = ({ field, message }: FieldError): string => `${field}: ${message}`

/** A form has no quotes around amounts, and no objects in fields. */
const inWords = ({ field, message }: FieldError): FieldError => ({
  field: field.replaceAll('/', '_').replaceAll('.', '_'),
  message: message.replace('must be a decimal in quotes, such as "12.5",', 'must be a decimal such as 12.5,'),
})

/** What is wrong with a symbol stands beside it, with the names that mean one alone. */
function symbolErrors({ code, candidates = [] }: CodedError): FieldError[] {
  if (code === 'unknown_symbol') return [{ field: 'symbol', message: 'is known here to nobody' }]
  if (code !== 'ambiguous_symbol') return []
  const names = candidates.map(({ name_for_it, name, currency }) => `${name_for_it} (${name}, ${currency})`)
  return [{ field: 'symbol', message: `means several, take one of ${names.join(', ')}` }]
}
