import { html } from 'hono/html'
import type { ErrorCode, FieldError } from '../../protocol/errors.ts'
import type { Html } from './layout.ts'

/** The fields of a form, or the parameters of a page's address. */
export type FormFields = Readonly<Record<string, string>>

/** A form as it is shown: what the user typed, and what is wrong with it. */
export type FormState = {
  values: FormFields
  errors: readonly FieldError[]
  /** What is wrong with the whole form. */
  problem: string | null
}

export const EMPTY_FORM: FormState = { values: {}, errors: [], problem: null }

/** Messages about a whole form. */
export const FORM_PROBLEMS: Partial<Record<ErrorCode, string>> = {
  invalid_credentials: "Wrong email or password, or your email isn't confirmed yet.",
  token_expired: 'This link has expired or was already used. Request a new one.',
  too_many_requests: 'Too many attempts. Please wait a minute.',
  unavailable: 'This is unavailable right now. Please try again later.',
  version_conflict: 'This was changed elsewhere. Save again to overwrite.',
  idempotency_conflict: 'This form was already sent with different values. Send it again to save these too.',
}

export type Field = {
  name: string
  label: string
  /** By default `text`. */
  type?: 'email' | 'password' | 'text' | 'number' | 'datetime-local' | 'file'
  /** By default `off`. */
  autocomplete?: string
  hint?: string
  /** By default true. */
  required?: boolean
  minLength?: number
  maxLength?: number
  /** The id of a `datalist` with suggestions. */
  list?: string
  /** Exact decimals are typed as text: an input of type `number` would change their digits. */
  decimal?: boolean
  /** File types, for a file. */
  accept?: string
}

/** A message about a field or request as a sentence: with a capital and a full stop. */
export const toSentence = (message: string): string =>
  `${message.charAt(0).toUpperCase()}${message.slice(1)}${/[.?!]$/.test(message) ? '' : '.'}`

/** A labelled input with its hint and errors. A password never comes back. */
export function field({ values, errors }: FormState, options: Field): Html {
  const { name, label, type = 'text', autocomplete = 'off', hint, required = true, minLength, maxLength } = options
  const { list, decimal, accept } = options
  const { attributes, messages } = describe(errors, name, hint)
  return html`<div class="field">
  <label for="${name}">${label}${required ? '' : html` <span class="muted">(optional)</span>`}</label>
  <input id="${name}" name="${name}" type="${type}" autocomplete="${autocomplete}"${required ? html` required` : ''}${minLength ? html` minlength="${minLength}"` : ''}${maxLength ? html` maxlength="${maxLength}"` : ''}${type === 'password' || type === 'file' ? '' : html` value="${values[name] ?? ''}"`}${type === 'email' ? html` autocapitalize="none" spellcheck="false"` : ''}${type === 'number' ? html` inputmode="numeric" min="1" max="86400" step="1"` : ''}${type === 'datetime-local' ? html` step="any"` : ''}${decimal ? html` inputmode="decimal"` : ''}${list ? html` list="${list}" autocapitalize="characters" spellcheck="false"` : ''}${accept ? html` accept="${accept}"` : ''}${attributes}>
  ${messages}
</div>`
}

/** A labelled choice of one `[value, text]`. */
export function selectField(
  { values, errors }: FormState,
  { name, label, options }: { name: string; label: string; options: readonly (readonly [string, string])[] },
): Html {
  const { attributes, messages } = describe(errors, name)
  return html`<div class="field">
  <label for="${name}">${label}</label>
  <select id="${name}" name="${name}"${attributes}>${options.map(([value, text]) => html`<option value="${value}"${values[name] === value ? html` selected` : ''}>${text}</option>`)}</select>
  ${messages}
</div>`
}

/** The hint and errors below a field, and the attributes by which screen readers find them. */
function describe(errors: FormState['errors'], name: string, hint?: string) {
  const wrong = errors.filter((error) => error.field === name).map(({ message }) => toSentence(message))
  const described = [hint && `${name}-hint`, wrong.length > 0 && `${name}-error`].filter(Boolean).join(' ')
  return {
    attributes: html`${described === '' ? '' : html` aria-describedby="${described}"`}${wrong.length > 0 ? html` aria-invalid="true"` : ''}`,
    messages: html`${hint ? html`<p class="hint" id="${name}-hint">${hint}</p>` : ''}
  ${wrong.length > 0 ? html`<p class="wrong" id="${name}-error">${wrong.join(' ')}</p>` : ''}`,
  }
}

/** What is wrong with the whole form. Screen readers announce it when the page opens. */
export const problemNote = ({ problem }: FormState): Html | '' =>
  problem === null ? '' : html`<p class="notice bad" role="alert">${problem}</p>`

/** A message after a success. */
export const successNote = (text: string | undefined): Html | '' =>
  text === undefined ? '' : html`<p class="notice good" role="status">${text}</p>`
