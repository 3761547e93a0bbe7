import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { manualProduct, PRODUCTS } from '../../simulators/exchange/products.ts'
import { GRANULARITIES, GRANULARITY_SECONDS } from '../../src/protocol/granularity.ts'
import { collectPageErrors, startBrowser } from '../support/browser.ts'
import { type KerbServer, startServer } from '../support/server.ts'

/** Longest wait for anything to show: the machine may be busy with the rest of the tests. */
const SHOWN = { timeout: 20_000, interval: 100 }

/** Products that have only the trades of these tests. No test opens the last one. */
const MANUAL = ['ONE-USD', 'TWO-USD', 'THREE-USD', 'FOUR-USD']

let server: KerbServer
let browser: Browser
const contexts: BrowserContext[] = []

beforeAll(async () => {
  server = await startServer([...PRODUCTS, ...MANUAL.map((id) => manualProduct(id))], {
    PRODUCTS: ['BTC-USD', 'NU-USD', ...MANUAL].join(),
    ALWAYS_ON: 'BTC-USD',
  })
  browser = await startBrowser()
})

afterEach(async () => {
  server.proxy.setOpen(true)
  server.exchange.clearFaults()
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

type ShownBar = { t: number; o: number; h: number; l: number; c: number; v: number; rev: number; coverage: string }

/** The bars that the page's chart draws. */
const bars = (page: Page, selector = 'spot-chart'): Promise<ShownBar[]> =>
  page.$eval(selector, (element) => [...((element as unknown as { bars?: ShownBar[] }).bars ?? [])])

const lastClose = async (page: Page) => (await bars(page)).at(-1)?.c
const text = async (page: Page, selector: string) => (await page.textContent(selector)) ?? ''
const live = (page: Page) => expect.poll(() => text(page, '#connection'), SHOWN).toMatch(/^live/)
const trade = (product: string, price: string, time?: number) =>
  server.exchange.trade(product, { price, size: '1', time })

/** How many pixels of the chart's canvases have one of these colours, `rgb` in hexadecimal. */
const pixels = (page: Page, colours: string[]) =>
  page.$eval(
    'spot-chart',
    (element, wanted) => {
      let found = 0
      for (const canvas of element.shadowRoot!.querySelectorAll('canvas')) {
        if (canvas.width === 0 || canvas.height === 0) continue
        const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height)
        for (let i = 0; i < data.length; i += 4) {
          const colour = ((data[i]! << 16) | (data[i + 1]! << 8) | data[i + 2]!).toString(16).padStart(6, '0')
          if (data[i + 3] === 255 && wanted.includes(colour)) found++
        }
      }
      return found
    },
    colours,
  )

test('C11 the page draws its history at first paint, and a trade updates the last candle', async () => {
  const now = Date.now()
  for (let minute = 30; minute > 0; minute--) trade('ONE-USD', String(100 + (minute % 7) / 4), now - minute * 60_000)
  const { page, said } = await open('/products/ONE-USD')
  await live(page)
  await expect.poll(async () => (await bars(page)).length, SHOWN).toBeGreaterThanOrEqual(30)
  await expect.poll(() => pixels(page, ['0f8a67', 'cf3f36']), SHOWN).toBeGreaterThan(200)

  const { page: again, said: saidAgain } = await open('/products/ONE-USD')
  const written = await again.$eval('spot-chart canvas', (canvas) => (canvas as HTMLElement).dataset.candles!)
  expect(JSON.parse(written).length).toBeGreaterThanOrEqual(30)
  await live(again)
  trade('ONE-USD', '101.5')
  await expect.poll(() => lastClose(again), SHOWN).toBe(101.5)
  trade('ONE-USD', '102.25')
  await expect.poll(() => lastClose(again), SHOWN).toBe(102.25)
  await expect.poll(() => text(again, '#price'), SHOWN).toBe('102.25')
  await expect.poll(() => again.title(), SHOWN).toBe('102.25 ONE-USD · Kerb')
  expect([...said, ...saidAgain]).toEqual([])
})

test('every granularity can be chosen without a reload, and its chart updates', async () => {
  const { page, said } = await open('/products/ONE-USD')
  await live(page)
  trade('ONE-USD', '103')
  await expect.poll(() => lastClose(page), SHOWN).toBe(103)
  await page.evaluate(() => Object.assign(window, { stayed: true }))
  for (const [index, granularity] of GRANULARITIES.entries()) {
    await page.click(`.granularities a[data-granularity=${granularity}]`)
    await expect.poll(() => page.getAttribute('spot-chart', 'data-granularity'), SHOWN).toBe(granularity)
    await live(page)
    const price = 104 + index / 4
    trade('ONE-USD', String(price))
    await expect.poll(() => lastClose(page), SHOWN).toBe(price)
    for (const { t } of await bars(page)) expect(t % GRANULARITY_SECONDS[granularity]).toBe(0)
    await expect.poll(() => new URL(page.url()).searchParams.get('granularity'), SHOWN).toBe(granularity)
    expect(await page.getAttribute('.granularities a[aria-current]', 'data-granularity')).toBe(granularity)
  }
  expect(await page.evaluate(() => 'stayed' in window)).toBe(true)
  expect(said).toEqual([])
})

test('D2 after a dropped connection the chart equals the chart of a fresh page, without a missing or repeated bar', async () => {
  const now = Date.now()
  const { page } = await open('/products/TWO-USD')
  await live(page)
  trade('TWO-USD', '50', now - 300_000)
  trade('TWO-USD', '51', now - 120_000)
  trade('TWO-USD', '52')
  await expect.poll(() => lastClose(page), SHOWN).toBe(52)
  const before = await bars(page)

  server.proxy.setOpen(false)
  await expect.poll(() => text(page, '#connection'), SHOWN).toContain('reconnecting')
  // Missed meanwhile: a candle that was not there, one that is revised, and the newest.
  trade('TWO-USD', '48', now - 240_000)
  trade('TWO-USD', '55', now - 120_000)
  trade('TWO-USD', '53')
  server.proxy.setOpen(true)
  await live(page)
  await expect.poll(() => lastClose(page), SHOWN).toBe(53)

  const { page: fresh } = await open('/products/TWO-USD')
  await live(fresh)
  await expect
    .poll(async () => JSON.stringify(await bars(page)) === JSON.stringify(await bars(fresh)), SHOWN)
    .toBe(true)
  const after = await bars(page)
  expect(after.map(({ t }) => t)).toEqual([...new Set(after.map(({ t }) => t))].sort((a, b) => a - b))
  expect(after.length).toBeGreaterThan(before.length)
  expect(after.map(({ c }) => c)).toEqual(expect.arrayContaining([48, 55, 53]))
  expect(Math.max(...after.map(({ rev }) => rev))).toBeGreaterThan(0)
})

test('D2 a position that cannot be resumed is replaced by the current state', async () => {
  const { page } = await open('/products/TWO-USD')
  await live(page)
  trade('TWO-USD', '60')
  await expect.poll(() => lastClose(page), SHOWN).toBe(60)
  await page.$eval('spot-chart', (element) => element.setAttribute('data-position', 'another-1'))
  trade('TWO-USD', '61')
  await live(page)
  await expect.poll(() => lastClose(page), SHOWN).toBe(61)
  const { page: fresh } = await open('/products/TWO-USD')
  await expect
    .poll(async () => JSON.stringify(await bars(page)) === JSON.stringify(await bars(fresh)), SHOWN)
    .toBe(true)
})

test('C8 the page distinguishes a lost feed from a quiet market and labels simulated prices', async () => {
  const { page } = await open('/products/THREE-USD')
  // No trade so far: the feed lives, the market is quiet.
  await expect.poll(() => text(page, '#connection'), SHOWN).toBe('live, quiet market')
  await expect.poll(() => text(page, '#facts'), SHOWN).toContain('Quiet market')
  expect(await text(page, '.badge')).toContain('Simulated')
  server.exchange.fault({ kind: 'refuse', ms: 600_000 })
  server.exchange.fault({ kind: 'close', code: 1011, product: 'THREE-USD' })
  await expect.poll(() => text(page, '#connection'), SHOWN).toMatch(/feed is disconnected|feed opening/)
  server.exchange.clearFaults()
  await live(page)
})

test('the list follows the products whose feed is open, and opens no feed itself', async () => {
  const { page: one } = await open('/products/ONE-USD')
  await live(one)
  trade('ONE-USD', '110')
  const { page, said } = await open('/')
  await expect.poll(() => text(page, '#price-ONE-USD'), SHOWN).toBe('110.00')
  trade('ONE-USD', '111.125')
  await expect.poll(() => text(page, '#price-ONE-USD'), SHOWN).toBe('111.125')
  expect(await page.getAttribute('#ONE-USD-ONE_DAY', 'data-close')).toBe('111.125')
  expect(await text(page, '#as-of-ONE-USD')).toBe('live')
  expect(await text(page, '#row-NU-USD')).toContain('offline')
  const { page: offline } = await open('/products/NU-USD')
  expect(await text(offline, '#connection')).toBe('not traded now')
  const subscribed = server.exchange.subscriptions.flatMap(({ product_ids }) => product_ids)
  expect(subscribed).toContain('ONE-USD')
  for (const id of ['FOUR-USD', 'NU-USD']) expect(subscribed).not.toContain(id)
  expect(said).toEqual([])
})

test('a page that applies the patches of /api/v1/datastar/chart shows a chart that updates', async () => {
  const { page: one } = await open('/products/ONE-USD')
  await live(one)
  trade('ONE-USD', '120')
  const { page, said } = await open('/')
  await page.addScriptTag({ url: '/app/elements.js', type: 'module' })
  await page.evaluate(() => {
    const chart = Object.assign(document.createElement('spot-chart'), { id: 'chart-ONE-USD-FIVE_MINUTES' })
    document.querySelector('main')!.append(chart)
    const stream = new EventSource('/api/v1/datastar/chart?product=ONE-USD&granularity=FIVE_MINUTES')
    // As Datastar morphs: the element stays, and takes the attributes and children of the patch.
    stream.addEventListener('datastar-patch-elements', ({ data }) => {
      const html = (data as string).replaceAll(/^elements /gm, '')
      const patch = new DOMParser().parseFromString(html, 'text/html').body.firstElementChild!
      const known = document.getElementById(patch.id)!
      for (const { name, value } of patch.attributes) known.setAttribute(name, value)
      known.replaceChildren(...patch.childNodes)
    })
  })
  const chart = '#chart-ONE-USD-FIVE_MINUTES'
  await expect.poll(async () => (await bars(page, chart)).at(-1)?.c, SHOWN).toBe(120)
  trade('ONE-USD', '121')
  await expect.poll(async () => (await bars(page, chart)).at(-1)?.c, SHOWN).toBe(121)
  await expect.poll(() => pixels(page, ['0f8a67', 'cf3f36']), SHOWN).toBeGreaterThan(0)
  expect(said).toEqual([])
})

test('every page fits 360 pixels, light and dark', async () => {
  for (const colorScheme of ['light', 'dark'] as const)
    for (const path of ['/', '/products/BTC-USD', '/products/NO-SUCH']) {
      const { page } = await open(path, { viewport: { width: 360, height: 740 }, colorScheme })
      await page.waitForLoadState('load')
      expect(await page.evaluate(() => document.documentElement.scrollWidth), path).toBe(360)
      const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor)
      expect(background).toBe(colorScheme === 'light' ? 'rgb(246, 247, 249)' : 'rgb(14, 16, 19)')
      if (path !== '/products/BTC-USD') continue
      const colours = colorScheme === 'light' ? ['0f8a67', 'cf3f36'] : ['2fb38a', 'ef6a5f']
      await expect.poll(() => pixels(page, colours), SHOWN).toBeGreaterThan(20)
    }
})

test('D6 an unknown page and an invalid request get an error page', async () => {
  const { page } = await open('/products/NO-SUCH')
  expect(await text(page, 'h1')).toBe('No such product')
  const answer = async (path: string) => {
    const response = await page.request.get(server.url + path, { headers: { accept: 'text/html' } })
    return [response.status(), response.headers()['content-type']]
  }
  expect(await answer('/products/NO-SUCH')).toEqual([404, 'text/html; charset=UTF-8'])
  expect(await answer('/products/BTC-USD?granularity=TEN_YEARS')).toEqual([400, 'text/html; charset=UTF-8'])
  expect(await answer('/nowhere')).toEqual([404, 'text/html; charset=UTF-8'])
})

test('without JavaScript the pages show prices and links work', async () => {
  const { page } = await open('/products/BTC-USD?granularity=ONE_HOUR', { javaScriptEnabled: false })
  expect(await text(page, '#price')).toMatch(/^[\d,]+\.\d\d/)
  await page.click('.granularities a[data-granularity=FIVE_MINUTES]')
  expect(await page.getAttribute('spot-chart', 'data-granularity')).toBe('FIVE_MINUTES')
})
