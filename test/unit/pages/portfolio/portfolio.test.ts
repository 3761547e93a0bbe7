import { describe, expect, test } from 'vitest'
import { activitiesPage, activityPage, deletePage, formValues } from '../../../../src/pages/portfolio/activities.ts'
import { formatTimeInput, parseTimeInput, sellPage } from '../../../../src/pages/portfolio/lot-forms.ts'
import { lotsPage } from '../../../../src/pages/portfolio/lots.ts'
import { userPage } from '../../../../src/pages/portfolio/overview.ts'
import { EMPTY_FORM, type FormState } from '../../../../src/pages/site/form.ts'
import { layout, type Page } from '../../../../src/pages/site/layout.ts'
import { figureDirection, formatFigure, incompleteNotice } from '../../../../src/portfolio/format.ts'
import type { ActivityView, Sale } from '../../../../src/protocol/activity.ts'
import type { LotView, Position, Totals } from '../../../../src/protocol/portfolio.ts'
import type { Profile } from '../../../../src/protocol/profile.ts'
import type { ValueHistory } from '../../../../src/protocol/value-history.ts'

const SITE = { exchange: 'simulated', version: '1' }
const html = async (page: Page): Promise<string> => String(await layout(SITE, page))
const EVIL = `"><script>alert(1)</script>'&`

const profile: Profile = {
  user_id: '6f9619ff-8b86-4d11-b42d-00c04fc964ff',
  name: EVIL,
  email: `a${EVIL}@example.com`,
  currency: 'EUR',
  refresh_interval_seconds: null,
  created_at: '2026-11-21T09:00:00Z',
  updated_at: '2026-11-21T09:00:00Z',
}

const position: Position = {
  asset_id: 7,
  symbol: 'AAPL',
  name: `Apple ${EVIL}`,
  type: 'stock',
  quantity: '3',
  lots: 2,
  currency: 'EUR',
  cmp: '190.125',
  cmp_currency: 'USD',
  rate: '0.8620689655172414',
  average_cost: '150.3333333333',
  invested: '451',
  present_value: '491.7025862068965635',
  gain_loss: '40.7025862068965635',
  gain_loss_percent: '9.025',
  day_change: '-1.25',
  day_change_percent: '-0.2536',
  realised_gain: '0',
  income: '2.5',
  expenses: '0',
  pe_ratio: '29.51',
  pe_as_of: '2026-09-27T00:00:00Z',
  market_state: 'open',
  as_of: '2026-11-21T15:00:00Z',
  updated_at: '2026-11-21T15:00:01Z',
  stale: null,
}

const unknown: Position = {
  ...position,
  asset_id: 8,
  symbol: 'XYZ',
  cmp: null,
  rate: null,
  present_value: null,
  gain_loss: null,
  gain_loss_percent: null,
  day_change: null,
  day_change_percent: null,
  pe_ratio: null,
  pe_as_of: null,
  stale: 'no_rate',
}
const closed: Position = { ...unknown, asset_id: 9, symbol: 'OLD', quantity: '0', lots: 0, realised_gain: '12.3456' }
const apart: Position = { ...closed, asset_id: 0, symbol: '', name: '', realised_gain: '0', expenses: '4.2' }

const portfolio: Totals = {
  currency: 'EUR',
  version: 4,
  positions: 2,
  invested: '902',
  present_value: '491.7025862068965635',
  gain_loss: '40.7025862068965635',
  gain_loss_percent: '9.025',
  day_change: '-1.25',
  day_change_percent: '-0.2536',
  realised_gain: '12.3456',
  income: '2.5',
  expenses: '4.2',
  incomplete: true,
  missing: ['XYZ'],
}

const lot: LotView = {
  id: '0198f5c4-0000-7000-8000-000000000001',
  asset_id: 7,
  symbol: 'AAPL',
  quantity: '3',
  opened_quantity: '5.5',
  price: '150.3333333333',
  fees: '0',
  currency: 'USD',
  traded_at: '2026-01-31T14:30:00.123456Z',
  cost: '451',
  note: EVIL,
  version: 2,
  invested: '451',
  present_value: '491.7025862068965635',
  gain_loss: '40.7025862068965635',
  gain_loss_percent: '9.025',
  day_change: null,
}

const activity: ActivityView = {
  id: lot.id,
  kind: 'buy',
  asset_id: 7,
  symbol: 'AAPL',
  name: EVIL,
  quantity: '5.5',
  price: '150.3333333333',
  fees: '0',
  currency: 'USD',
  traded_at: lot.traded_at,
  split: null,
  lots: null,
  note: EVIL,
  short: false,
  version: 2,
  created_at: lot.traded_at,
  updated_at: lot.traded_at,
}

const sale: Sale = {
  activity_id: null,
  asset_id: 7,
  symbol: 'AAPL',
  quantity: '2',
  price: '200',
  fees: '1',
  currency: 'USD',
  traded_at: '2026-11-21T15:00:00Z',
  cost: '300.6666666666',
  proceeds: '399',
  realised_gain: '98.3333333334',
  portfolio: { currency: 'EUR', cost: '259.195', proceeds: '343.965', realised_gain: '84.77' },
  lots: [
    {
      lot_id: lot.id,
      traded_at: lot.traded_at,
      quantity: '2',
      lot_cost: '300.6666666666',
      lot_currency: 'USD',
      cost: null,
      proceeds: null,
      realised_gain: null,
      portfolio: { cost: null, proceeds: null, realised_gain: '84.77' },
    },
  ],
}

const history: ValueHistory = {
  range: '1m',
  interval: 'ONE_DAY',
  currency: 'EUR',
  data: [
    { date: '2026-11-19', value: '480', net_deposits: '451', incomplete: true },
    { date: '2026-11-20', value: '470.5', net_deposits: '451', incomplete: false },
    { date: '2026-11-21T15:00:01.000Z', value: '491.7025862068965635', net_deposits: '451', incomplete: false },
  ],
  count: 3,
}

const form: FormState = {
  values: { symbol: EVIL, quantity: '1,5', price: '10', note: EVIL, key: 'kept' },
  errors: [{ field: 'quantity', message: 'must be a decimal such as 12.5' }],
  problem: EVIL,
}

const data = { currency: 'EUR', version: 4, lots: [lot], prices: [] }
const stocks = { data, next: 'a b', first: false, symbol: 'AAPL' }
const activities = { activities: [activity], next: null, first: true, saved: 'Saved.' }
const NOW = Date.parse('2026-01-01T00:00:00Z')

const PAGES = {
  overview: () => userPage({ profile, portfolio, positions: [position, unknown, closed, apart], range: '1m', history }),
  'empty overview': () => userPage({ profile, portfolio, positions: [], range: '1m', history: null }),
  lots: () => lotsPage({ ...stocks, form }),
  sale: () => sellPage(lot, form, sale),
  activities: () => activitiesPage({ ...activities, form, now: NOW }),
  activity: () => activityPage(activity, form, 'stocks'),
  deletion: () => deletePage(activity, form, 'activities'),
}

describe.each(Object.entries(PAGES))('the page of %s', (_name, render) => {
  test('escapes what people type', async () => {
    expect(await html(render())).not.toContain('<script>alert')
  })

  test('has unique ids, a label for every field, and a caption and scopes for every table', async () => {
    const page = await html(render())
    const ids = [...page.matchAll(/ id="([^"]+)"/g)].map((match) => match[1])
    expect(new Set(ids).size).toBe(ids.length)
    for (const [, id] of page.matchAll(/<(?:input|select) id="([^"]+)"/g)) expect(page).toContain(`<label for="${id}">`)
    expect(page.split('<table').length).toBe(page.split('<caption').length)
    expect(page).not.toMatch(/<th(?![^>]*scope=|ead)/)
    for (const [, id] of page.matchAll(/aria-(?:labelledby|describedby)="([^" ]+)/g)) expect(ids).toContain(id)
  })
})

describe('figures', () => {
  test.each([
    ['money', '12345678901234567890.125', 'USD', '12,345,678,901,234,567,890.13'],
    ['money', '12.5', 'JPY', '13'],
    ['money', '12.5', 'BTC1', '12.50'],
    ['move', '5', 'EUR', '+5.00'],
    ['move', '-5.555', 'EUR', '−5.56'],
    ['move', '-0.004', 'EUR', '0.00'],
    ['price', '0.000012345678', 'USD', '0.00001235'],
    ['price', '189.12345', 'USD', '189.1235'],
    ['price', '0', 'USD', '0.00'],
    ['price', '1', 'USD', '1.00'],
    ['price', '0.5', 'USD', '0.50'],
    ['price', '0.01', 'USD', '0.01'],
    ['quantity', '-2.5', '', '−2.5'],
    ['percent', '-12.3456', '', '−12.35%'],
    ['ratio', '29.514', '', '29.51'],
  ] as const)('P1 %s %s in %s reads %s', (kind, decimal, currency, text) => {
    expect(formatFigure(kind, decimal, currency)).toBe(text)
  })

  test.each([
    ['-0.00', 'flat'],
    ['-0.01', 'down'],
    ['0.0001', 'up'],
    [null, 'flat'],
  ] as const)('%s points %s', (decimal, sign) => expect(figureDirection(decimal)).toBe(sign))

  test('P1 are rounded for display, with every digit in value and title', async () => {
    expect(await html(PAGES.overview())).toContain(
      '<data class="figure up" value="40.7025862068965635" data-figure="gain_loss" title="40.7025862068965635">+40.70</data>',
    )
  })

  test('P3 that are unknown are a dash with words, never 0', async () => {
    const page = await html(PAGES.overview())
    const row = /<tr data-asset="8">[\s\S]*?<\/tr>/.exec(page)?.[0] ?? ''
    expect(row).toContain(
      '<data class="figure unknown" value="" data-figure="present_value"><span aria-hidden="true">–</span><span class="hidden">unknown</span></data>',
    )
    expect(row).toContain('No exchange rate')
    expect(page).toContain('Totals exclude XYZ: price or exchange rate missing.')
    expect(incompleteNotice({ incomplete: true, missing: ['', 'XYZ'] })).toContain(
      'exclude unassigned activities, XYZ:',
    )
    expect(incompleteNotice({ incomplete: false, missing: [] })).toBeNull()
  })

  test('P6 include the date of a price/earnings ratio', async () => {
    expect(await html(PAGES.overview())).toContain('as of 2026-09-27')
  })

  test('of closed positions and unassigned activities stand apart from open positions', async () => {
    const page = await html(PAGES.overview())
    const [open = '', before = ''] = page.split('id="closed"')
    expect([...open.matchAll(/<tr data-asset="(\d+)"/g)].map((match) => match[1])).toEqual(['7', '8'])
    expect([...before.matchAll(/<tr data-asset="(\d+)"/g)].map((match) => match[1])).toEqual(['9', '0'])
  })
})

test('P3 the history of the value has a bar from each value to the next, and counts incomplete values', async () => {
  const page = (await html(PAGES.overview())).replaceAll('&quot;', '"')
  const bars = JSON.parse(/data-bars="(\[.*?\])"/.exec(page)?.[1] ?? '[]')
  expect(bars).toEqual([
    { t: Date.parse('2026-11-19') / 1_000, o: 480, h: 480, l: 480, c: 480, v: 0, complete: true },
    { t: Date.parse('2026-11-20') / 1_000, o: 480, h: 480, l: 470.5, c: 470.5, v: 0, complete: true },
    {
      t: Date.parse('2026-11-21') / 1_000,
      o: 470.5,
      h: 491.7,
      l: 470.5,
      c: 491.7,
      v: 0,
      complete: false,
    },
  ])
  expect(page).toContain('incomplete for 1 of 3 values')
  const without = await html(userPage({ profile, portfolio, positions: [position], range: '1m', history: null }))
  expect(without).toContain('Price history is unavailable right now.')
})

describe('forms', () => {
  test('come back with the typed values, errors beside their fields, and the same key', async () => {
    const page = await html(PAGES.lots())
    expect(page).toMatch(
      /<input id="quantity"[^>]* value="1,5"[^>]* aria-describedby="quantity-error" aria-invalid="true">/,
    )
    expect(page).toContain('<p class="wrong" id="quantity-error">Must be a decimal such as 12.5.</p>')
    expect(page).toContain('<input type="hidden" name="key" value="kept">')
    expect(await html(lotsPage({ ...stocks, form: EMPTY_FORM }))).toMatch(/name="key" value="[0-9a-f-]{36}"/)
  })

  test('of an activity begin with its values', () => {
    expect(formValues(activity)).toMatchObject({
      symbol: 'AAPL',
      quantity: '5.5',
      traded_at: '2026-01-31T14:30:00.123456',
    })
  })

  test('of a sale have the button that sells only with a preview', async () => {
    const before = await html(sellPage(lot, EMPTY_FORM, null))
    expect(before).not.toContain('value="sell"')
    const page = await html(PAGES.sale())
    expect(page).toContain('value="sell"')
    expect(page).toContain('gain of <data class="figure up" value="84.77" title="84.77">84.77</data> EUR')
  })

  test.each([
    ['2026-01-31T14:30:00Z', '2026-01-31T14:30'],
    ['2026-01-31T14:30:05Z', '2026-01-31T14:30:05'],
    ['2026-01-31T14:30:05.123456Z', '2026-01-31T14:30:05.123456'],
  ])('format the time %s as %s, and parse it again', (time, typed) => {
    expect(formatTimeInput(time)).toBe(typed)
    expect(parseTimeInput(typed)).toBe(time)
  })

  test.each([
    ['2026-01-31', '2026-01-31T00:00:00Z'],
    ['2026-01-31 14:30', '2026-01-31T14:30:00Z'],
    [' yesterday ', 'yesterday'],
  ])('parse the typed time %j as %j', (typed, time) => expect(parseTimeInput(typed)).toBe(time))
})
