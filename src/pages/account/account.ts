import { html } from 'hono/html'
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from '../../auth/password-rule.ts'
import { MAX_NAME_CHARS } from '../../protocol/profile.ts'
import { type FormState, field, problemNote, successNote } from '../site/form.ts'
import { type Html, layout, type Site } from '../site/layout.ts'

const EMAIL = { name: 'email', label: 'Email', type: 'email', autocomplete: 'username', maxLength: 254 } as const
const NEW_PASSWORD = {
  name: 'password',
  label: 'Password',
  type: 'password',
  autocomplete: 'new-password',
  hint: `At least ${MIN_PASSWORD_LENGTH} characters. A few words are a good one.`,
  minLength: MIN_PASSWORD_LENGTH,
  maxLength: MAX_PASSWORD_LENGTH,
} as const

const page = (site: Site, title: string, content: Html): Html =>
  layout(site, {
    title: `${title} · Kerb`,
    description: title,
    script: null,
    content: html`<div class="card account"><h1>${title}</h1>${content}</div>`,
  })

/** Where the visitor wanted to go, carried from page to page. */
const nextField = (next: string | null): Html | '' =>
  next === null ? '' : html`<input type="hidden" name="next" value="${next}">`
const nextQuery = (next: string | null): string => (next === null ? '' : `?next=${encodeURIComponent(next)}`)

/** The page to sign up on. */
export const signUpPage = (site: Site, form: FormState, next: string | null): Html =>
  page(
    site,
    'Sign up',
    html`${problemNote(form)}
<form action="/sign-up" method="post">
${nextField(next)}
${field(form, { name: 'name', label: 'Name', type: 'text', autocomplete: 'name', maxLength: MAX_NAME_CHARS })}
${field(form, EMAIL)}
${field(form, NEW_PASSWORD)}
<button class="button" type="submit">Sign up</button>
</form>
<p class="other">You have an account? <a href="/sign-in${nextQuery(next)}">Sign in</a></p>`,
  )

/** The page to sign in on; `note` says what went well before. */
export const signInPage = (site: Site, form: FormState, next: string | null, note: string | null): Html =>
  page(
    site,
    'Sign in',
    html`${successNote(note)}${problemNote(form)}
<form action="/sign-in" method="post">
${nextField(next)}
${field(form, EMAIL)}
${field(form, { name: 'password', label: 'Password', type: 'password', autocomplete: 'current-password', maxLength: MAX_PASSWORD_LENGTH })}
<button class="button" type="submit">Sign in</button>
</form>
<p class="other"><a href="/forgot-password">Forgot your password?</a></p>
<p class="other">New here? <a href="/sign-up${nextQuery(next)}">Sign up</a></p>`,
  )

/** The page that the mail to a new email leads to. Confirming takes a press: programs that check mails open links. */
export const confirmPage = (site: Site, form: FormState, token: string): Html =>
  page(
    site,
    'Confirm your email',
    html`${problemNote(form)}
<form action="/confirm-email" method="post">
<input type="hidden" name="token" value="${token}">
<p>If you signed up to Kerb, confirm that this email is yours.</p>
<button class="button" type="submit">Confirm</button>
</form>
<p class="other">If you did not sign up, close this page.</p>`,
  )

/** The page to ask for a new password on; `sent` says that a mail is on its way, if there is an account. */
export const forgotPage = (site: Site, form: FormState, sent: boolean): Html =>
  page(
    site,
    'Forgot your password?',
    sent
      ? html`${successNote('If there is an account with this email, a mail is on its way to it.')}
<p>It says how to set a new password, within an hour.</p>
<p class="other"><a href="/sign-in">Back to sign in</a></p>`
      : html`${problemNote(form)}
<form action="/forgot-password" method="post">
${field(form, { ...EMAIL, hint: 'You get a mail that says how to set a new one.' })}
<button class="button" type="submit">Send the mail</button>
</form>
<p class="other"><a href="/sign-in">Back to sign in</a></p>`,
  )

/** The page that a mail leads to. `token` is the mail's. */
export const resetPage = (site: Site, form: FormState, token: string): Html =>
  page(
    site,
    'Set a new password',
    html`${problemNote(form)}
<form action="/reset-password" method="post">
<input type="hidden" name="token" value="${token}">
${field(form, { ...NEW_PASSWORD, label: 'New password' })}
<button class="button" type="submit">Set it</button>
</form>
<p class="other"><a href="/forgot-password">Ask for another mail</a></p>`,
  )
