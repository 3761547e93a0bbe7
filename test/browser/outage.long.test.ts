import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { Fault } from '../../simulators/exchange/faults.ts'
import { manualProduct } from '../../simulators/exchange/products.ts'
import type { Bar } from '../../src/client/elements/series.ts'
import { candleKey, foldCandles, startOfMinute } from '../faults/fold.ts'
import { startBrowser } from '../support/browser.ts'
import { type KerbServer, startServer } from '../support/server.ts'

/** Market milliseconds per millisecond: ten minutes of the market are ten seconds here. */
const SPEED = 60
const MINUTE = 60_000

/** Products that have only the trades of these tests. */
const MANUAL = ['ONE-USD', 'TWO-USD']

/** Milliseconds of the machine. Longest wait for anything to show, be loaded or be healed. */
const SHOWN = { timeout: 20_000, interval: 50 }

/** Market time between two batches of trades, and the trades of one: an outage has many more than a snapshot holds. */
const BATCH_MS = 15_000
const BATCH_TRADES = 12

/** Market milliseconds. What is a race against this machine, or against a page's own timers, gets more time. */
const SETTINGS = {
  FEED_CONNECT_TIMEOUT_MS: SPEED * 2_000,
  FEED_SILENCE_TIMEOUT_MS: SPEED * 500,
  ACK_TIMEOUT_MS: SPEED * 60_000,
  CONNECTION_IDLE_TIMEOUT_MS: SPEED * 600_000,
}

let server: KerbServer
let browser: Browser
const contexts: BrowserContext[] = []

beforeAll(async () => {
  const settings = Object.entries(SETTINGS).map(([name, value]) => [name, String(value)])
  server = await startServer(
    MANUAL.map((id) => manualProduct(id)),
    { PRODUCTS: MANUAL.join(), ALWAYS_ON: MANUAL.join(), ...Object.fromEntries(settings) },
    // Pages and API go by the machine's clock: the market begins hours behind it, so that none of it lies in their future.
    { speed: SPEED, anchor: Date.now() + 300_000 },
  )
  browser = await startBrowser()
})

afterEach(async () => {
  server.exchange.clearFaults()
  await Promise.all(contexts.splice(0).map((context) => context.close()))
})

afterAll(async () => {
  await browser?.close()
  await server?.stop()
})

async function open(product: string): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } })
  contexts.push(context)
  const page = await context.newPage()
  await page.goto(`${server.url}/products/${product}?granularity=ONE_MINUTE`)
  await expect.poll(() => connection(page), SHOWN).toMatch(LIVE)
  return page
}

const LIVE = /^live/
const text = async (page: Page, selector: string) => (await page.textContent(selector)) ?? ''
const connection = (page: Page) => text(page, '#connection')

/** The bars that the page's chart draws. */
const bars = (page: Page): Promise<Bar[]> =>
  page.$eval('spot-chart', (element) => [...((element as unknown as { bars?: Bar[] }).bars ?? [])])

/** The market's clock, and waiting for it; unix milliseconds. */
const now = () => server.exchange.now()
const until = (at: number) => new Promise((done) => setTimeout(done, Math.max(0, at - now()) / SPEED))

let traded = 0

/** Trades of the last second in one message; prices and sizes are such that no candle equals its neighbour. */
function trade(product: string) {
  const end = now()
  const trades = Array.from({ length: BATCH_TRADES }, (_, index) => {
    const price = (100 + ((traded * 37) % 101) / 4 + Math.floor(traded / 50)).toFixed(2)
    const size = `0.${1 + (traded++ % 7)}`
    return { product, price, size, time: end - (BATCH_TRADES - 1 - index) * 50 }
  })
  return server.exchange.tick(trades).at(-1)!
}

/** Sends trades of the product until `end` of the market's clock; every fifth minute has none. */
async function tradeUntil(product: string, end: number, onBatch?: () => Promise<unknown>): Promise<void> {
  while (now() + BATCH_MS < end) {
    if (Math.floor(now() / MINUTE) % 5 !== 0) trade(product)
    await Promise.all([until(now() + BATCH_MS), onBatch?.()])
  }
  await until(end)
}

/** The candles of every past minute, by the decimal fold of all trades. */
function expectedBars(product: string) {
  const trades = server.exchange.sent(product, 0, now())
  const candles = foldCandles(trades, 0, Math.floor(now() / MINUTE) * 60)
  return [...new Set(trades.map(startOfMinute))]
    .sort((a, b) => a - b)
    .flatMap((t) => {
      const candle = candles.get(candleKey('ONE_MINUTE', t))
      if (!candle) return []
      const [o, h, l, c, v] = [candle.open, candle.high, candle.low, candle.close, candle.volume].map(Number)
      return [{ t, o, h, l, c, v }]
    })
}

const numbers = (list: readonly Bar[]) => list.map(({ t, o, h, l, c, v }) => ({ t, o, h, l, c, v }))

/** An outage of so many market minutes, started by `fault`, with an open page. */
async function outage(product: string, minutes: number, fault: Fault): Promise<void> {
  const { exchange } = server
  trade(product)
  const page = await open(product)
  await tradeUntil(product, now() + 3 * MINUTE)
  const before = trade(product)
  await expect.poll(async () => (await bars(page)).at(-1)?.c, SHOWN).toBe(Number(before.price))

  const ms = minutes * MINUTE
  exchange.fault({ kind: 'rest', answer: '500', forMs: ms })
  const refused = exchange.fault({ kind: 'refuse', ms })
  const last = trade(product)
  const began = now()
  expect(exchange.fault(fault).hits).toBe(1)
  await expect.poll(() => connection(page), SHOWN).not.toMatch(LIVE)
  expect(now() - began).toBeLessThan(ms / 2)
  const shownStates = new Set<string>()
  await tradeUntil(product, began + ms - MINUTE / 2, async () => shownStates.add(await connection(page)))
  const during = await bars(page)
  const facts = await text(page, '#facts')
  expect(now()).toBeLessThan(began + ms)
  // The page received no trades of the outage, and never claimed to be live.
  expect([...shownStates].filter((words) => LIVE.test(words))).toEqual([])
  expect(shownStates).toContain('connected, but the feed is disconnected')
  expect(facts).toMatch(/Feed disconnected|Connecting/)
  expect(refused.hits).toBeGreaterThan(0)
  expect(during.at(-1)).toMatchObject({ t: startOfMinute(last), c: Number(last.price), coverage: 'gap' })

  await tradeUntil(product, began + ms + 2 * MINUTE)
  // No trades until the last minute has ended, so that the page no longer changes.
  await until(now() + MINUTE)
  const whole = expectedBars(product)
  const missed = whole.filter(({ t }) => t * 1000 >= began && t * 1000 + MINUTE <= began + ms)
  expect(missed.length).toBeGreaterThanOrEqual(minutes / 2)
  await expect.poll(async () => numbers(await bars(page)), SHOWN).toEqual(whole)
  await expect
    .poll(async () => (await bars(page)).filter((bar) => bar.coverage !== 'full' || !bar.complete), SHOWN)
    .toEqual([])
  await expect.poll(() => connection(page), SHOWN).toMatch(LIVE)
  await expect.poll(() => text(page, '#coverage'), SHOWN).toMatch(/no missing trades$/)
  const healed = exchange.requests.filter(
    ({ at, path }) => at > began && path.startsWith(`/products/${product}/trades`),
  )
  expect(healed.at(-1)?.status).toBe(200)

  const fresh = await open(product)
  const shown = await bars(page)
  expect(await bars(fresh)).toEqual(shown)
  expect(numbers(shown)).toEqual(whole)
  const answer = await page.request.get(`${server.url}/api/v1/products/${product}/candles?granularity=ONE_MINUTE`)
  expect((await answer.json()).gaps).toEqual([])
}

test('C8 C9 C11 after ten minutes without the exchange, the open page equals a fresh one and the trades', () =>
  outage('ONE-USD', 10, { kind: 'close', code: 1011, product: 'ONE-USD' }))

test('C8 C9 C11 after a silent connection and five minutes without another, the open page equals a fresh one and the trades', () =>
  outage('TWO-USD', 5, { kind: 'silent', ms: 5 * MINUTE, product: 'TWO-USD' }))
