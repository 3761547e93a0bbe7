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

/** The form with a message about its token, which has no visible field. */
const withTokenProblem = (form: FormState): FormState =>
  form.errors.some(({ field }) => field === 'token') ? { ...form, problem: FORM_PROBLEMS.token_expired ?? null } : form

/** The sign-up page. */
export function signUpPage(form: FormState, fields: FormFields): Page {
  const next = safeNext(fields.next)
  return accountPage(
    'Sign up',
    html`${problemNote(form)}
<form action="/sign-up" method="post">
${nextField(next)}
${field(form, NAME)}
${field(form, EMAIL)}
${field(form, NEW_PASSWORD)}
<button class="button" type="submit">Sign up</button>
</form>
<p class="other">Already have an account? <a href="/sign-in${nextQuery(next)}">Sign in</a></p>`,
  )
}

/** The sign-in page. */
export function signInPage(form: FormState, { next: wanted, done = '' }: FormFields): Page {
  const next = safeNext(wanted)
  return accountPage(
    'Sign in',
    html`${successNote(SIGN_IN_NOTES[done])}${problemNote(form)}
<form action="/sign-in" method="post">
${nextField(next)}
${field(form, EMAIL)}
${field(form, { ...PASSWORD, autocomplete: 'current-password' })}
<button class="button" type="submit">Sign in</button>
</form>
<p class="other"><a href="/forgot-password">Forgot your password?</a></p>
<p class="other">New here? <a href="/sign-up${nextQuery(next)}">Sign up</a></p>`,
  )
}

/** The page that the mail to a new address links to. It has a button, since programs that check mail open links. */
export const confirmPage = (form: FormState, { token = '' }: FormFields): Page =>
  accountPage(
    'Confirm your email',
    html`${problemNote(withTokenProblem(form))}
<form action="/confirm-email" method="post">
<input type="hidden" name="token" value="${token}">
<p>Confirm your email to finish signing up.</p>
<button class="button" type="submit">Confirm</button>
</form>
<p class="other">Didn't sign up? Close this page.</p>`,
  )

const FORGOT_TITLE = 'Forgot your password?'
const backToSignIn: Html = html`<p class="other"><a href="/sign-in">Back to sign in</a></p>`

/** The page to request a link for a new password. */
export const forgotPage = (form: FormState): Page =>
  accountPage(
    FORGOT_TITLE,
    html`${problemNote(form)}
<form action="/forgot-password" method="post">
${field(form, { ...EMAIL, hint: "We'll email you a reset link." })}
<button class="button" type="submit">Send link</button>
</form>
${backToSignIn}`,
  )

/** The page after that request. It does not reveal whether the account exists. */
export const resetLinkSentPage: Page = accountPage(
  FORGOT_TITLE,
  html`${successNote('If there is an account with this email, we sent it a reset link.')}
<p>The link expires in one hour.</p>
${backToSignIn}`,
)

/** The page that the mail links to. */
export const resetPage = (form: FormState, { token = '' }: FormFields): Page =>
  accountPage(
    'Set a new password',
    html`${problemNote(withTokenProblem(form))}
<form action="/reset-password" method="post">
<input type="hidden" name="token" value="${token}">
${field(form, { ...NEW_PASSWORD, label: 'New password' })}
<button class="button" type="submit">Save password</button>
</form>
<p class="other"><a href="/forgot-password">Request a new link</a></p>`,
  )
