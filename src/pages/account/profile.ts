import { html } from 'hono/html'
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from '../../auth/password-rule.ts'
import { MAX_NAME_CHARS, type Profile } from '../../protocol/profile.ts'
import { userNav } from '../portfolio/nav.ts'
import { type FormState, field, problemNote, successNote } from '../site/form.ts'
import { type Html, layout, type Site } from '../site/layout.ts'

/** What the page of a profile shows: the forms as they came back, and what went well. */
export type ProfilePage = { profile: Profile; form: FormState; passwordForm: FormState; saved: string | null }

/** The page to change a profile and the password on. */
export function profilePage(site: Site, { profile, form, passwordForm, saved }: ProfilePage): Html {
  const content = html`
${userNav('/user/profile')}
<div class="title-row"><h1>Profile</h1><p class="note">Signed in as ${profile.email}</p></div>
${successNote(saved)}
<div class="forms">
<section class="card panel" aria-labelledby="about-you">
  <h2 id="about-you">About you</h2>
  ${problemNote(form)}
  <form action="/user/profile" method="post">
  ${field(form, { name: 'name', label: 'Name', type: 'text', autocomplete: 'name', maxLength: MAX_NAME_CHARS })}
  ${field(form, { name: 'currency', label: 'Currency', type: 'text', autocomplete: 'off', maxLength: 3, hint: 'Three letters, such as USD: that in which totals are told.' })}
  ${field(form, { name: 'refresh_interval_seconds', label: 'Refresh prices every … seconds', type: 'number', autocomplete: 'off', required: false, hint: 'Within the bounds of this Kerb; empty is as often as it does by itself.' })}
  <button class="button" type="submit">Save</button>
  </form>
</section>
<section class="card panel" aria-labelledby="your-password">
  <h2 id="your-password">Password</h2>
  ${problemNote(passwordForm)}
  <form action="/user/password" method="post">
  <input type="hidden" name="username" value="${profile.email}" autocomplete="username">
  ${field(passwordForm, { name: 'current_password', label: 'Present password', type: 'password', autocomplete: 'current-password', maxLength: MAX_PASSWORD_LENGTH })}
  ${field(passwordForm, { name: 'password', label: 'New password', type: 'password', autocomplete: 'new-password', minLength: MIN_PASSWORD_LENGTH, maxLength: MAX_PASSWORD_LENGTH, hint: `At least ${MIN_PASSWORD_LENGTH} characters. You are signed out everywhere else.` })}
  <button class="button" type="submit">Change it</button>
  </form>
</section>
</div>`
  return layout(site, { title: 'Profile · Kerb', description: 'Your profile', script: null, content })
}
