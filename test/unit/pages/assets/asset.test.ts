import { expect, test } from 'vitest'
import { type AssetPage, ambiguousPage, assetFacts, assetPage } from '../../../../src/pages/assets/asset.ts'
import { assetsPage } from '../../../../src/pages/assets/list.ts'
import { staleReasonLabel, trimFloatNoise } from '../../../../src/pricing/format.ts'
import type { Asset } from '../../../../src/protocol/asset.ts'
import { HISTORY_RANGES } from '../../../../src/protocol/price-history.ts'
import { type Quote, STALE_REASONS } from '../../../../src/protocol/quote.ts'

const NOW = Date.parse('2026-10-05T14:07:30Z')
const site = { exchange: 'coinbase', version: '0.1.0' }

const ASSET: Asset = {
  asset_id: 7,
  symbol: 'AAPL',
  name: 'Apple Inc.',
  type: 'stock',
  category: 'stock',
  code: 'AAPL',
  provider: 'yahoo',
  provider_id: 'AAPL',
  currency: 'USD',
  isin: 'US0378331005',
}

const QUOTE: Quote = {
  asset_id: 7,
  symbol: 'AAPL',
  price: '1189.500001',
  currency: 'USD',
  previous_close: '1188',
  change24h: '0.126',
  market_state: 'open',
  open: '1188.5',
  high: '1190.25',
  low: '1187.75',
  volume: '51200000',
  eps: '6.1',
  pe_ratio: '31.07',
  pe_as_of: '2026-10-05T14:00:00Z',
  provider: 'yahoo',
  as_of: '2026-10-05T14:07:15Z',
  updated_at: '2026-10-05T14:07:20Z',
}

const page = (more: Partial<AssetPage> = {}): AssetPage => ({
  asset: ASSET,
  name: 'AAPL',
  price: { kind: 'quote', quote: QUOTE, freshUntil: NOW + 50_000, stale: null },
  range: '1m',
  history: {
    range: '1m',
    interval: 'ONE_DAY',
    basis: 'split',
    bars: [
      {
        date: '2026-10-02',
        open: '1180',
        high: '1191',
        low: '1179',
        close: '244.52999877929688',
        volume: '5',
        is_complete: true,
      },
      {
        date: '2026-10-05',
        open: '1188.5',
        high: '1190',
        low: '1187',
        close: '1189',
        volume: null,
        is_complete: false,
      },
    ],
    provider: 'yahoo',
    gaps: [],
    loaded: true,
  },
  product: null,
  now: NOW,
  ...more,
})
const render = async (more: Partial<AssetPage> = {}) => String(await assetPage(site, page(more)))
/** The text of a document without its tags. */
const words = (text: string) => text.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ')
const quoted = (more: Partial<Quote>) => ({
  kind: 'quote' as const,
  quote: { ...QUOTE, ...more },
  freshUntil: NOW,
  stale: null,
})

test('Q1 the page says price with every digit, currency, from whom, how old, and how the market is', async () => {
  const text = await render()
  const said = words(text)
  for (const part of [
    'Apple Inc.',
    'AAPL',
    '1,189.500001 USD',
    '+0.13%',
    'since the previous close',
    'Market open',
    '10 s ago',
    'Yahoo Finance',
    '2026-10-05 14:07:15 UTC',
    'Previous close 1,188.00',
    '1,187.75 – 1,190.25',
    'US0378331005',
    'Earnings a share 6.10',
    '31.07 as of 2026-10-05',
  ])
    expect(said).toContain(part)
  expect(text).toMatch(/id="doubt" class="doubt" hidden/)
  expect(text).not.toContain('old-price')
})

test.each(STALE_REASONS)('Q1 a stale price (%s) is marked as outdated, with the reason', async (stale) => {
  const text = await render({ price: { kind: 'quote', quote: QUOTE, freshUntil: NOW - 1, stale } })
  expect(words(text)).toContain(`Outdated: ${staleReasonLabel(stale)}.`)
  expect(text).not.toMatch(/class="doubt" hidden/)
  expect(text).toContain('old-price')
})

test('P3 an asset without a price has a dash and the reason, never 0', async () => {
  const said = words(await render({ price: { kind: 'unpriced', reason: 'rate_limited' }, history: null }))
  expect(said).toContain('No price yet: the provider allows no more requests for now.')
  expect(said).toContain('– USD –')
  expect(said).not.toContain('0.00')
})

test('simulated prices are called made up', async () => {
  expect(words(await render({ price: quoted({ provider: 'simulated' }) }))).toContain(
    'Simulated: made up, not a real price',
  )
})

test('P6 earnings below nothing give no ratio', async () => {
  const said = words(String(await assetFacts(page({ price: quoted({ eps: '-2', pe_ratio: null }) }))))
  expect(said).toContain('P/E n/a: no earnings')
})

test.each([
  ['closed', 'Market closed'],
  ['pre', 'Pre-market'],
  ['post', 'After hours'],
  [null, 'Market hours unknown'],
] as const)('market state %s is said in words', async (market_state, said) => {
  expect(words(await render({ price: quoted({ market_state }) }))).toContain(said)
})

test('every range is a link that works without a script, the present one is marked', async () => {
  const text = await render()
  for (const range of HISTORY_RANGES) expect(text).toContain(`href="/assets/AAPL?range=${range}"`)
  expect(text.match(/aria-current="true"/g)).toHaveLength(1)
  expect(text).toMatch(/range=1m" aria-current="true"/)
})

test('P1 the bars are in the page, for the chart and as a table; the tail of a provider’s float is not shown', async () => {
  const text = await render()
  expect(text).toContain('&quot;c&quot;:244.53,')
  expect(words(text)).toContain('2026-10-02 1,180.00 1,191.00 1,179.00 244.53 5 closed')
  expect(words(text)).toContain('2026-10-05 1,188.50 1,190.00 1,187.00 1,189.00 – so far')
  expect(words(text)).toContain('2 bars of one day, 2026-10-02 to 2026-10-05, from Yahoo Finance, in today’s shares')
})

test('no history yet, history that cannot be read and missing trades are each said', async () => {
  const history = page().history!
  expect(words(await render({ history: { ...history, bars: [] } }))).toContain('No data of 1 month.')
  expect(words(await render({ history: { ...history, bars: [], loaded: false } }))).toContain('No data yet:')
  expect(words(await render({ history: { ...history, loaded: false } }))).toContain('older bars are still being loaded')
  expect(words(await render({ history: null }))).toContain('The history cannot be read at the moment.')
  expect(words(await render({ history: { ...history, gaps: [[0, 60]] } }))).toContain('trades are missing in 1 stretch')
})

test('an asset that is streamed leads to its product', async () => {
  expect(await render({ product: 'BTC-USD' })).toContain('href="/products/BTC-USD"')
  expect(await render()).not.toContain('/products/')
})

test('what a provider sends cannot become markup', async () => {
  const evil = '<script>alert(1)</script>'
  const text = await render({ asset: { ...ASSET, name: evil, type: evil }, price: quoted({ provider: evil }) })
  expect(text).not.toContain('<script>alert')
  const found = { asset: { ...ASSET, name: evil }, quote: null, stale: null }
  const list = await assetsPage(site, { q: `">${evil}`, found: [found], next: null, first: true, now: NOW })
  expect(String(list)).not.toContain('<script>alert')
})

test('an ambiguous name leads to each asset that it may mean, by the name that means it alone', async () => {
  const candidate = { name_for_it: 'yahoo:SHEL.L', symbol: 'SHEL.L', name: 'Shell plc', type: 'stock', currency: 'GBP' }
  const text = String(await ambiguousPage(site, 'SHEL', [candidate]))
  expect(text).toContain('SHEL means several assets')
  expect(text).toContain('href="/assets/yahoo%3ASHEL.L"')
})

test('Q1 found assets stand with price and age; old ones are called old, and no price is a dash', async () => {
  const found = [
    { asset: ASSET, quote: QUOTE, stale: null },
    { asset: { ...ASSET, symbol: 'MSFT', provider_id: 'MSFT' }, quote: QUOTE, stale: 'unavailable' as const },
    { asset: { ...ASSET, symbol: 'TSLA', provider_id: 'TSLA' }, quote: null, stale: null },
  ]
  const text = String(await assetsPage(site, { q: 'a&b', found, next: 'xyz', first: false, now: NOW }))
  const rows = text.split('<tr>').map(words)
  expect(rows.find((row) => row.includes('AAPL'))).toMatch(/1,189\.500001 USD .*10 s ago/)
  expect(rows.find((row) => row.includes('MSFT'))).toContain(', old')
  expect(rows.find((row) => row.includes('TSLA'))).toMatch(/– .*no price/)
  expect(text).toContain('href="/assets?q=a%26b&amp;after=xyz"')
  expect(text).toContain('<form class="search" role="search" action="/assets" method="get">')
})

test.each([
  ['244.52999877929688', '244.53'],
  ['0.000012340000210388796', '0.00001234'],
  ['-1.2000000476837158', '-1.2'],
  ['741234567.8901234', '741234568'],
  ['63627.04', '63627.04'],
  ['0.0000000123', '0.0000000123'],
  ['1234567.891', '1234567.891'],
])('P1 %s is shown as %s', (told, shown) => {
  expect(trimFloatNoise(told)).toBe(shown)
})
