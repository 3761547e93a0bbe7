import { html } from 'hono/html'
import type { Html } from '../site/layout.ts'

const USER_PAGES = [
  ['/user', 'Overview'],
  ['/user/stocks', 'Lots'],
  ['/user/activities', 'Activities'],
  ['/user/import', 'Import and export'],
  ['/user/profile', 'Profile'],
] as const

/** A page of who is signed in, as it stands in the ways between them. */
export type UserPath = (typeof USER_PAGES)[number][0]

/** The ways within the area of who is signed in, and the way out. */
export const userNav = (current: UserPath): Html => html`<nav class="user-nav" aria-label="Your pages">
  ${USER_PAGES.map(([path, name]) => html`<a href="${path}"${path === current ? html` aria-current="page"` : ''}>${name}</a> `)}
  <form action="/sign-out" method="post"><button class="link" type="submit">Sign out</button></form>
</nav>`

/** How the page's connection is, which its script tells; and what is read aloud now and then. */
export const connectionNote: Html = html`<p id="connection" class="connection" role="status" data-state="none"><span class="text">not connected</span></p>
<p id="spoken" class="hidden" aria-live="polite"></p>`
