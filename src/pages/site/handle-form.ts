import type { Context } from 'hono'
import { readForm } from '../../api/http/body.ts'
import type { AppEnv } from '../../api/http/context.ts'
import { CodedError, ERROR_CODES, type ErrorCode, type FieldError } from '../../protocol/errors.ts'
import { type FormState, toSentence } from './form.ts'
import type { Html } from './layout.ts'
import { NO_STORE } from './routes.ts'

/** Details that stand beside a form, in the words of a page. */
export const FORM_PROBLEMS: Partial<Record<ErrorCode, string>> = {
  invalid_credentials: 'Email and password do not fit together, or the email is not confirmed yet.',
  token_expired: 'This link is over or was used already. Ask for another mail.',
  too_many_requests: 'Too many attempts. Please wait a minute.',
  unavailable: 'This cannot be done at the moment. Please try again in a while.',
  version_conflict:
    'It was changed elsewhere meanwhile. What you typed is still here: save again to write it over that.',
  idempotency_conflict: 'This form was sent before, with something else in it. Send it again to have this, too.',
}

/** Codes whose detail says what is wrong with what was typed. */
const SHOWN_DETAILS: ReadonlySet<ErrorCode> = new Set(['invalid_request', 'insufficient_quantity', 'message_too_large'])

const SECRET_FIELDS = new Set(['password', 'current_password', 'token'])

/**
 * Does what a form asks; where it cannot be done, shows the form again, with what was typed and what is wrong.
 * What is not for the form is thrown on.
 */
export async function handleForm(
  c: Context<AppEnv>,
  act: (fields: Record<string, string>) => Promise<Response>,
  again: (form: FormState, fields: Record<string, string>) => Html | Promise<Html>,
): Promise<Response> {
  const fields = await readForm(c)
  try {
    return await act(fields)
  } catch (error) {
    if (!(error instanceof CodedError)) throw error
    const form = formWithErrors(error, fields)
    if (form === null) throw error
    if (error.retryAfter !== undefined) c.header('retry-after', String(error.retryAfter))
    return c.html(await again(form, fields), ERROR_CODES[error.code].status, NO_STORE)
  }
}

/** The form that comes back with an error; null where it is none of a form. */
export function formWithErrors(error: CodedError, fields: Record<string, string>): FormState | null {
  const errors = error.errors.length > 0 ? error.errors.map(toFormError) : symbolErrors(error)
  const words = FORM_PROBLEMS[error.code] ?? (SHOWN_DETAILS.has(error.code) ? toSentence(error.message) : undefined)
  const problem = errors.length > 0 ? null : words
  if (problem === undefined) return null
  const left = error.code === 'idempotency_conflict' ? 'key' : null
  const values = Object.fromEntries(
    Object.entries(fields).filter(([name]) => !SECRET_FIELDS.has(name) && name !== left),
  )
  // What is wrong with no field of the form would not be seen beside one.
  const unseen = errors.length > 0 && errors.every(({ field }) => !(field in fields))
  return {
    values,
    errors,
    problem: problem ?? (unseen ? errors.map(({ message }) => toSentence(message)).join(' ') : null),
  }
}

/** A form has no quotes around amounts, and no objects in fields. */
const toFormError = ({ field, message }: FieldError): FieldError => ({
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
