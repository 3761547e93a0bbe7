import { expect, test } from 'vitest'
import { feedText } from '../../../../src/pages/market/feed-labels.ts'
import { listPage, price24hAgo } from '../../../../src/pages/market/list.ts'
import { productPage } from '../../../../src/pages/market/product.ts'
import { layout, type Page } from '../../../../src/pages/site/layout.ts'
import { direction, formatAge, formatAgo, formatPercent, formatPrice } from '../../../../src/pricing/format.ts'
import type { Candle } from '../../../../src/protocol/candle.ts'
import type { Product, ProductStatus } from '../../../../src/protocol/product.ts'

const NOW = Date.parse('2026-10-05T14:07:30Z')
const site = { exchange: 'simulated', version: '0.1.0' }

const render = async (page: Page): Promise<string> => String(await layout(site, page))

const product = (more: Partial<Product> = {}): Product => ({
  exchange: 'simulated',
  product_id: 'BTC-USD',
  base_currency: 'BTC',
  quote_currency: 'USD',
  status: 'online',
  min_size: null,
  max_size: null,
  active: true,
  price: '67412.1',
  price_at: '2026-10-05T14:04:00Z',
  change_24h: '25',
  price_source: 'rest',
  ...more,
})

const status = (feed: Partial<ProductStatus['feed']> = {}, lastTradeAgo: number | null = 1_000): ProductStatus => ({
  product_id: 'BTC-USD',
  exchange: 'simulated',
  feed: { state: 'live', since: NOW - 60_000, lastMessageAt: NOW - 500, reconnects: 0, reason: null, ...feed },
  viewers: 1,
  position: 'e-1',
  last: lastTradeAgo === null ? null : { price: '1', time: new Date(NOW - lastTradeAgo).toISOString() },
  unflushed: 0,
  flushFailures: 0,
  trades: { socket: 0, rest: 0 },
  dropped: {},
  counters: {
    since: NOW - 60_000,
    messages: 0,
    holes: 0,
    backfill: { pages: 0, refused: 0 },
    reconciliations: 0,
    reconnects: {},
    refused: { exchange: 0, slots: 0 },
    sockets: 1,
    conflations: 0,
    closedReaders: { slow: 0, silent: 0 },
  },
})

const candle = (timestamp: number, more: Partial<Candle> = {}): Candle => ({
  exchange: 'simulated',
  product_id: 'BTC-USD',
  granularity: 'ONE_MINUTE',
  timestamp,
  open: '1',
  high: '2',
  low: '0.5',
  close: '1.5',
  volume: '12.000000000000000001',
  is_complete: true,
  coverage: 'full',
  rev: 0,
  last_update: '2026-10-05T14:07:00Z',
  source: 'trades',
  ...more,
})

const page = (candles: Candle[], more: Partial<Product> = {}) =>
  render(
    productPage({
      product: product(more),
      status: status(),
      now: NOW,
      granularity: 'ONE_MINUTE',
      candles,
      gaps: [[60, 90]],
      position: 'e-17',
      isComplete: true,
    }),
  )

test('C3 prices have all their digits, with thousands separators', () => {
  expect(formatPrice('67412.1')).toBe('67,412.10')
  expect(formatPrice('1234567')).toBe('1,234,567.00')
  expect(formatPrice('0.00001234')).toBe('0.00001234')
})

test('P3 an unknown change is a dash, never 0', () => {
  expect([formatPercent('1.234'), formatPercent('-0.004'), formatPercent('-2'), formatPercent(null)]).toEqual([
    '+1.23%',
    '+0.00%',
    '−2.00%',
    '–',
  ])
  expect([direction('1'), direction('-1'), direction('0'), direction(null)]).toEqual(['up', 'down', 'flat', 'flat'])
  expect(price24hAgo(product({ price: '125', change_24h: '25' }))).toBe(100)
  expect(price24hAgo(product({ change_24h: null }))).toBeNull()
})

test('ages are shown in the largest whole unit', () => {
  expect([999, 8_000, 190_000, 7_300_000, 200_000_000].map(formatAgo)).toEqual([
    'just now',
    '8 s ago',
    '3 min ago',
    '2 h ago',
    '2 d ago',
  ])
  expect(formatAge(-5_000)).toBe('0 s')
})

test('C8 a quiet market and a dead feed have different labels', () => {
  expect(feedText(status(), NOW)).toMatchObject({ tone: 'good', title: 'Live' })
  expect(feedText(status({}, 600_000), NOW)).toMatchObject({ tone: 'quiet', title: 'Quiet market' })
  expect(feedText(status({ state: 'silent', lastMessageAt: NOW - 12_000 }), NOW)).toEqual({
    tone: 'bad',
    title: 'No data',
    detail: 'connected, but last message 12 s ago',
  })
  expect(feedText(status({ state: 'waiting', reason: 'closed with 1006' }), NOW).detail).toContain('closed with 1006')
})

test('Q1 a price that is not live has its age, and a pair that is not traded has its status', async () => {
  const text = await render(listPage([product(), product({ product_id: 'NU-USD', status: 'offline' })], NOW))
  expect(text).toContain('3 min ago')
  expect(text).toContain('<span class="chip">offline</span>')
  expect(text).toContain('Simulated')
})

test('C11 the chart contains its history, its stream position, and the marks of bars that are incomplete or not final', async () => {
  const text = await page([
    candle(60, { coverage: 'gap' }),
    candle(120, { coverage: 'partial' }),
    candle(180, { rev: 2 }),
    candle(240, { is_complete: false }),
  ])
  expect(text).toContain('data-position="e-17"')
  expect(text).toContain('data-gaps="[[60,90]]"')
  const marks = { partial: [120], gap: [60], forming: [240], revised: [[180, 2]] }
  expect(text).toContain(`data-marks="${JSON.stringify(marks).replaceAll('"', '&quot;')}"`)
  expect(text).toContain('"v":12.000000000000000001')
})

test('a pair that is not traded has history but no stream', async () => {
  expect(await page([candle(60)], { status: 'delisted' })).toContain('data-position=""')
})

test('text from an exchange cannot become markup', async () => {
  const evil = '<script>alert(1)</script>'
  const text = await page([candle(60)], { base_currency: evil, quote_currency: '"><img src=x onerror=y>' })
  expect(text).not.toContain('<script>alert')
  expect(text).not.toContain('<img')
  expect(await render(listPage([product({ base_currency: evil, status: evil })], NOW))).not.toContain('<script>a')
})
