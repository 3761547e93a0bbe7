import type { Context } from 'hono'
import { readForm } from '../../api/http/body.ts'
import type { AppEnv } from '../../api/http/context.ts'
import { CodedError, ERROR_CODES, type ErrorCode, type FieldError } from '../../protocol/errors.ts'
import { FORM_PROBLEMS, type FormFields, type FormState, toSentence } from './form.ts'
import type { Page } from './layout.ts'
import { renderPage } from './respond.ts'

/** Codes whose messages are about what the user typed. */
const SHOWN_DETAILS: ReadonlySet<ErrorCode> = new Set(['invalid_request', 'insufficient_quantity', 'message_too_large'])

const SECRET_FIELDS = new Set(['password', 'current_password', 'token'])

/**
 * Submits a form. If the input is at fault, responds with the form again: with what the user typed, and what is wrong.
 * @param page the page of the form
 * @throws CodedError if the error is not about the form
 */
export async function handleForm(
  c: Context<AppEnv>,
  page: (form: FormState, fields: FormFields) => Page | Promise<Page>,
  submit: (fields: FormFields) => Promise<Response>,
): Promise<Response> {
  const fields = await readForm(c)
  try {
    return await submit(fields)
  } catch (error) {
    const { form, status } = formWithErrors(error, fields)
    if (error instanceof CodedError && error.retryAfter !== undefined) c.header('retry-after', String(error.retryAfter))
    return renderPage(c, await page(form, fields), status)
  }
}

/** The form after an error, and the status of the response. @throws the error if it is not about the form */
export function formWithErrors(error: unknown, fields: FormFields) {
  if (!(error instanceof CodedError)) throw error
  const { code, message } = error
  const errors = error.errors.length > 0 ? error.errors.map(toFormError) : symbolErrors(error)
  const text = FORM_PROBLEMS[code] ?? (SHOWN_DETAILS.has(code) ? toSentence(message) : undefined)
  if (errors.length === 0 && text === undefined) throw error
  const hidden = (name: string) => SECRET_FIELDS.has(name) || (code === 'idempotency_conflict' && name === 'key')
  const values = Object.fromEntries(Object.entries(fields).filter(([name]) => !hidden(name)))
  // Errors of fields that the form does not have would not be shown beside one.
  const isUnseen = errors.every(({ field }) => !(field in fields))
  const unseen = isUnseen ? errors.map(({ message }) => toSentence(message)).join(' ') : null
  const problem = errors.length > 0 ? unseen : (text ?? null)
  return { form: { values, errors, problem } satisfies FormState, status: ERROR_CODES[code].status }
}

/** Messages of the API in the words of a form. */
const FORM_MESSAGES: readonly (readonly [RegExp, string])[] = [
  [/^is required.*/, 'required'],
  [/^must have at least/, 'use at least'],
  [/^must be a decimal in quotes.*/, 'enter a number such as 12.5'],
  [/^must be an ISO 4217 currency.*/, 'enter a valid currency code, such as USD'],
]

/** In a form, the parts of an object are separate fields. */
const toFormError = ({ field, message }: FieldError): FieldError => ({
  field: field.replaceAll(/[/.]/g, '_'),
  message: FORM_MESSAGES.reduce((text, [pattern, words]) => text.replace(pattern, words), message),
})

function symbolErrors({ code, message, candidates = [] }: CodedError): FieldError[] {
  if (code === 'unknown_symbol') return [{ field: 'symbol', message }]
  if (code !== 'ambiguous_symbol') return []
  const names = candidates.map(({ name_for_it, name, currency }) => `${name_for_it} (${name}, ${currency})`)
  return [{ field: 'symbol', message: `Which one? ${names.join(', ')}` }]
}
