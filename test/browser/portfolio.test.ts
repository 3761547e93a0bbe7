import { readFile } from 'node:fs/promises'
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { manualProduct } from '../../simulators/exchange/products.ts'
import { collectPageErrors, startBrowser } from '../support/browser.ts'
import { refreshEverySecond, refreshPrices as refreshNow } from '../support/refresh.ts'
import { type KerbServer, startServer } from '../support/server.ts'

/** Longest wait for anything to show: the machine may be busy with the rest of the tests. */
const SHOWN = { timeout: 30_000, interval: 100 }

const KEY = 'a-service-key-of-this-test'
const PASSWORD = 'a long enough password'
const EMAIL = 'ada@example.com'

let server: KerbServer
let browser: Browser
const contexts: BrowserContext[] = []

beforeAll(async () => {
  server = await startServer([manualProduct('ONE-USD')], {
    PRODUCTS: 'ONE-USD',
    ALWAYS_ON: 'ONE-USD',
    QUOTE_REFRESH_TICK_MS: '500',
    YAHOO_PER_MINUTE: '6000',
    AUTH_SECRET: 'a secret of tests alone, which opens nothing',
    SUPABASE_SERVICE_ROLE_KEY: KEY,
  })
  server.providers.setPrice({ market: '*', market_state: 'open' })
  set('AAPL', '200')
  set('EURUSD=X', '1.25')
  await refreshEverySecond(server)
  await refresh('AAPL', 'EURUSD')
  browser = await startBrowser()
})

afterEach(() => Promise.all(contexts.splice(0).map((context) => context.close())))

afterAll(async () => {
  await browser?.close()
  await server?.stop()
})

async function open(options: BrowserContextOptions = {}): Promise<{ page: Page; pageErrors: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
  contexts.push(context)
  const page = await context.newPage()
  return { page, pageErrors: collectPageErrors(page) }
}

const set = (id: string, value: string) => server.providers.setPrice({ provider: 'yahoo', id, price: value })

const refresh = (...symbols: string[]) => refreshNow(server, KEY, symbols)

const at = (page: Page) => new URL(page.url()).pathname + new URL(page.url()).search
const press = (page: Page, name: string) =>
  Promise.all([page.waitForEvent('load'), page.getByRole('button', { name, exact: true }).click()])
const text = async (page: Page, selector: string) => ((await page.textContent(selector)) ?? '').trim()
/** The exact value of a figure. */
const value = (page: Page, below: string, key: string) =>
  page.locator(`${below} data[data-figure=${key}]`).first().getAttribute('value')
const live = (page: Page) => expect.poll(() => text(page, '#connection'), SHOWN).toBe('live')
/** A mark on the window, which only a reload removes. */
const markPage = (page: Page) => page.evaluate(() => Object.assign(window, { stayed: true }))
const wasNotReloaded = (page: Page) => page.evaluate(() => 'stayed' in window)

/** Checks that a page is no wider than its window, and saves screenshots to the folder SCREENSHOTS, if set. */
async function checkLayout(page: Page, name: string): Promise<void> {
  for (const width of [360, 1280]) {
    await page.setViewportSize({ width, height: width === 360 ? 740 : 900 })
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
    expect(wider, `${name} at ${width} px`).toBeLessThanOrEqual(0)
    if (process.env.SCREENSHOTS)
      await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}-${width}.png`, fullPage: true })
  }
}

/** Another page of the same person, who signs in on the way to it. */
async function openSigned(
  next: string,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; pageErrors: string[] }> {
  const opened = await open(options)
  await opened.page.goto(server.url + next)
  await opened.page.getByLabel('Email').fill(EMAIL)
  await opened.page.getByLabel('Password').fill(PASSWORD)
  await press(opened.page, 'Sign in')
  expect(at(opened.page)).toBe(next)
  return opened
}

test('P1 P7 a user signs up, adds lots, sees prices move, sells, imports, changes the currency and deletes the account', async () => {
  const { page, pageErrors } = await open()
  await page.goto(`${server.url}/user/stocks?symbol=AAPL`)
  expect(at(page)).toBe(`/sign-in?next=${encodeURIComponent('/user/stocks?symbol=AAPL')}`)
  await page.getByRole('link', { name: 'Sign up' }).click()
  await page.getByLabel('Name').fill('Ada')
  await page.getByLabel('Email').fill(EMAIL)
  await page.getByLabel('Password').fill(PASSWORD)
  await press(page, 'Sign up')
  await page.getByLabel('Email').fill(EMAIL)
  await page.getByLabel('Password').fill(PASSWORD)
  await press(page, 'Sign in')
  expect(at(page)).toBe('/user/stocks?symbol=AAPL')

  // Nothing yet; then a lot, by the search for its symbol.
  await page.goto(`${server.url}/user`)
  expect(await text(page, '#portfolio h2')).toBe('Your portfolio is empty')
  await checkLayout(page, 'user-empty')
  await page.getByRole('link', { name: 'Add your first holding' }).click()
  await page.locator('#symbol').pressSequentially('Apple')
  await expect.poll(() => page.locator('#symbols option[value=AAPL]').count(), SHOWN).toBe(1)
  await page.locator('#symbol').fill('AAPL')
  await page.getByLabel('Quantity').fill('1,5')
  await page.getByLabel('Price per share').fill('150')
  await page.getByLabel('When (UTC)').fill('2026-01-05T15:30')
  await press(page, 'Add')
  expect(await text(page, '#quantity-error')).toBe('Enter a number such as 12.5.')
  expect(await page.getByLabel('Price per share').inputValue()).toBe('150')
  expect(await page.getByLabel('When (UTC)').inputValue()).toBe('2026-01-05T15:30')
  await checkLayout(page, 'stocks-wrong')
  await page.getByLabel('Quantity').fill('3')
  await press(page, 'Add')
  expect(at(page)).toBe('/user/stocks?done=added')
  expect(await value(page, '#lots', 'present_value')).toBe('600')

  // The price moves: the lot here, total and position on another page, both as they are.
  const { page: overview } = await openSigned('/user')
  await live(page)
  await live(overview)
  await Promise.all([markPage(page), markPage(overview)])
  expect(await value(overview, '#totals', 'gain_loss')).toBe('150')
  set('AAPL', '210.125')
  await refresh('AAPL')
  await expect.poll(() => value(page, '#lots', 'present_value'), SHOWN).toBe('630.375')
  await expect.poll(() => value(overview, '#totals', 'present_value'), SHOWN).toBe('630.375')
  expect(await value(overview, '#open', 'gain_loss_percent')).toBe('40.0833')
  expect(await value(page, '#lots', 'gain_loss')).toBe('180.375')
  expect(await overview.locator('#open data[data-figure=cmp]').textContent()).toBe('210.125')

  // What is added by REST is on both pages at once.
  const added = await overview.evaluate(async () => {
    const body = JSON.stringify({ symbol: 'AAPL', quantity: '1', price: '100.5', traded_at: '2026-02-03' })
    const headers = { 'content-type': 'application/json' }
    return (await fetch('/api/v1/stocks', { method: 'POST', headers, body })).status
  })
  expect(added).toBe(201)
  await expect.poll(() => page.locator('#lots tbody tr').count(), SHOWN).toBe(2)
  await expect.poll(() => text(overview, '[data-count=lots]'), SHOWN).toBe('2 lots')
  await expect.poll(() => value(overview, '#totals', 'present_value'), SHOWN).toBe('840.5')
  expect([await wasNotReloaded(page), await wasNotReloaded(overview)]).toEqual([true, true])
  await checkLayout(overview, 'user')
  await checkLayout(page, 'stocks')

  // A sale, with its preview first.
  await page.locator('#lots tbody tr').last().getByRole('link', { name: 'Sell' }).click()
  await page.getByLabel('Quantity').fill('2')
  await page.getByLabel('Price per share').fill('200')
  await page.getByLabel('Fees').fill('1')
  await press(page, 'Preview')
  expect(await text(page, '#preview [role=status]')).toMatch(/^This sale would realise a gain of 99\.00 USD/)
  await checkLayout(page, 'sell')
  await page.getByLabel('Quantity').fill('30')
  await press(page, 'Sell')
  expect(await page.isVisible('#quantity-error')).toBe(true)
  await page.getByLabel('Quantity').fill('2')
  await press(page, 'Preview')
  await press(page, 'Sell')
  expect(at(page)).toBe('/user/stocks?done=sold')
  await expect.poll(() => value(overview, '#totals', 'realised_gain'), SHOWN).toBe('99')

  // Edited, and other activities.
  await page.locator('#lots tbody tr').first().getByRole('link', { name: 'Edit' }).click()
  await page.getByLabel('Note').fill('the second one')
  await checkLayout(page, 'edit')
  await press(page, 'Save')
  expect(at(page)).toBe('/user/stocks?done=saved')
  expect(await text(page, '#lots tbody tr:first-child .note-text')).toBe('the second one')
  await page.getByRole('link', { name: 'Activities', exact: true }).click()
  await page.getByLabel('Type').selectOption('dividend')
  await page.locator('#symbol').fill('AAPL')
  await page.getByLabel('Quantity').fill('4')
  await page.getByLabel('Price or amount').fill('0.25')
  await expect.poll(() => page.isVisible('#split_numerator'), SHOWN).toBe(false)
  await press(page, 'Add')
  expect(at(page)).toBe('/user/activities?done=added')
  expect(await page.locator('tbody tr').count()).toBe(4)
  await checkLayout(page, 'activities')
  await expect.poll(() => value(overview, '#totals', 'income'), SHOWN).toBe('1')

  // A file, which is looked at first; and all as a file.
  await page.getByRole('link', { name: 'Import and export' }).click()
  await page.locator('#file').setInputFiles('test/fixtures/portfolio/ghostfolio/not-ok/invalid-fee.csv')
  await press(page, 'Preview')
  expect(await text(page, '#errors tbody tr')).toContain('fee')
  expect(await page.getByRole('button', { name: /^Import/ }).count()).toBe(0)
  await checkLayout(page, 'import-wrong')
  await page.locator('#file').setInputFiles('test/fixtures/portfolio/ghostfolio/ok/sample.csv')
  await press(page, 'Preview')
  expect(await text(page, '#preview [role=status]')).toContain('Nothing has been imported')
  await checkLayout(page, 'import')
  await Promise.all([page.waitForEvent('load'), page.getByRole('button', { name: /^Import \d/ }).click()])
  expect(at(page)).toBe('/user/activities?done=imported')
  await expect.poll(() => overview.locator('#open tbody tr').count(), SHOWN).toBe(3)
  expect(await text(overview, '#open')).toContain('Penthouse Apartment')
  await expect.poll(() => overview.locator('#history .plot canvas').count(), SHOWN).toBeGreaterThan(0)
  await checkLayout(overview, 'user-imported')
  await page.getByRole('link', { name: 'Import and export' }).click()
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'CSV' }).click()])
  expect(await readFile(await download.path(), 'utf8')).toContain('Penthouse Apartment')
  await checkLayout(page, 'import-export')

  // Totals in another currency.
  await page.getByRole('link', { name: 'Profile' }).click()
  await page.getByLabel('Currency').fill('EUR')
  await press(page, 'Save')
  await checkLayout(page, 'profile')
  await page.getByRole('link', { name: 'Overview' }).click()
  expect(await text(page, '#totals h2')).toBe('Total in EUR')
  expect(await value(page, '#open tr:has-text("AAPL")', 'present_value')).toBe('336.2')
  await expect.poll(() => text(overview, '#totals h2'), SHOWN).toBe('Total in EUR')

  // Left, and back.
  await press(page, 'Sign out')
  await page.goto(`${server.url}/user`)
  expect(at(page)).toBe('/sign-in?next=%2Fuser')
  await page.getByLabel('Email').fill(EMAIL)
  await page.getByLabel('Password').fill(PASSWORD)
  await press(page, 'Sign in')
  expect(at(page)).toBe('/user')
  // The browser logs each response that is no success: here, forms with errors.
  expect(pageErrors.filter((line) => !/status of 40[09]/.test(line))).toEqual([])
})

test('without JavaScript the portfolio pages show their figures, and the forms work', async () => {
  const { page } = await openSigned('/user', { javaScriptEnabled: false })
  expect(await value(page, '#open tr:has-text("AAPL")', 'present_value')).toBe('336.2')
  expect(await text(page, '#connection')).toBe('not connected')
  await checkLayout(page, 'user-without')
  await page.click('.points summary')
  expect(await page.locator('.points tbody tr').count()).toBeGreaterThan(1)
  await page.goto(`${server.url}/user/stocks?symbol=aapl`)
  expect(await page.locator('#lots tbody tr').count()).toBe(2)
  expect(await value(page, '#lots', 'present_value')).toBe('168.1')

  await page.locator('#symbol').fill('MSFT')
  await page.getByLabel('Quantity').fill('2')
  await page.getByLabel('Price per share').fill('300')
  await page.getByLabel('When (UTC)').fill('2999-01-01T00:00')
  await press(page, 'Add')
  expect(await text(page, '#traded_at-error')).toMatch(/^The date can't be in the future/)
  await page.getByLabel('When (UTC)').fill('2026-01-05T15:30')
  await press(page, 'Add')
  await page.getByRole('link', { name: 'Sell MSFT, 5 Jan 2026' }).click()
  await page.getByLabel('Price per share').fill('310')
  await press(page, 'Preview')
  await press(page, 'Sell')
  expect(at(page)).toBe('/user/stocks?done=sold')

  await page.getByRole('link', { name: 'Activities', exact: true }).click()
  await page.getByLabel('Type').selectOption('split')
  await expect.poll(() => page.isVisible('#quantity'), SHOWN).toBe(false)
  await page.locator('#symbol').fill('AAPL')
  await page.getByLabel('New shares').fill('2')
  await page.getByLabel('for each … old shares').fill('1')
  await press(page, 'Add')
  expect(await text(page, 'tbody')).toContain('2 for 1')
  await page.getByRole('link', { name: /^Delete Split/ }).click()
  await checkLayout(page, 'delete')
  await press(page, 'Delete')
  expect(at(page)).toBe('/user/activities?done=deleted')
  await page.getByRole('link', { name: 'Import and export' }).click()
  await page.locator('#file').setInputFiles('test/fixtures/portfolio/ghostfolio/ok/sample.csv')
  await press(page, 'Preview')
  expect(await text(page, '#preview [role=status]')).toMatch(/0 activities to import, \d duplicates?/)
})
