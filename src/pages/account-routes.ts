import { type Context, Hono, type MiddlewareHandler } from 'hono'
import { confirmsEmails } from '../api/accounts.ts'
import { changePassword, confirmEmail, requestReset, resetPassword, signIn, signOut, signUp } from '../api/auth.ts'
import { profileChangeSchema } from '../api/auth-input.ts'
import { formBody } from '../api/body.ts'
import type { AppEnv } from '../api/context.ts'
import { parse } from '../api/input.ts'
import { authLimit } from '../api/limits.ts'
import { findProfile, saveProfile } from '../api/profile.ts'
import { currentUser, sameOrigin } from '../api/session.ts'
import { CodedError, ERROR_CODES } from '../protocol/errors.ts'
import type { Profile } from '../protocol/profile.ts'
import { confirmPage, forgotPage, resetPage, signInPage, signUpPage } from './account.ts'
import { EMPTY_FORM, type FormState } from './form.ts'
import type { Html } from './layout.ts'
import { safeNext } from './next.ts'
import { errorPage, fresh, headers, site } from './routes.ts'
import { profilePage, userPage } from './user.ts'

/** Sends who is not signed in to where that is done, and back afterwards. */
const signedIn: MiddlewareHandler<AppEnv> = async (c, next) => {
  const user = await currentUser(c)
  if (user === null) {
    const { pathname, search } = new URL(c.req.url)
    // A write cannot be repeated by coming back to it: its page can.
    const back = c.req.method === 'GET' ? `${pathname}${search}` : '/user/profile'
    return c.redirect(`/sign-in?next=${encodeURIComponent(back)}`, 303)
  }
  c.set('user', user)
  await next()
}

/** Details that stand beside a form, in the words of a page. */
const WORDS: Partial<Record<string, string>> = {
  invalid_credentials: 'Email and password do not fit together, or the email is not confirmed yet.',
  token_over: 'This link is over or was used already. Ask for another mail.',
  too_many_requests: 'Too many attempts. Please wait a minute.',
  unavailable: 'This cannot be done at the moment. Please try again in a while.',
}

const SECRET = new Set(['password', 'current_password', 'token'])

/**
 * Does what a form asks; where it cannot be done, shows the form again, with what was typed and what is wrong.
 * What is not for the form is thrown on.
 */
async function submit(
  c: Context<AppEnv>,
  act: (fields: Record<string, string>) => Promise<Response>,
  again: (form: FormState, fields: Record<string, string>) => Html | Promise<Html>,
): Promise<Response> {
  const fields = await formBody(c)
  try {
    return await act(fields)
  } catch (error) {
    if (!(error instanceof CodedError)) throw error
    const problem = error.errors.length > 0 ? null : WORDS[error.code]
    if (problem === undefined) throw error
    const values = Object.fromEntries(Object.entries(fields).filter(([name]) => !SECRET.has(name)))
    if (error.retryAfter !== undefined) c.header('retry-after', String(error.retryAfter))
    const page = await again({ values, errors: error.errors, problem }, fields)
    return c.html(page, ERROR_CODES[error.code].status, fresh)
  }
}

/** A token is in no field that could show what is wrong with it. */
const overWithoutToken = (form: FormState): FormState =>
  form.errors.some(({ field }) => field === 'token') ? { ...form, problem: WORDS.token_over ?? null } : form

const NOTES: Partial<Record<string, string>> = {
  'signed-up': 'Thank you. Now sign in with your email and password.',
  mailed: 'Thank you. A mail is on its way to you: open its link, then sign in.',
  confirmed: 'Your email is confirmed. Sign in with it.',
  reset: 'Your new password is set. Sign in with it.',
}

/** The text of a form's field of seconds: empty is the default, and what is no number stays to be refused. */
const secondsOf = (text: string | undefined): number | string | null => {
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

const SAVED: Partial<Record<string, string>> = {
  profile: 'Saved.',
  password: 'Your password is changed, and you are signed out everywhere else.',
}

/** The pages of accounts: sign-up, sign-in, the way to a new password, and what is behind them. */
export const accountPages = new Hono<AppEnv>()
  .get('/sign-up', headers, (c) =>
    c.html(signUpPage(site(c.env), EMPTY_FORM, safeNext(c.req.query('next'))), 200, fresh),
  )
  .post('/sign-up', headers, sameOrigin, authLimit, (c) =>
    submit(
      c,
      async (fields) => {
        await signUp(c, fields)
        const next = safeNext(fields.next)
        const told = confirmsEmails(c.env) ? 'mailed' : 'signed-up'
        return c.redirect(`/sign-in?done=${told}${next === null ? '' : `&next=${encodeURIComponent(next)}`}`, 303)
      },
      (form, { next }) => signUpPage(site(c.env), form, safeNext(next)),
    ),
  )
  .get('/sign-in', headers, async (c) => {
    const next = safeNext(c.req.query('next'))
    if ((await currentUser(c)) !== null) return c.redirect(next ?? '/user', 303)
    const note = NOTES[c.req.query('done') ?? ''] ?? null
    return c.html(signInPage(site(c.env), EMPTY_FORM, next, note), 200, fresh)
  })
  .post('/sign-in', headers, sameOrigin, authLimit, (c) =>
    submit(
      c,
      async (fields) => {
        await signIn(c, fields)
        return c.redirect(safeNext(fields.next) ?? '/user', 303)
      },
      (form, { next }) => signInPage(site(c.env), form, safeNext(next), null),
    ),
  )
  .get('/confirm-email', headers, (c) => {
    const token = c.req.query('token')
    if (token === undefined) return c.redirect('/sign-in', 303)
    return c.html(confirmPage(site(c.env), EMPTY_FORM, token), 200, fresh)
  })
  .post('/confirm-email', headers, sameOrigin, authLimit, (c) =>
    submit(
      c,
      async (fields) => {
        await confirmEmail(c, fields)
        return c.redirect('/sign-in?done=confirmed', 303)
      },
      (form, { token }) => confirmPage(site(c.env), overWithoutToken(form), token ?? ''),
    ),
  )
  .post('/sign-out', headers, sameOrigin, async (c) => {
    await signOut(c)
    return c.redirect('/', 303)
  })
  .get('/forgot-password', headers, (c) => c.html(forgotPage(site(c.env), EMPTY_FORM, false), 200, fresh))
  .post('/forgot-password', headers, sameOrigin, authLimit, (c) =>
    submit(
      c,
      async (fields) => {
        await requestReset(c, fields)
        return c.html(forgotPage(site(c.env), EMPTY_FORM, true), 200, fresh)
      },
      (form) => forgotPage(site(c.env), form, false),
    ),
  )
  .get('/reset-password', headers, (c) => {
    const token = c.req.query('token')
    if (token === undefined) return c.redirect('/forgot-password', 303)
    return c.html(resetPage(site(c.env), EMPTY_FORM, token), 200, fresh)
  })
  .post('/reset-password', headers, sameOrigin, authLimit, (c) =>
    submit(
      c,
      async (fields) => {
        await resetPassword(c, fields)
        return c.redirect('/sign-in?done=reset', 303)
      },
      (form, { token }) => {
        return resetPage(site(c.env), overWithoutToken(form), token ?? '')
      },
    ),
  )
  .get('/user', headers, signedIn, async (c) =>
    c.html(userPage(site(c.env), await findProfile(c.env, c.var.user)), 200, fresh),
  )
  .get('/user/profile', headers, signedIn, async (c) => {
    const profile = await findProfile(c.env, c.var.user)
    const saved = SAVED[c.req.query('saved') ?? ''] ?? null
    const page = { profile, form: profileForm(profile), passwordForm: EMPTY_FORM, saved }
    return c.html(profilePage(site(c.env), page), 200, fresh)
  })
  .post('/user/profile', headers, signedIn, (c) =>
    submit(
      c,
      async ({ name, currency, refresh_interval_seconds }) => {
        const change = { name, currency, refresh_interval_seconds: secondsOf(refresh_interval_seconds) }
        await saveProfile(c.env, c.var.user, parse(profileChangeSchema, change))
        return c.redirect('/user/profile?saved=profile', 303)
      },
      async (form) => {
        const profile = await findProfile(c.env, c.var.user)
        return profilePage(site(c.env), { profile, form, passwordForm: EMPTY_FORM, saved: null })
      },
    ),
  )
  .post('/user/password', headers, signedIn, authLimit, (c) =>
    submit(
      c,
      async (fields) => {
        await changePassword(c, c.var.user.email, fields)
        return c.redirect('/user/profile?saved=password', 303)
      },
      async (form) => {
        const profile = await findProfile(c.env, c.var.user)
        const words = form.problem === WORDS.invalid_credentials ? 'The present password is not right.' : form.problem
        const passwordForm = { ...form, problem: words }
        return profilePage(site(c.env), { profile, form: profileForm(profile), passwordForm, saved: null })
      },
    ),
  )

accountPages.onError((error, c) => errorPage(c, error))
