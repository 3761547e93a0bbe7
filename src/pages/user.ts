import { html } from 'hono/html'
import { MAX_PASSWORD, MIN_PASSWORD } from '../auth/password-rule.ts'
import { MAX_NAME, type Profile } from '../protocol/profile.ts'
import { type FormState, field, goodNote, problemNote } from './form.ts'
import { type Html, layout, type Site } from './layout.ts'
import { utcText } from './text.ts'

/** The ways within the area of who is signed in, and the way out. */
const userNav = (current: '/user' | '/user/profile'): Html => html`<nav class="user-nav" aria-label="Your pages">
  ${(['/user', '/user/profile'] as const).map((path) => html`<a href="${path}"${path === current ? html` aria-current="page"` : ''}>${path === '/user' ? 'Overview' : 'Profile'}</a> `)}
  <form action="/sign-out" method="post"><button class="link" type="submit">Sign out</button></form>
</nav>`

const intervalText = (seconds: number | null): string =>
  seconds === null ? 'as often as this Kerb does by itself' : `every ${seconds} s`

/** The first page of who is signed in. */
export const userPage = (site: Site, profile: Profile): Html =>
  layout(site, {
    title: 'Overview · Kerb',
    description: 'What is yours',
    script: null,
    content: html`
${userNav('/user')}
<div class="title-row"><h1>Hello${profile.name === '' ? '' : html`, ${profile.name}`}</h1></div>
<div class="card panel">
  <h2>Your account</h2>
  <dl>
    <div><dt>Email</dt><dd>${profile.email}</dd></div>
    <div><dt>Currency</dt><dd>${profile.currency}</dd></div>
    <div><dt>Prices</dt><dd>refreshed ${intervalText(profile.refresh_interval_seconds)}</dd></div>
    <div><dt>Here since</dt><dd><time datetime="${profile.created_at}">${utcText(Date.parse(profile.created_at)).slice(0, 10)}</time></dd></div>
  </dl>
  <p><a href="/user/profile">Change your profile</a></p>
</div>
<div class="card panel">
  <h2>The markets</h2>
  <p><a href="/">Live candles</a> of trading pairs, and <a href="/assets">prices</a> of stocks, funds, currencies and crypto.</p>
</div>`,
  })

/** What the page of a profile shows: the forms as they came back, and what went well. */
export type ProfilePage = { profile: Profile; form: FormState; passwordForm: FormState; saved: string | null }

/** The page to change a profile and the password on. */
export function profilePage(site: Site, { profile, form, passwordForm, saved }: ProfilePage): Html {
  const content = html`
${userNav('/user/profile')}
<div class="title-row"><h1>Profile</h1><p class="note">Signed in as ${profile.email}</p></div>
${goodNote(saved)}
<div class="forms">
<section class="card panel" aria-labelledby="about-you">
  <h2 id="about-you">About you</h2>
  ${problemNote(form)}
  <form action="/user/profile" method="post">
  ${field(form, { name: 'name', label: 'Name', type: 'text', autocomplete: 'name', maxLength: MAX_NAME })}
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
  ${field(passwordForm, { name: 'current_password', label: 'Present password', type: 'password', autocomplete: 'current-password', maxLength: MAX_PASSWORD })}
  ${field(passwordForm, { name: 'password', label: 'New password', type: 'password', autocomplete: 'new-password', minLength: MIN_PASSWORD, maxLength: MAX_PASSWORD, hint: `At least ${MIN_PASSWORD} characters. You are signed out everywhere else.` })}
  <button class="button" type="submit">Change it</button>
  </form>
</section>
</div>`
  return layout(site, { title: 'Profile · Kerb', description: 'Your profile', script: null, content })
}
