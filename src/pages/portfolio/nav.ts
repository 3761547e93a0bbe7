import { html } from 'hono/html'
import type { Html } from '../site/layout.ts'

const USER_PAGES = [
  ['/user', 'Overview'],
  ['/user/stocks', 'Lots'],
  ['/user/activities', 'Activities'],
  ['/user/import', 'Import and export'],
  ['/user/profile', 'Profile'],
] as const

type UserPath = (typeof USER_PAGES)[number][0]

/** Links to the pages of the signed-in user, and the button to sign out. */
export const userNav = (current: UserPath): Html => html`<nav class="user-nav" aria-label="Your pages">
  ${USER_PAGES.map(([path, name]) => html`<a href="${path}"${path === current ? html` aria-current="page"` : ''}>${name}</a> `)}
  <form action="/sign-out" method="post"><button class="link" type="submit">Sign out</button></form>
</nav>`
