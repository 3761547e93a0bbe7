import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll, type ExpectStatic, expect, test } from 'vitest'
import { PRODUCTS } from '../../simulators/exchange/products.ts'
import { collectPageErrors, startBrowser } from '../support/browser.ts'
import { type KerbServer, startServer } from '../support/server.ts'

const PASSWORD = 'a long enough password'
const SHOWN = { timeout: 20_000, interval: 100 }

let server: KerbServer
let browser: Browser
let post: Server
const mails: { to: string; text: string }[] = []

beforeAll(async () => {
  post = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    // A port may be called by who knew it from before.
    if (request.method === 'POST' && request.url === '/mails') mails.push(JSON.parse(body))
    response.end('{}')
  })
  await new Promise<void>((done) => post.listen(0, '127.0.0.1', done))
  const { port } = post.address() as AddressInfo
  const vars = {
    AUTH_SECRET: 'a secret of tests alone, which opens nothing',
    MAIL_URL: `http://127.0.0.1:${port}/mails`,
  }
  ;[server, browser] = await Promise.all([startServer([...PRODUCTS], vars), startBrowser()])
})

afterAll(async () => {
  await browser?.close()
  await server?.stop()
  post?.close()
})

async function open(path: string, options: BrowserContextOptions = {}): Promise<{ page: Page; pageErrors: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
  const page = await context.newPage()
  const pageErrors = collectPageErrors(page)
  await page.goto(server.url + path)
  return { page, pageErrors }
}

const at = (page: Page) => new URL(page.url()).pathname + new URL(page.url()).search
const press = (page: Page, name: string) =>
  Promise.all([page.waitForLoadState('load'), page.getByRole('button', { name }).click()])

/** How far a page is wider than its window. */
const overflow = (page: Page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)

/** What a reader of the screen could not name. */
const nameless = (page: Page) =>
  page.$$eval('input:not([type=hidden]), button, a', (elements) =>
    elements
      .filter((element) => {
        const labels = (element as HTMLInputElement).labels
        return (
          (element.textContent ?? '').trim() === '' && (labels === null || labels === undefined || labels.length === 0)
        )
      })
      .map((element) => element.outerHTML),
  )

/** Checks the layout of a page, and saves screenshots to the folder SCREENSHOTS, if set. */
async function checkLayout(page: Page, name: string) {
  for (const width of [360, 1280]) {
    await page.setViewportSize({ width, height: width === 360 ? 740 : 900 })
    expect(await overflow(page), `${name} at ${width} px`).toBeLessThanOrEqual(0)
    if (process.env.SCREENSHOTS)
      await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}-${width}.png`, fullPage: true })
  }
  expect(await nameless(page), name).toEqual([])
}

/** The link to this page that was mailed to an email address. */
async function linkTo(expect: ExpectStatic, email: string, path: string): Promise<string> {
  const find = () => {
    const texts = mails.filter(({ to }) => to === email).map(({ text }) => text)
    return texts.flatMap((text) => /http\S+/.exec(text) ?? []).find((link) => link.includes(`/${path}?`))
  }
  await expect.poll(find, SHOWN).toBeDefined()
  return find() as string
}

/** Confirms a new email by its mail, and reaches the sign-in page. */
async function confirm(expect: ExpectStatic, page: Page, email: string, checksLayout: boolean): Promise<void> {
  await page.goto(await linkTo(expect, email, 'confirm-email'))
  if (checksLayout) await checkLayout(page, 'confirm')
  await press(page, 'Confirm')
  await expect.poll(() => at(page), SHOWN).toBe('/sign-in?done=confirmed')
}

// Concurrent: each test has its own browser context and email, and mostly waits.
test.concurrent.for([
  ['without scripts', false],
  ['with scripts', true],
] as const)(
  'a user signs up, signs in, edits the profile and signs out %s',
  async ([how, javaScriptEnabled], { expect }) => {
    const email = `${how.replaceAll(' ', '-')}@example.com`
    const { page, pageErrors } = await open('/user/profile', { javaScriptEnabled })
    expect(at(page)).toBe('/sign-in?next=%2Fuser%2Fprofile')
    if (javaScriptEnabled) await checkLayout(page, 'sign-in')

    await page.getByRole('link', { name: 'Sign up' }).click()
    await expect.poll(() => at(page), SHOWN).toBe('/sign-up?next=%2Fuser%2Fprofile')
    await page.getByLabel('Name').fill('Ada Lovelace')
    await page.getByLabel('Email').fill(email)
    await page.getByLabel('Password').fill(PASSWORD)
    if (javaScriptEnabled) await checkLayout(page, 'sign-up')
    await press(page, 'Sign up')
    await expect.poll(() => at(page), SHOWN).toBe('/sign-in?done=mailed&next=%2Fuser%2Fprofile')
    await confirm(expect, page, email, javaScriptEnabled)
    await page.goto(`${server.url}/sign-in?next=%2Fuser%2Fprofile`)

    await page.getByLabel('Email').fill(email)
    await page.getByLabel('Password').fill('not my password')
    await press(page, 'Sign in')
    await expect
      .poll(() => page.getByRole('alert').textContent(), SHOWN)
      .toBe("Wrong email or password, or your email isn't confirmed yet.")
    expect(await page.getByLabel('Email').inputValue()).toBe(email)
    expect(await page.getByLabel('Password').inputValue()).toBe('')
    if (javaScriptEnabled) await checkLayout(page, 'sign-in-wrong')
    await page.getByLabel('Password').fill(PASSWORD)
    await press(page, 'Sign in')
    await expect.poll(() => at(page), SHOWN).toBe('/user/profile')

    await page.getByLabel('Name').fill('Ada, Countess of Lovelace')
    await page.getByLabel('Currency').fill('XYZ')
    await page.getByLabel('Price refresh interval').fill('30')
    await press(page, 'Save')
    await expect
      .poll(() => page.locator('#currency-error').textContent(), SHOWN)
      .toBe('Enter a valid currency code, such as USD.')
    expect(await page.getByLabel('Name').inputValue()).toBe('Ada, Countess of Lovelace')
    if (javaScriptEnabled) await checkLayout(page, 'profile-wrong')
    await page.getByLabel('Currency').fill('gbp')
    await press(page, 'Save')
    await expect.poll(() => page.getByRole('status').textContent(), SHOWN).toBe('Saved.')
    expect(await page.getByLabel('Currency').inputValue()).toBe('GBP')
    if (javaScriptEnabled) await checkLayout(page, 'profile')

    await page.getByLabel('Current password').fill(PASSWORD)
    await page.getByLabel('New password').fill('another long password')
    await press(page, 'Change password')
    await expect.poll(() => at(page), SHOWN).toBe('/user/profile?saved=password')

    await page.getByRole('link', { name: 'Overview' }).click()
    await expect.poll(() => page.textContent('h1'), SHOWN).toBe('Hello, Ada, Countess of Lovelace')
    expect(await page.textContent('dl')).toMatch(/GBP[\s\S]*every 30 s/)
    if (javaScriptEnabled) await checkLayout(page, 'user')

    await press(page, 'Sign out')
    await expect.poll(() => at(page), SHOWN).toBe('/')
    await page.goto(`${server.url}/user`)
    expect(at(page)).toBe('/sign-in?next=%2Fuser')
    await page.getByLabel('Email').fill(email)
    await page.getByLabel('Password').fill('another long password')
    await press(page, 'Sign in')
    await expect.poll(() => at(page), SHOWN).toBe('/user')
    // The browser's own line on an answer that is no success: the form that came back with what was wrong.
    expect(pageErrors.filter((line) => !/status of 40[01]/.test(line))).toEqual([])
  },
)

test.concurrent('the link of a reset mail changes a forgotten password once', async ({ expect }) => {
  const email = 'forgetful@example.com'
  const { page } = await open('/sign-up')
  await page.getByLabel('Name').fill('Grace')
  await page.getByLabel('Email').fill(email)
  await page.getByLabel('Password').fill(PASSWORD)
  await press(page, 'Sign up')
  await expect.poll(() => at(page), SHOWN).toBe('/sign-in?done=mailed')
  await confirm(expect, page, email, false)
  await page.getByRole('link', { name: 'Forgot your password?' }).click()
  await page.getByLabel('Email').fill(email)
  await checkLayout(page, 'forgot')
  await press(page, 'Send link')
  await expect.poll(() => page.getByRole('status').textContent(), SHOWN).toContain('we sent it a reset link')
  const link = await linkTo(expect, email, 'reset-password')
  expect(link).toMatch(new RegExp(`^${server.url}/reset-password\\?token=`))
  for (const outcome of ['/sign-in?done=reset', '/reset-password']) {
    await page.goto(link)
    await page.getByLabel('New password').fill('another long password')
    await checkLayout(page, 'reset')
    await press(page, 'Save password')
    await expect.poll(() => at(page), SHOWN).toBe(outcome)
  }
  expect(await page.getByRole('alert').textContent()).toBe(
    'This link has expired or was already used. Request a new one.',
  )
})

test.concurrent('a form of another site neither signs a user out nor changes anything', async ({ expect }) => {
  const email = 'careful@example.com'
  const { page } = await open('/sign-up')
  await page.getByLabel('Name').fill('Careful')
  await page.getByLabel('Email').fill(email)
  await page.getByLabel('Password').fill(PASSWORD)
  await press(page, 'Sign up')
  await confirm(expect, page, email, false)
  await page.getByLabel('Email').fill(email)
  await page.getByLabel('Password').fill(PASSWORD)
  await press(page, 'Sign in')
  await expect.poll(() => at(page), SHOWN).toBe('/user')
  const evil = createServer((_, response) => {
    response.setHeader('content-type', 'text/html')
    response.end(`<form action="${server.url}/user/profile" method="post"><input name="name" value="Mallory">
      <input name="currency" value="EUR"><button>Win</button></form>`)
  })
  await new Promise<void>((done) => evil.listen(0, '127.0.0.1', done))
  // The same host by another port: the same site, to which Lax cookies do go, but another origin.
  await page.goto(`http://127.0.0.1:${(evil.address() as AddressInfo).port}`)
  await press(page, 'Win')
  await expect.poll(() => page.textContent('h1'), SHOWN).toBe('Not allowed')
  await page.goto(`${server.url}/user`)
  expect(await page.textContent('h1')).toBe('Hello, Careful')
  evil.close()
})
