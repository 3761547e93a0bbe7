import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { manualProduct } from '../../simulators/exchange/products.ts'
import { HISTORY_RANGES } from '../../src/protocol/price-history.ts'
import { collectPageErrors, startBrowser } from '../support/browser.ts'
import { refreshEverySecond, refreshPrices as refreshNow } from '../support/refresh.ts'
import { type KerbServer, startServer } from '../support/server.ts'

/** Longest wait for anything to show: the machine may be busy with the rest of the tests. */
const SHOWN = { timeout: 30_000, interval: 100 }

const KEY = 'a-service-key-of-this-test'

let server: KerbServer
let browser: Browser
const contexts: BrowserContext[] = []

beforeAll(async () => {
  server = await startServer([manualProduct('ONE-USD')], {
    PRODUCTS: 'ONE-USD',
    ALWAYS_ON: 'ONE-USD',
    // A tick of half a second, so that a changed price shows at once.
    QUOTE_REFRESH_TICK_MS: '500',
    PROVIDER_BACKOFF_MIN_MS: '100',
    PROVIDER_BACKOFF_MAX_MS: '500',
    BREAKER_OPEN_MS: '1000',
    YAHOO_PER_MINUTE: '6000',
    SUPABASE_SERVICE_ROLE_KEY: KEY,
  })
  // Open on any day of the week, since a closed market is refreshed only once a minute.
  openMarkets()
  await refreshEverySecond(server)
  await refresh('AAPL', 'MSFT', 'NVDA')
  browser = await startBrowser()
})

afterEach(async () => {
  server.proxy.setOpen(true)
  server.providers.clearFaults()
  server.providers.clearPrices()
  openMarkets()
  await Promise.all(contexts.splice(0).map((context) => context.close()))
})

afterAll(async () => {
  await browser?.close()
  await server?.stop()
})

async function open(path: string, options: BrowserContextOptions = {}): Promise<{ page: Page; said: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
  contexts.push(context)
  const page = await context.newPage()
  const said = collectPageErrors(page)
  await page.goto(server.url + path)
  return { page, said }
}

const text = async (page: Page, selector: string) => ((await page.textContent(selector)) ?? '').trim()
const price = (page: Page) => text(page, '#price')
const connected = (page: Page) => expect.poll(() => text(page, '#connection'), SHOWN).toBe('connected')
const set = (id: string, value: string) => server.providers.setPrice({ provider: 'yahoo', id, price: value })
const openMarkets = () => server.providers.setPrice({ market: '*', market_state: 'open' })

const refresh = (...symbols: string[]) => refreshNow(server, KEY, symbols)

test('Q1 the page shows price, currency, provider and age, and updates itself when the provider’s price changes', async () => {
  set('AAPL', '189.5')
  await refresh('AAPL')
  const { page, said } = await open('/assets/AAPL')
  await connected(page)
  await expect.poll(() => price(page), SHOWN).toBe('189.50')
  expect(await text(page, '.price-line .currency')).toBe('USD')
  expect(await text(page, '#provider')).toContain('Simulated')
  expect(await text(page, '#age')).toMatch(/^(just now|\d+ s ago)$/)
  await page.evaluate(() => Object.assign(window, { stayed: true }))
  set('AAPL', '190.125')
  await expect.poll(() => price(page), SHOWN).toBe('190.125')
  await expect.poll(() => page.title(), SHOWN).toBe('190.125 AAPL · Kerb')
  expect(await page.isVisible('#doubt')).toBe(false)
  expect(await page.evaluate(() => 'stayed' in window)).toBe(true)
  expect(said).toEqual([])
})

test('D2 a page shows a lost connection, reconnects and continues without a reload', async () => {
  set('MSFT', '400')
  await refresh('MSFT')
  const { page } = await open('/assets/MSFT')
  await connected(page)
  await expect.poll(() => price(page), SHOWN).toBe('400.00')
  await page.evaluate(() => Object.assign(window, { stayed: true }))
  server.proxy.setOpen(false)
  await expect.poll(() => text(page, '#connection'), SHOWN).toContain('reconnecting')
  await expect.poll(() => text(page, '#doubt'), SHOWN).toContain('the connection is lost')
  set('MSFT', '401.75')
  server.proxy.setOpen(true)
  await refresh('MSFT')
  await connected(page)
  await expect.poll(() => price(page), SHOWN).toBe('401.75')
  await expect.poll(() => page.isVisible('#doubt'), SHOWN).toBe(false)
  expect(await page.evaluate(() => 'stayed' in window)).toBe(true)
})

test('Q1 a price that cannot be refreshed is marked as stale until the provider is back', async () => {
  set('NVDA', '120')
  await refresh('NVDA')
  const { page } = await open('/assets/NVDA')
  await connected(page)
  await expect.poll(() => price(page), SHOWN).toBe('120.00')
  server.providers.fault({ kind: 'down' })
  await expect.poll(() => page.isVisible('#doubt'), { ...SHOWN, timeout: 60_000 }).toBe(true)
  expect(await text(page, '#doubt')).toMatch(/^Outdated: /)
  expect(await price(page)).toBe('120.00')
  expect(await page.isVisible('.old-price')).toBe(true)
  const { page: fresh } = await open('/assets/NVDA', { javaScriptEnabled: false })
  expect(await text(fresh, '#doubt')).toMatch(/^Outdated: /)
  server.providers.clearFaults()
  set('NVDA', '121')
  await expect.poll(() => price(page), { ...SHOWN, timeout: 60_000 }).toBe('121.00')
  await expect.poll(() => page.isVisible('#doubt'), SHOWN).toBe(false)
})

test('without JavaScript the asset page is complete, and its ranges are links', async () => {
  set('AAPL', '189.5')
  const { page } = await open('/assets/AAPL', { javaScriptEnabled: false })
  expect(await price(page)).toMatch(/^[\d,]+\.\d\d/)
  expect(await text(page, '#facts')).toContain('US0378331005')
  for (const range of HISTORY_RANGES) expect(await page.locator(`.ranges a[href$="range=${range}"]`).count()).toBe(1)
  await page.click('.ranges a[href$="range=1y"]')
  expect(await page.getAttribute('.ranges a[aria-current]', 'href')).toContain('range=1y')
  expect(await text(page, '.coverage')).toMatch(/weekly bars?|daily bars?|No data yet/)
})

test('the search finds assets by symbol and by name without JavaScript, and links to them', async () => {
  const { page } = await open('/assets', { javaScriptEnabled: false })
  await page.fill('#q', 'apple')
  await page.click('.search button')
  expect(await page.inputValue('#q')).toBe('apple')
  await page.click('.assets a.pair:text-is("AAPL")')
  expect(await text(page, 'h1')).toContain('Apple')
  const { page: nothing } = await open('/assets?q=qqqqqqqqqqqq')
  expect(await text(nothing, '.empty')).toContain('qqqqqqqqqqqq')
  const { page: all } = await open('/assets', { javaScriptEnabled: false })
  const first = await text(all, '.assets tbody tr')
  await all.click('a[rel=next]')
  expect(await text(all, '.assets tbody tr')).not.toBe(first)
})

test('an unknown symbol gets an error page', async () => {
  const answer = await (await open('/assets')).page.request.get(`${server.url}/assets/NONESUCH`, {
    headers: { accept: 'text/html' },
  })
  expect([answer.status(), answer.headers()['content-type']]).toEqual([404, 'text/html; charset=UTF-8'])
  expect(await answer.text()).toContain('No such symbol')
})

test('every asset page fits 360 pixels, light and dark', async () => {
  for (const colorScheme of ['light', 'dark'] as const)
    for (const path of [
      '/assets',
      '/assets?q=a',
      '/assets/AAPL?range=1d',
      '/assets/BTC?range=1m',
      '/assets/NONESUCH',
    ]) {
      const { page } = await open(path, { viewport: { width: 360, height: 740 }, colorScheme })
      await page.waitForLoadState('load')
      expect(await page.evaluate(() => document.documentElement.scrollWidth), path).toBe(360)
    }
})
