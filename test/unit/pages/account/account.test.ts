import { describe, expect, test } from 'vitest'
import { confirmPage, forgotPage, resetPage, signInPage, signUpPage } from '../../../../src/pages/account/account.ts'
import { profilePage } from '../../../../src/pages/account/profile.ts'
import type { FormState } from '../../../../src/pages/site/form.ts'
import { layout, type Page } from '../../../../src/pages/site/layout.ts'
import { safeNext } from '../../../../src/pages/site/next.ts'
import type { Profile } from '../../../../src/protocol/profile.ts'

const SITE = { exchange: 'simulated', version: '1' }
const render = async (page: Page): Promise<string> => String(await layout(SITE, page))
const EVIL = `"><script>alert(1)</script>'&`

describe('the page after signing in', () => {
  test.each(['/user', '/user/profile', '/user/stocks?page=2', '/user?a=b'])('may be %s', (path) => {
    expect(safeNext(path)).toBe(path)
  })

  test.each([
    undefined,
    null,
    '',
    '/',
    '/sign-out',
    '/users',
    'user',
    '//evil.example',
    '//evil.example/user',
    '/\\evil.example',
    'https://evil.example/user',
    'javascript:alert(1)',
    '/user/../sign-out',
    '/user/%2e%2e/sign-out',
    '/user/\\evil.example',
    '/user/\nlocation: https://evil.example',
    '/user@evil.example',
    '/user#@evil.example',
  ])('must not be %j', (path) => {
    expect(safeNext(path)).toBeNull()
  })
})

const profile: Profile = {
  user_id: '6f9619ff-8b86-4d11-b42d-00c04fc964ff',
  name: EVIL,
  email: `a${EVIL}@example.com`,
  currency: 'EUR',
  refresh_interval_seconds: null,
  created_at: '2026-11-21T09:00:00Z',
  updated_at: '2026-11-21T09:00:00Z',
}
const form: FormState = {
  values: { name: EVIL, email: EVIL, password: 'hunter2hunter2' },
  errors: [{ field: 'email', message: 'must be an email address' }],
  problem: EVIL,
}

test('every page escapes what people type, and no page repeats a password', async () => {
  const pages = await Promise.all(
    [
      signUpPage(form, {}),
      signInPage(form, { next: '/user' }),
      confirmPage(form, { token: EVIL }),
      forgotPage(form),
      resetPage(form, { token: EVIL }),
      profilePage(profile, { form, passwordForm: form }),
    ].map(render),
  )
  for (const page of pages) {
    expect(page).not.toContain('<script>alert')
    expect(page).not.toContain('hunter2')
  }
})

test('every field has a label, and its errors stand beside it and are announced with it', async () => {
  const page = await render(signUpPage(form, {}))
  const ids = [...page.matchAll(/<input id="([^"]+)"/g)].map((match) => match[1] as string)
  expect(ids).toEqual(['name', 'email', 'password'])
  for (const id of ids) expect(page).toContain(`<label for="${id}">`)
  expect(page).toMatch(/<input id="email"[^>]* aria-describedby="email-error" aria-invalid="true">/)
  expect(page).toContain('<p class="wrong" id="email-error">Must be an email address.</p>')
})

test('all ids of the profile page are unique', async () => {
  const page = await render(profilePage(profile, { saved: 'profile' }))
  const ids = [...page.matchAll(/ id="([^"]+)"/g)].map((match) => match[1])
  expect(new Set(ids).size).toBe(ids.length)
})
