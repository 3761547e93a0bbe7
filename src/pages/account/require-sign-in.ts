import type { MiddlewareHandler } from 'hono'
import { currentUser } from '../../api/accounts/session.ts'
import type { AppEnv } from '../../api/http/context.ts'

/** Sends who is not signed in to where that is done, and back afterwards. */
export const requireSignIn: MiddlewareHandler<AppEnv> = async (c, next) => {
  const user = await currentUser(c)
  if (user === null) {
    const { pathname, search } = new URL(c.req.url)
    // A write cannot be repeated by coming back to it: its page can.
    const back = c.req.method === 'GET' ? `${pathname}${search}` : (FORM_PAGES[pathname] ?? pathname)
    return c.redirect(`/sign-in?next=${encodeURIComponent(back)}`, 303)
  }
  c.set('user', user)
  await next()
}

/** Pages of forms that are sent to an address which has none. */
const FORM_PAGES: Partial<Record<string, string>> = { '/user/password': '/user/profile' }
