import { html } from 'hono/html'
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from '../../auth/password-rule.ts'
import { MAX_NAME_CHARS } from '../../protocol/profile.ts'
import { FORM_PROBLEMS, type FormFields, type FormState, field, problemNote, successNote } from '../site/form.ts'
import type { Html, Page } from '../site/layout.ts'
import { safeNext } from '../site/next.ts'

export const NAME = { name: 'name', label: 'Name', autocomplete: 'name', maxLength: MAX_NAME_CHARS } as const
const EMAIL = { name: 'email', label: 'Email', type: 'email', autocomplete: 'username', maxLength: 254 } as const
const PASSWORD = { name: 'password', label: 'Password', type: 'password', maxLength: MAX_PASSWORD_LENGTH } as const
const NEW_PASSWORD = {
  ...PASSWORD,
  autocomplete: 'new-password',
  hint: `Use at least ${MIN_PASSWORD_LENGTH} characters. A short phrase works well.`,
  minLength: MIN_PASSWORD_LENGTH,
} as const

/** Messages on the sign-in page, by the `done` of its address. */
const SIGN_IN_NOTES: Partial<Record<string, string>> = {
  'signed-up': 'Account created. Sign in to continue.',
  mailed: 'Account created. We emailed you a link: open it to confirm your email, then sign in.',
  confirmed: 'Email confirmed. Sign in to continue.',
  reset: 'Password saved. Sign in with your new password.',
}

const accountPage = (title: string, content: Html): Page => ({
  title,
  content: html`<div class="card account"><h1>${title}</h1>${content}</div>`,
})

/** The page to open after signing in, which each page passes to the next. */
const nextField = (next: string | null): Html | '' =>
  next === null ? '' : html`<input type="hidden" name="next" value="${next}">`
const nextQuery = (next: string | null): string => (next === null ? '' : `?next=${encodeURIComponent(next)}`)

const tokenField = (token: string): Html => html`<input type="hidden" name="token" value="${token}">`

/** The form with a message about its token, which has no visible field. */
const withTokenProblem = (form: FormState): FormState =>
  form.errors.some(({ field }) => field === 'token') ? { ...form, problem: FORM_PROBLEMS.token_expired ?? null } : form

/** A page with one form: `note` stands above it, `more` below. */
const formPage = (
  title: string,
  form: FormState,
  action: string,
  fields: Html,
  submit: string,
  more: Html,
  note: Html | '' = '',
): Page =>
  accountPage(
    title,
    html`${note}${problemNote(form)}
<form action="${action}" method="post">
${fields}
<button class="button" type="submit">${submit}</button>
</form>
${more}`,
  )

/** The sign-up page. */
export function signUpPage(form: FormState, fields: FormFields): Page {
  const next = safeNext(fields.next)
  const inputs = html`${nextField(next)}${field(form, NAME)}${field(form, EMAIL)}${field(form, NEW_PASSWORD)}`
  const more = html`<p class="other">Already have an account? <a href="/sign-in${nextQuery(next)}">Sign in</a></p>`
  return formPage('Sign up', form, '/sign-up', inputs, 'Sign up', more)
}

/** The sign-in page. */
export function signInPage(form: FormState, { next: wanted, done = '' }: FormFields): Page {
  const next = safeNext(wanted)
  const password = { ...PASSWORD, autocomplete: 'current-password' } as const
  const inputs = html`${nextField(next)}${field(form, EMAIL)}${field(form, password)}`
  const more = html`<p class="other"><a href="/forgot-password">Forgot your password?</a></p>
<p class="other">New here? <a href="/sign-up${nextQuery(next)}">Sign up</a></p>`
  return formPage('Sign in', form, '/sign-in', inputs, 'Sign in', more, successNote(SIGN_IN_NOTES[done]))
}

/** The page that the mail to a new address links to. It has a button, since programs that check mail open links. */
export function confirmPage(form: FormState, { token = '' }: FormFields): Page {
  const inputs = html`${tokenField(token)}<p>Confirm your email to finish signing up.</p>`
  const more = html`<p class="other">Didn't sign up? Close this page.</p>`
  return formPage('Confirm your email', withTokenProblem(form), '/confirm-email', inputs, 'Confirm', more)
}

const FORGOT_TITLE = 'Forgot your password?'
const backToSignIn: Html = html`<p class="other"><a href="/sign-in">Back to sign in</a></p>`

/** The page to request a link for a new password. */
export function forgotPage(form: FormState): Page {
  const input = field(form, { ...EMAIL, hint: "We'll email you a reset link." })
  return formPage(FORGOT_TITLE, form, '/forgot-password', input, 'Send link', backToSignIn)
}

/** The page after that request. It does not reveal whether the account exists. */
export const resetLinkSentPage: Page = accountPage(
  FORGOT_TITLE,
  html`${successNote('If there is an account with this email, we sent it a reset link.')}
<p>The link expires in one hour.</p>
${backToSignIn}`,
)

/** The page that the mail links to. */
export function resetPage(form: FormState, { token = '' }: FormFields): Page {
  const inputs = html`${tokenField(token)}${field(form, { ...NEW_PASSWORD, label: 'New password' })}`
  const more = html`<p class="other"><a href="/forgot-password">Request a new link</a></p>`
  return formPage('Set a new password', withTokenProblem(form), '/reset-password', inputs, 'Save password', more)
}
