import { Hono } from 'hono'
import { accountScope, requiresEmailConfirmation } from '../../api/accounts/accounts.ts'
import {
  changePassword,
  confirmEmail,
  requestReset,
  resetPassword,
  signIn,
  signOut,
  signUp,
} from '../../api/accounts/auth.ts'
import { changeProfile, findProfile } from '../../api/accounts/profile.ts'
import {
  clearSessionCookies,
  cookieSession,
  currentUser,
  requireSameOrigin,
  setSessionCookies,
} from '../../api/accounts/session.ts'
import { type AppEnv, userRequest } from '../../api/http/context.ts'
import { runOnce } from '../../api/http/idempotency.ts'
import { rateLimit } from '../../api/http/rate-limits.ts'
import type { Profile } from '../../protocol/profile.ts'
import { EMPTY_FORM, type FormState } from '../site/form.ts'
import { FORM_PROBLEMS, handleForm } from '../site/handle-form.ts'
import { safeNext } from '../site/next.ts'
import { errorPage, NO_STORE, securityHeaders, siteInfo } from '../site/routes.ts'
import { confirmPage, forgotPage, resetPage, signInPage, signUpPage } from './account.ts'
import { profilePage } from './profile.ts'
import { requireSignIn } from './require-sign-in.ts'

/** A token is in no field that could show what is wrong with it. */
const expiredTokenForm = (form: FormState): FormState =>
  form.errors.some(({ field }) => field === 'token') ? { ...form, problem: FORM_PROBLEMS.token_expired ?? null } : form

const SIGN_IN_NOTES: Partial<Record<string, string>> = {
  'signed-up': 'Thank you. Now sign in with your email and password.',
  mailed: 'Thank you. A mail is on its way to you: open its link, then sign in.',
  confirmed: 'Your email is confirmed. Sign in with it.',
  reset: 'Your new password is set. Sign in with it.',
}

/** The text of a form's field of seconds: empty is the default, and what is no number stays to be refused. */
const parseSeconds = (text: string | undefined): number | string | null => {
  const trimmed = (text ?? '').trim()
  if (trimmed === '') return null
  return /^\d{1,9}$/.test(trimmed) ? Number(trimmed) : trimmed
}

const profileForm = (profile: Profile): FormState => ({
  ...EMPTY_FORM,
  values: {
    name: profile.name,
    currency: profile.currency,
    refresh_interval_seconds: String(profile.refresh_interval_seconds ?? ''),
  },
})

const SAVED_NOTES: Partial<Record<string, string>> = {
  profile: 'Saved.',
  password: 'Your password is changed, and you are signed out everywhere else.',
}

/** The pages of accounts: sign-up, sign-in, the way to a new password, and what is behind them. */
export const accountPages = new Hono<AppEnv>()
  .get('/sign-up', securityHeaders, (c) =>
    c.html(signUpPage(siteInfo(c.env), EMPTY_FORM, safeNext(c.req.query('next'))), 200, NO_STORE),
  )
  .post('/sign-up', securityHeaders, requireSameOrigin(), rateLimit('AUTH_LIMIT'), (c) =>
    handleForm(
      c,
      async (fields) => {
        await signUp(accountScope(c), fields)
        const next = safeNext(fields.next)
        const told = requiresEmailConfirmation(c.env) ? 'mailed' : 'signed-up'
        return c.redirect(`/sign-in?done=${told}${next === null ? '' : `&next=${encodeURIComponent(next)}`}`, 303)
      },
      (form, { next }) => signUpPage(siteInfo(c.env), form, safeNext(next)),
    ),
  )
  .get('/sign-in', securityHeaders, async (c) => {
    const next = safeNext(c.req.query('next'))
    if ((await currentUser(c)) !== null) return c.redirect(next ?? '/user', 303)
    const note = SIGN_IN_NOTES[c.req.query('done') ?? ''] ?? null
    return c.html(signInPage(siteInfo(c.env), EMPTY_FORM, next, note), 200, NO_STORE)
  })
  .post('/sign-in', securityHeaders, requireSameOrigin(), rateLimit('AUTH_LIMIT'), (c) =>
    handleForm(
      c,
      async (fields) => {
        setSessionCookies(c, await signIn(accountScope(c), fields))
        return c.redirect(safeNext(fields.next) ?? '/user', 303)
      },
      (form, { next }) => signInPage(siteInfo(c.env), form, safeNext(next), null),
    ),
  )
  .get('/confirm-email', securityHeaders, (c) => {
    const token = c.req.query('token')
    if (token === undefined) return c.redirect('/sign-in', 303)
    return c.html(confirmPage(siteInfo(c.env), EMPTY_FORM, token), 200, NO_STORE)
  })
  .post('/confirm-email', securityHeaders, requireSameOrigin(), rateLimit('AUTH_LIMIT'), (c) =>
    handleForm(
      c,
      async (fields) => {
        await confirmEmail(accountScope(c), fields)
        return c.redirect('/sign-in?done=confirmed', 303)
      },
      (form, { token }) => confirmPage(siteInfo(c.env), expiredTokenForm(form), token ?? ''),
    ),
  )
  .post('/sign-out', securityHeaders, requireSameOrigin(), async (c) => {
    const session = await cookieSession(c)
    clearSessionCookies(c)
    await signOut(accountScope(c), session)
    return c.redirect('/', 303)
  })
  .get('/forgot-password', securityHeaders, (c) =>
    c.html(forgotPage(siteInfo(c.env), EMPTY_FORM, false), 200, NO_STORE),
  )
  .post('/forgot-password', securityHeaders, requireSameOrigin(), rateLimit('AUTH_LIMIT'), (c) =>
    handleForm(
      c,
      async (fields) => {
        await requestReset(accountScope(c), fields)
        return c.html(forgotPage(siteInfo(c.env), EMPTY_FORM, true), 200, NO_STORE)
      },
      (form) => forgotPage(siteInfo(c.env), form, false),
    ),
  )
  .get('/reset-password', securityHeaders, (c) => {
    const token = c.req.query('token')
    if (token === undefined) return c.redirect('/forgot-password', 303)
    return c.html(resetPage(siteInfo(c.env), EMPTY_FORM, token), 200, NO_STORE)
  })
  .post('/reset-password', securityHeaders, requireSameOrigin(), rateLimit('AUTH_LIMIT'), (c) =>
    handleForm(
      c,
      async (fields) => {
        await resetPassword(accountScope(c), fields)
        clearSessionCookies(c)
        return c.redirect('/sign-in?done=reset', 303)
      },
      (form, { token }) => {
        return resetPage(siteInfo(c.env), expiredTokenForm(form), token ?? '')
      },
    ),
  )
  .get('/user/profile', securityHeaders, requireSignIn, async (c) => {
    const profile = await findProfile(userRequest(c))
    const saved = SAVED_NOTES[c.req.query('saved') ?? ''] ?? null
    const page = { profile, form: profileForm(profile), passwordForm: EMPTY_FORM, saved }
    return c.html(profilePage(siteInfo(c.env), page), 200, NO_STORE)
  })
  .post('/user/profile', securityHeaders, requireSignIn, (c) =>
    handleForm(
      c,
      async ({ name, currency, refresh_interval_seconds }) => {
        const change = { name, currency, refresh_interval_seconds: parseSeconds(refresh_interval_seconds) }
        await runOnce(c, change, (request) => changeProfile(request, change), null)
        return c.redirect('/user/profile?saved=profile', 303)
      },
      async (form) => {
        const profile = await findProfile(userRequest(c))
        return profilePage(siteInfo(c.env), { profile, form, passwordForm: EMPTY_FORM, saved: null })
      },
    ),
  )
  .post('/user/password', securityHeaders, requireSignIn, rateLimit('AUTH_LIMIT'), (c) =>
    handleForm(
      c,
      async (fields) => {
        setSessionCookies(c, await changePassword(accountScope(c), c.var.user, fields))
        return c.redirect('/user/profile?saved=password', 303)
      },
      async (form) => {
        const profile = await findProfile(userRequest(c))
        const words =
          form.problem === FORM_PROBLEMS.invalid_credentials ? 'The present password is not right.' : form.problem
        const passwordForm = { ...form, problem: words }
        return profilePage(siteInfo(c.env), { profile, form: profileForm(profile), passwordForm, saved: null })
      },
    ),
  )

accountPages.onError((error, c) => errorPage(c, error))
