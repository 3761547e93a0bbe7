import { type Context, Hono } from 'hono'
import { accountScope, requiresEmailConfirmation } from '../../api/accounts/accounts.ts'
import * as auth from '../../api/accounts/auth.ts'
import { changeProfile, findProfile } from '../../api/accounts/profile.ts'
import * as session from '../../api/accounts/session-cookies.ts'
import { type AppEnv, userRequest } from '../../api/http/context.ts'
import { runOnce } from '../../api/http/idempotency.ts'
import { rateLimit } from '../../api/http/rate-limits.ts'
import { EMPTY_FORM, FORM_PROBLEMS, type FormFields, type FormState } from '../site/form.ts'
import { handleForm } from '../site/handle-form.ts'
import type { Page } from '../site/layout.ts'
import { safeNext } from '../site/next.ts'
import { errorPage, renderPage, securityHeaders } from '../site/respond.ts'
import { confirmPage, forgotPage, resetLinkSentPage, resetPage, signInPage, signUpPage } from './account.ts'
import { profilePage } from './profile.ts'
import { requireSignIn } from './require-sign-in.ts'

/** Parses the seconds of a form. Empty means the default; other text is left for the schema to refuse. */
function parseSeconds(text = ''): number | string | null {
  const trimmed = text.trim()
  if (trimmed === '') return null
  return /^\d{1,9}$/.test(trimmed) ? Number(trimmed) : trimmed
}

type FormPage = (form: FormState, fields: FormFields) => Page
type Submit = (c: Context<AppEnv>, fields: FormFields) => Promise<Response>

/** The pages of accounts: sign-up, sign-in, password reset and profile. */
export const accountPages = new Hono<AppEnv>()
accountPages.onError(errorPage)

/** Registers the address of a form for visitors who are not signed in. */
const post = (path: string, page: FormPage, submit: Submit) =>
  accountPages.post(path, securityHeaders, session.requireSameOrigin(), rateLimit('AUTH_LIMIT'), (c) =>
    handleForm(c, page, (fields) => submit(c, fields)),
  )

accountPages.get('/sign-up', securityHeaders, (c) => renderPage(c, signUpPage(EMPTY_FORM, c.req.query())))
post('/sign-up', signUpPage, async (c, fields) => {
  await auth.signUp(accountScope(c), fields)
  const next = safeNext(fields.next)
  const done = requiresEmailConfirmation(c.env) ? 'mailed' : 'signed-up'
  return c.redirect(`/sign-in?done=${done}${next === null ? '' : `&next=${encodeURIComponent(next)}`}`, 303)
})

accountPages.get('/sign-in', securityHeaders, async (c) => {
  if ((await session.currentUser(c)) !== null) return c.redirect(safeNext(c.req.query('next')) ?? '/user', 303)
  return renderPage(c, signInPage(EMPTY_FORM, c.req.query()))
})
post('/sign-in', signInPage, async (c, fields) => {
  session.setSessionCookies(c, await auth.signIn(accountScope(c), fields))
  return c.redirect(safeNext(fields.next) ?? '/user', 303)
})

accountPages.get('/confirm-email', securityHeaders, (c) =>
  c.req.query('token') === undefined
    ? c.redirect('/sign-in', 303)
    : renderPage(c, confirmPage(EMPTY_FORM, c.req.query())),
)
post('/confirm-email', confirmPage, async (c, fields) => {
  await auth.confirmEmail(accountScope(c), fields)
  return c.redirect('/sign-in?done=confirmed', 303)
})

accountPages.post('/sign-out', securityHeaders, session.requireSameOrigin(), async (c) => {
  const ended = await session.cookieSession(c)
  session.clearSessionCookies(c)
  await auth.signOut(accountScope(c), ended)
  return c.redirect('/', 303)
})

accountPages.get('/forgot-password', securityHeaders, (c) => renderPage(c, forgotPage(EMPTY_FORM)))
post('/forgot-password', forgotPage, async (c, fields) => {
  await auth.requestReset(accountScope(c), fields)
  return renderPage(c, resetLinkSentPage)
})

accountPages.get('/reset-password', securityHeaders, (c) =>
  c.req.query('token') === undefined
    ? c.redirect('/forgot-password', 303)
    : renderPage(c, resetPage(EMPTY_FORM, c.req.query())),
)
post('/reset-password', resetPage, async (c, fields) => {
  await auth.resetPassword(accountScope(c), fields)
  session.clearSessionCookies(c)
  return c.redirect('/sign-in?done=reset', 303)
})

accountPages
  .get('/user/profile', securityHeaders, requireSignIn, async (c) =>
    renderPage(c, profilePage(await findProfile(userRequest(c)), { saved: c.req.query('saved') })),
  )
  .post('/user/profile', securityHeaders, requireSignIn, (c) =>
    handleForm(
      c,
      async (form) => profilePage(await findProfile(userRequest(c)), { form }),
      async ({ name, currency, refresh_interval_seconds }) => {
        const change = { name, currency, refresh_interval_seconds: parseSeconds(refresh_interval_seconds) }
        await runOnce(c, change, (request) => changeProfile(request, change), null)
        return c.redirect('/user/profile?saved=profile', 303)
      },
    ),
  )
  .post('/user/password', securityHeaders, requireSignIn, rateLimit('AUTH_LIMIT'), (c) =>
    handleForm(
      c,
      async (form) => {
        const isWrong = form.problem === FORM_PROBLEMS.invalid_credentials
        const passwordForm = isWrong ? { ...form, problem: 'Current password is incorrect.' } : form
        return profilePage(await findProfile(userRequest(c)), { passwordForm })
      },
      async (fields) => {
        session.setSessionCookies(c, await auth.changePassword(accountScope(c), c.var.user, fields))
        return c.redirect('/user/profile?saved=password', 303)
      },
    ),
  )
