import { html } from 'hono/html'
import type { FieldError } from '../../protocol/errors.ts'
import type { Html } from './layout.ts'

/** What a form comes back with when it could not be done: what was typed, and what is wrong with it. */
export type FormState = {
  values: Readonly<Record<string, string>>
  errors: readonly FieldError[]
  /** What is wrong with the whole of it; null: nothing. */
  problem: string | null
}

export const EMPTY_FORM: FormState = { values: {}, errors: [], problem: null }

type Field = {
  name: string
  label: string
  type: 'email' | 'password' | 'text' | 'number' | 'datetime-local' | 'file'
  autocomplete: string
  hint?: string
  required?: boolean
  minLength?: number
  maxLength?: number
  /** An id of its own, where two forms of a page have fields of one name. */
  id?: string
  /** The id of a `datalist` of what may be meant. */
  list?: string
  /** A decimal is typed as text: a field of numbers would change its digits. */
  decimal?: boolean
  /** Of a file: the endings that are taken. */
  accept?: string
}

/** What a rule says of a field, as a sentence beside it. */
export const toSentence = (message: string): string => `${message.charAt(0).toUpperCase()}${message.slice(1)}.`

/** A labelled input with its hint and what is wrong with it. A password is never written back. */
export function field({ values, errors }: FormState, each: Field): Html {
  const { name, label, type, autocomplete, hint, required = true, minLength, maxLength, id = name } = each
  const { list, decimal = false, accept } = each
  const said = fieldMessages(errors, name, id, hint)
  return html`<div class="field">
  <label for="${id}">${label}${required ? '' : html` <span class="muted">(optional)</span>`}</label>
  <input id="${id}" name="${name}" type="${type}" autocomplete="${autocomplete}"${required ? html` required` : ''}${minLength ? html` minlength="${minLength}"` : ''}${maxLength ? html` maxlength="${maxLength}"` : ''}${type === 'password' || type === 'file' ? '' : html` value="${values[name] ?? ''}"`}${type === 'email' ? html` autocapitalize="none" spellcheck="false"` : ''}${type === 'number' ? html` inputmode="numeric" min="1" max="86400" step="1"` : ''}${type === 'datetime-local' ? html` step="any"` : ''}${decimal ? html` inputmode="decimal"` : ''}${list ? html` list="${list}" autocapitalize="characters" spellcheck="false"` : ''}${accept ? html` accept="${accept}"` : ''}${said.attributes}>
  ${said.below}
</div>`
}

/** A labelled choice of one of several, each `[value, text]`; the first where none was chosen yet. */
export function selectField(
  { values, errors }: FormState,
  each: { name: string; label: string; options: readonly (readonly [string, string])[]; hint?: string; id?: string },
): Html {
  const { name, label, options, hint, id = name } = each
  const said = fieldMessages(errors, name, id, hint)
  return html`<div class="field">
  <label for="${id}">${label}</label>
  <select id="${id}" name="${name}"${said.attributes}>${options.map(([value, text]) => html`<option value="${value}"${values[name] === value ? html` selected` : ''}>${text}</option>`)}</select>
  ${said.below}
</div>`
}

/** What stands below a field, and the attributes by which it is read with it. */
function fieldMessages(errors: FormState['errors'], name: string, id: string, hint: string | undefined) {
  const wrong = errors.filter((error) => error.field === name).map(({ message }) => toSentence(message))
  const described = [hint && `${id}-hint`, wrong.length > 0 && `${id}-error`].filter(Boolean).join(' ')
  return {
    attributes: html`${described === '' ? '' : html` aria-describedby="${described}"`}${wrong.length > 0 ? html` aria-invalid="true"` : ''}`,
    below: html`${hint ? html`<p class="hint" id="${id}-hint">${hint}</p>` : ''}
  ${wrong.length > 0 ? html`<p class="wrong" id="${id}-error">${wrong.join(' ')}</p>` : ''}`,
  }
}

/** What is wrong with a whole form, read out when the page comes. */
export const problemNote = ({ problem }: FormState): Html | '' =>
  problem === null ? '' : html`<p class="notice bad" role="alert">${problem}</p>`

/** Something that went well. */
export const successNote = (text: string | null): Html | '' =>
  text === null ? '' : html`<p class="notice good" role="status">${text}</p>`
