import type { MiddlewareHandler } from 'hono'
import { currentUser } from '../../api/accounts/session-cookies.ts'
import type { AppEnv } from '../../api/http/context.ts'

/** Redirects visitors who are not signed in to the sign-in page, which leads back. */
export const requireSignIn: MiddlewareHandler<AppEnv> = async (c, next) => {
  const user = await currentUser(c)
  if (user === null) {
    const { pathname, search } = new URL(c.req.url)
    // A form cannot be sent again by a redirect; its page can be opened.
    const back = c.req.method === 'GET' ? `${pathname}${search}` : (FORM_PAGES[pathname] ?? pathname)
    return c.redirect(`/sign-in?next=${encodeURIComponent(back)}`, 303)
  }
  c.set('user', user)
  await next()
}

/** The pages of forms that are sent to another address. */
const FORM_PAGES: Partial<Record<string, string>> = { '/user/password': '/user/profile' }
