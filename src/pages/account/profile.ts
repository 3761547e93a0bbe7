import { html } from 'hono/html'
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from '../../auth/password-rule.ts'
import type { Profile } from '../../protocol/profile.ts'
import { userNav } from '../portfolio/nav.ts'
import { EMPTY_FORM, type FormState, field, problemNote, successNote } from '../site/form.ts'
import type { Page } from '../site/layout.ts'
import { NAME } from './account.ts'

/** Messages after a success, by the `saved` of the address. */
const SAVED_NOTES: Partial<Record<string, string>> = {
  profile: 'Saved.',
  password: 'Password changed. You are signed out everywhere else.',
}

const profileForm = ({ name, currency, refresh_interval_seconds }: Profile): FormState => ({
  ...EMPTY_FORM,
  values: { name, currency, refresh_interval_seconds: String(refresh_interval_seconds ?? '') },
})

type ProfileForms = { form?: FormState; passwordForm?: FormState; saved?: string }

/** The page to change a profile and the password. */
export function profilePage(
  profile: Profile,
  { form = profileForm(profile), passwordForm = EMPTY_FORM, saved = '' }: ProfileForms,
): Page {
  const content = html`
${userNav('/user/profile')}
<div class="title-row"><h1>Profile</h1><p class="note">Signed in as ${profile.email}</p></div>
${successNote(SAVED_NOTES[saved])}
<div class="forms">
<section class="card panel" aria-labelledby="about-you">
  <h2 id="about-you">About you</h2>
  ${problemNote(form)}
  <form action="/user/profile" method="post">
  ${field(form, NAME)}
  ${field(form, { name: 'currency', label: 'Currency', maxLength: 3, hint: 'Currency for your totals, e.g. USD.' })}
  ${field(form, { name: 'refresh_interval_seconds', label: 'Price refresh interval (seconds)', type: 'number', required: false, hint: 'Leave empty for the default.' })}
  <button class="button" type="submit">Save</button>
  </form>
</section>
<section class="card panel" aria-labelledby="your-password">
  <h2 id="your-password">Password</h2>
  ${problemNote(passwordForm)}
  <form action="/user/password" method="post">
  <input type="hidden" name="username" value="${profile.email}" autocomplete="username">
  ${field(passwordForm, { name: 'current_password', label: 'Current password', type: 'password', autocomplete: 'current-password', maxLength: MAX_PASSWORD_LENGTH })}
  ${field(passwordForm, { name: 'password', label: 'New password', type: 'password', autocomplete: 'new-password', minLength: MIN_PASSWORD_LENGTH, maxLength: MAX_PASSWORD_LENGTH, hint: `Use at least ${MIN_PASSWORD_LENGTH} characters. You will be signed out everywhere else.` })}
  <button class="button" type="submit">Change password</button>
  </form>
</section>
</div>`
  return { title: 'Profile', description: 'Your profile', content }
}
