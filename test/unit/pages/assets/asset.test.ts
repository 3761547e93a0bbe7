import { expect, test } from 'vitest'
import { type AssetPage, ambiguousPage, assetFacts, assetPage } from '../../../../src/pages/assets/asset.ts'
import { assetsPage } from '../../../../src/pages/assets/list.ts'
import { layout } from '../../../../src/pages/site/layout.ts'
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
  quote: QUOTE,
  ttl: 60_000,
  stale: null,
  range: '1m',
  history: {
    range: '1m',
    interval: 'ONE_DAY',
    basis: 'split',
    currency: 'USD',
    actionsVersion: '',
    lastDate: null,
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
const render = async (more: Partial<AssetPage> = {}) => String(await layout(site, assetPage(page(more))))
/** The text of a document without its tags. */
const words = (text: string) => text.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ')
const quoted = (more: Partial<Quote>) => ({ quote: { ...QUOTE, ...more } })

test('Q1 the page shows the price with every digit, its currency, source and age, and the state of the market', async () => {
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
    'EPS 6.10',
    '31.07 as of 2026-10-05',
  ])
    expect(said).toContain(part)
  expect(text).toMatch(/id="doubt" class="doubt" hidden/)
  expect(text).not.toContain('old-price')
})

test.each(STALE_REASONS)('Q1 a stale price (%s) is marked as outdated, with the reason', async (stale) => {
  const text = await render({ stale })
  expect(words(text)).toContain(`Outdated: ${staleReasonLabel(stale)}.`)
  expect(text).not.toMatch(/class="doubt" hidden/)
  expect(text).toContain('old-price')
})

test('P3 an asset without a price has a dash and the reason, never 0', async () => {
  const said = words(await render({ quote: null, stale: 'rate_limited', history: null }))
  expect(said).toContain('No price yet: the provider allows no more requests for now.')
  expect(said).toContain('– USD –')
  expect(said).not.toContain('0.00')
})

test('simulated prices are labelled', async () => {
  expect(words(await render(quoted({ provider: 'simulated' })))).toContain('Simulated price')
})

test('P6 negative earnings give no price/earnings ratio', async () => {
  const said = words(String(await assetFacts(page(quoted({ eps: '-2', pe_ratio: null })))))
  expect(said).toContain('P/E n/a: no earnings')
})

test.each([
  ['closed', 'Market closed'],
  ['pre', 'Pre-market'],
  ['post', 'After hours'],
  [null, 'Market hours unknown'],
] as const)('the market state %s is shown as %s', async (market_state, said) => {
  expect(words(await render(quoted({ market_state })))).toContain(said)
})

test('every range is a link that works without a script, and the current one is marked', async () => {
  const text = await render()
  for (const range of HISTORY_RANGES) expect(text).toContain(`href="/assets/AAPL?range=${range}"`)
  expect(text.match(/aria-current="true"/g)).toHaveLength(1)
  expect(text).toMatch(/range=1m" aria-current="true"/)
})

test('P1 the page has the bars for the chart and as a table, without the noise of a provider’s floats', async () => {
  const text = await render()
  expect(text).toContain('&quot;c&quot;:244.53,')
  expect(words(text)).toContain('2026-10-02 1,180.00 1,191.00 1,179.00 244.53 5 closed')
  expect(words(text)).toContain('2026-10-05 1,188.50 1,190.00 1,187.00 1,189.00 – in progress')
  expect(words(text)).toContain('2 daily bars · 2 – 5 Oct 2026 · Yahoo Finance · split-adjusted')
})

test('an empty history, an unavailable history and missing trades have a text each', async () => {
  const history = page().history!
  expect(words(await render({ history: { ...history, bars: [] } }))).toContain('No data for 1 month.')
  expect(words(await render({ history: { ...history, bars: [], loaded: false } }))).toContain('No data yet.')
  expect(words(await render({ history: { ...history, loaded: false } }))).toContain('older bars are still loading')
  expect(words(await render({ history: null }))).toContain('Price history is unavailable right now.')
  expect(words(await render({ history: { ...history, gaps: [[0, 60]] } }))).toContain('trades missing in 1 period')
})

test('a streamed asset links to its product', async () => {
  expect(await render({ product: 'BTC-USD' })).toContain('href="/products/BTC-USD"')
  expect(await render()).not.toContain('/products/')
})

test('text from a provider cannot become markup', async () => {
  const evil = '<script>alert(1)</script>'
  const text = await render({ asset: { ...ASSET, name: evil, type: evil }, ...quoted({ provider: evil }) })
  expect(text).not.toContain('<script>alert')
  const found = { asset: { ...ASSET, name: evil }, quote: null, stale: null }
  const list = assetsPage({ q: `">${evil}`, found: [found], next: null, first: true, now: NOW })
  expect(String(await layout(site, list))).not.toContain('<script>alert')
})

test('an ambiguous name links to each matching asset by its unambiguous name', async () => {
  const candidate = { name_for_it: 'yahoo:SHEL.L', symbol: 'SHEL.L', name: 'Shell plc', type: 'stock', currency: 'GBP' }
  const text = String(await layout(site, ambiguousPage('SHEL', [candidate])))
  expect(text).toContain('Several assets match SHEL')
  expect(text).toContain('href="/assets/yahoo%3ASHEL.L"')
})

test('Q1 search results have price and age; stale prices are labelled, and no price is a dash', async () => {
  const found = [
    { asset: ASSET, quote: QUOTE, stale: null },
    { asset: { ...ASSET, symbol: 'MSFT', provider_id: 'MSFT' }, quote: QUOTE, stale: 'unavailable' as const },
    { asset: { ...ASSET, symbol: 'TSLA', provider_id: 'TSLA' }, quote: null, stale: null },
  ]
  const text = String(await layout(site, assetsPage({ q: 'a&b', found, next: 'xyz', first: false, now: NOW })))
  const rows = text.split('<tr>').map(words)
  expect(rows.find((row) => row.includes('AAPL'))).toMatch(/1,189\.500001 USD .*10 s ago/)
  expect(rows.find((row) => row.includes('MSFT'))).toContain(', outdated')
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
])('P1 %s is shown as %s', (exact, shown) => {
  expect(trimFloatNoise(exact)).toBe(shown)
})
