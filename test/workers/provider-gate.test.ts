import { abortAllDurableObjects, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { ProviderGate } from '../../durable-objects/provider-gate.ts'
import type { ProviderGateObject, QuoteOutcome, QuoteRequest } from '../../durable-objects/stubs.ts'
import type { Source } from '../../src/pricing/sources.ts'
import { until } from './wire.ts'

// Before the first object reads them.
Object.assign(env, {
  YAHOO_PER_MINUTE: '20',
  BINANCE_WEIGHT_PER_MINUTE: '100',
  BREAKER_FAILURES: '3',
})
/** The file's own fake providers: their control paths, and Binance. */
const { PROVIDERS_URL, BINANCE_URL } = env as unknown as Record<'PROVIDERS_URL' | 'BINANCE_URL', string>
const WINDOW = 60_000
const YAHOO_BUDGET = 20

/** The gate's clock, unix milliseconds. It stands still but for what a test adds: no result depends on the machine's speed. */
let clock = 0
/** Requests that match wait before they go out, until a test lets them go. */
let held: (url: string) => boolean = () => false
/** When each request went out, by the gate's clock, and where to. */
let sent: { at: number; url: string }[] = []
let logged: string[] = []

type Inner = {
  now(): number
  random(): number
  send(url: string, init: RequestInit): Promise<Response>
}

beforeEach(() => {
  clock = Date.now()
  held = () => false
  sent = []
  logged = []
  const inner = ProviderGate.prototype as unknown as Inner
  vi.spyOn(inner, 'now').mockImplementation(() => clock)
  vi.spyOn(inner, 'random').mockImplementation(() => 0.5)
  const { send } = inner
  vi.spyOn(inner, 'send').mockImplementation(async function (this: unknown, url, init) {
    sent.push({ at: clock, url })
    while (held(url)) await scheduler.wait(5)
    return send.call(this, url, init)
  })
  vi.spyOn(console, 'log').mockImplementation((line) => void logged.push(String(line)))
})

afterEach(async () => {
  vi.restoreAllMocks()
  await control('DELETE', '/_faults')
  await control('DELETE', '/_requests')
  await fetch(`${env.COINBASE_REST_URL}/_faults`, { method: 'DELETE' })
})

async function control(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const response = await fetch(`${PROVIDERS_URL}${path}`, {
    method,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  if (!response.ok) throw new Error(await response.text())
  return (await response.json()) as Record<string, unknown>
}
const fault = (body: object) => control('POST', '/_faults', body)
const mend = () => control('DELETE', '/_faults')
type Counts = Record<string, { requests: number; weight: number; peak: number }>
const counts = async (provider: string) => {
  const { counts } = await control('GET', '/_requests')
  return (counts as Counts)[provider] as Counts[string]
}

/** A gate of its own for each test, with its whole budget. */
const open = (name: string): ProviderGateObject => env.PROVIDER_GATE.getByName(name) as unknown as ProviderGateObject
const limitOf = async (gate: ProviderGateObject, provider: Source) => {
  const limit = (await gate.limits()).find((one) => one.provider === provider)
  if (!limit) throw new Error(`no limits of ${provider}`)
  return limit
}
const asset = (asset_id: number, ...sources: [Source, string][]): QuoteRequest => ({
  asset_id,
  sources: sources.map(([provider, id]) => ({ provider, id })),
})
const yahoo = (...ids: string[]) => ids.map((id, index) => asset(index, ['yahoo', id]))
/** Symbols as Yahoo's fake knows them, as many as one likes. */
const symbols = (count: number, letter = 'Q') =>
  Array.from(
    { length: count },
    (_, n) => `${letter}${[...n.toString(26)].map((d) => String.fromCharCode(65 + Number.parseInt(d, 26))).join('')}`,
  )
const reasons = (outcomes: QuoteOutcome[]) => [...new Set(outcomes.map((one) => (one.ok ? 'ok' : one.reason)))]

/** The most requests in any stretch of a window, by the gate's clock. */
const most = (): number =>
  Math.max(0, ...sent.map(({ at }) => sent.filter((one) => one.at <= at && one.at >= at - WINDOW).length))

describe('quotes', () => {
  test('Q4 every request is counted, the cookie and the crumb too, and each asset has its own answer', async () => {
    const gate = open('counted')
    const [apple, none, pence] = await gate.quotes(yahoo('AAPL', 'NONEXIST', 'SHEL.L'))
    expect(apple).toMatchObject({ asset_id: 0, ok: true, provider: 'yahoo', quote: { id: 'AAPL', currency: 'USD' } })
    expect(none).toEqual({ asset_id: 1, ok: false, reason: 'unknown', retryAt: null })
    expect(pence).toMatchObject({ ok: true, quote: { currency: 'GBP' } })
    const { requests } = await counts('yahoo')
    expect(requests).toBe(3)
    expect(await limitOf(gate, 'yahoo')).toMatchObject({
      used: requests,
      budget: YAHOO_BUDGET,
      window_ms: WINDOW,
      in_flight: 0,
      breaker: 'closed',
      failures: 0,
      blocked_until: null,
      last_status: 200,
      requests_total: requests,
      refused_total: 0,
    })
  })

  test('Q4 providers without a key are not asked', async () => {
    const gate = open('keyless')
    expect((await gate.limits()).map(({ provider }) => provider)).toEqual(['yahoo', 'coinbase', 'binance'])
    expect(await gate.quotes([asset(7, ['twelvedata', 'AAPL'])])).toEqual([
      { asset_id: 7, ok: false, reason: 'unavailable', retryAt: null },
    ])
  })

  test("Q4 Binance's own count of weight is told, and believed", async () => {
    const gate = open('weight')
    await fetch(`${BINANCE_URL}/api/v3/ticker/24hr?symbols=["BTCUSDT","ETHUSDT"]`)
    const [bitcoin] = await gate.quotes([asset(1, ['binance', 'BTCUSDT'])])
    expect(bitcoin).toMatchObject({ ok: true, provider: 'binance', quote: { currency: 'USDT' } })
    const { told_used, used } = await limitOf(gate, 'binance')
    expect(told_used).toBeGreaterThanOrEqual(4)
    expect(used).toBe(told_used)
  })

  test('Q3 two who ask for the same at once are one request, and one asset asked for twice is one id', async () => {
    const gate = open('joined')
    await gate.quotes(yahoo('AAPL'))
    held = () => true
    sent = []
    const both = [gate.quotes(yahoo('MSFT', 'MSFT', 'NVDA')), gate.quotes(yahoo('NVDA', 'MSFT'))]
    // Calls arrive in their order: when this one has an answer, both have been made.
    await gate.limits()
    held = () => false
    expect((await Promise.all(both)).map(reasons)).toEqual([['ok'], ['ok']])
    expect(sent).toHaveLength(1)
  })

  test('Q3 a thousand assets are as few requests as the provider takes', async () => {
    const gate = open('thousand')
    const outcomes = await gate.quotes(yahoo(...symbols(1_000)))
    expect(reasons(outcomes)).toEqual(['ok'])
    expect(sent.length).toBeLessThanOrEqual(7)
    expect((await counts('yahoo')).peak).toBeLessThanOrEqual(2)
  })
})

describe('the budget', () => {
  test('Q4 who waits for one price does not wait for a refresh of a thousand', async () => {
    const gate = open('queue')
    await gate.quotes(yahoo('AAPL'))
    const isRefresh = (url: string) => (new URL(url).searchParams.get('symbols') ?? '').includes(',')
    held = isRefresh
    sent = []
    const refreshes = ['QA', 'QB'].map((letter) => gate.quotes(yahoo(...symbols(600, letter))))
    await until('the refresh to be under way', () => (sent.length > 0 ? true : null))
    // A look that waited for the refresh would wait forever: not one of its requests goes out.
    const looks = await Promise.all(['MSFT', 'NVDA'].map((id) => gate.quotes(yahoo(id))))
    expect(looks.map(reasons)).toEqual([['ok'], ['ok']])
    expect(sent.filter(({ url }) => isRefresh(url))).toHaveLength(1)
    held = () => false
    expect((await Promise.all(refreshes)).map(reasons)).toEqual([['ok'], ['ok']])
    expect((await counts('yahoo')).peak).toBeLessThanOrEqual(2)
  })

  test('Q4 a refresh leaves something to whom a person waits for, and nobody goes beyond the budget', async () => {
    const gate = open('short')
    const refused = []
    for (let n = 0; n < 6; n++)
      refused.push(...(await gate.quotes(yahoo(...symbols(800, `R${String.fromCharCode(65 + n)}`)))))
    expect(reasons(refused)).toEqual(['ok', 'rate_limited'])
    expect(sent).toHaveLength(18)
    expect(reasons(await gate.quotes(yahoo('AAPL')))).toEqual(['ok'])
    expect(reasons(await gate.quotes(yahoo('MSFT')))).toEqual(['ok'])
    const [late] = await gate.quotes(yahoo('NVDA'))
    expect(late).toMatchObject({ ok: false, reason: 'rate_limited' })
    expect((await counts('yahoo')).requests).toBe(YAHOO_BUDGET)
    clock = (late as { retryAt: number }).retryAt
    expect(reasons(await gate.quotes(yahoo('NVDA')))).toEqual(['ok'])
  })

  test('Q4 an object that dies in the middle keeps its budget, and its lease ends', async () => {
    const gate = open('dead')
    for (let n = 0; n < 16; n++) await gate.quotes(yahoo(`A${String.fromCharCode(65 + n)}`))
    await fault({ kind: 'hang', provider: 'yahoo' })
    const lost = gate.quotes(yahoo('AAPL')).catch(() => 'lost')
    await until('the request to be there', async () => ((await counts('yahoo')).requests === 19 ? true : null))
    await abortAllDurableObjects()
    await lost
    await mend()
    const again = open('dead')
    expect(await limitOf(again, 'yahoo')).toMatchObject({ used: 19, in_flight: 1, requests_total: 19 })
    // The new object has no cookie: what it takes to get one is more than what is left.
    expect(reasons(await again.quotes(yahoo('AAPL')))).toEqual(['rate_limited'])
    expect((await counts('yahoo')).requests).toBe(YAHOO_BUDGET)
    clock += 15_000
    expect((await limitOf(again, 'yahoo')).in_flight).toBe(0)
    clock += WINDOW
    expect(reasons(await again.quotes(yahoo('AAPL')))).toEqual(['ok'])
    expect(most()).toBeLessThanOrEqual(YAHOO_BUDGET)
  })
})

describe('a provider that wants no more', () => {
  test('Q4 Retry-After is obeyed: nothing goes out before', async () => {
    const gate = open('retry-after')
    await gate.quotes(yahoo('AAPL'))
    await fault({ kind: '429', retryAfter: 30, provider: 'yahoo', times: 1 })
    const [refused] = await gate.quotes(yahoo('AAPL'))
    const retryAt = (refused as { retryAt: number }).retryAt
    expect(refused).toMatchObject({ ok: false, reason: 'rate_limited' })
    expect(retryAt).toBe(clock + 30_000)
    sent = []
    clock = retryAt - 1
    expect((await gate.quotes(yahoo('AAPL')))[0]).toEqual({ asset_id: 0, ok: false, reason: 'rate_limited', retryAt })
    expect(sent).toEqual([])
    expect(await limitOf(gate, 'yahoo')).toMatchObject({ blocked_until: retryAt, rate_limited_total: 1, failures: 0 })
    clock = retryAt
    expect(reasons(await gate.quotes(yahoo('AAPL')))).toEqual(['ok'])
  })

  test('Q4 a storm of 429 without a word never gets more than the budget, and less and less', async () => {
    const gate = open('storm')
    await fault({ kind: '429', provider: 'yahoo' })
    for (let n = 0; n < 300; n++) {
      clock += 1_000
      await gate.quotes(yahoo(...symbols(3, 'W')))
    }
    expect(most()).toBeLessThanOrEqual(YAHOO_BUDGET)
    expect((await counts('yahoo')).requests).toBe(sent.length)
    expect(sent.length).toBeLessThan(20)
    await mend()
    clock += 300_000
    expect(reasons(await gate.quotes(yahoo('AAPL')))).toEqual(['ok'])
  })

  test("Q4 Binance's ban is obeyed, and a pair of the same currency is asked for elsewhere", async () => {
    const gate = open('ban')
    await fault({ kind: '418', retryAfter: 120, provider: 'binance' })
    const wanted = [asset(1, ['binance', 'BTCEUR'], ['coinbase', 'BTC-EUR']), asset(2, ['binance', 'BTCUSDT'])]
    const [euro, tether] = await gate.quotes(wanted)
    expect(euro).toMatchObject({ ok: true, provider: 'coinbase', quote: { id: 'BTC-EUR', currency: 'EUR' } })
    expect(tether).toMatchObject({ ok: false, reason: 'rate_limited' })
    await gate.quotes(wanted)
    expect((await counts('binance')).requests).toBe(1)
  })
})

describe('a provider that fails', () => {
  test('Q4 the breaker opens, lets one probe through, opens again for longer, and closes', async () => {
    const gate = open('breaker')
    await gate.quotes(yahoo('AAPL'))
    await fault({ kind: '500', provider: 'yahoo' })
    const down = async () => {
      const [one] = await gate.quotes(yahoo('AAPL'))
      expect(one).toMatchObject({ ok: false, reason: 'unavailable' })
      return (one as { retryAt: number }).retryAt
    }
    for (let n = 0; n < 3; n++) clock = await down()
    expect(logged.filter((line) => line.includes('provider_breaker'))).toHaveLength(1)
    sent = []
    // The clock stands where the breaker ends: of many who ask at once, one gets through.
    const asked = ['AAPL', 'MSFT', 'NVDA', 'TSLA', 'AMZN']
    expect(reasons((await Promise.all(asked.map((id) => gate.quotes(yahoo(id))))).flat())).toEqual(['unavailable'])
    expect(sent).toHaveLength(1)
    const { breaker, blocked_until, last_error } = await limitOf(gate, 'yahoo')
    expect(breaker).toBe('open')
    expect((blocked_until as number) - clock).toBeGreaterThan(100_000)
    await down()
    expect(sent).toHaveLength(1)
    // What the provider has said, and not that nobody was let through to it.
    expect((await limitOf(gate, 'yahoo')).last_error).toBe(last_error)
    await mend()
    clock = blocked_until as number
    expect(reasons(await gate.quotes(yahoo('AAPL')))).toEqual(['ok'])
    expect((await limitOf(gate, 'yahoo')).breaker).toBe('closed')
    expect(reasons((await Promise.all(asked.map((id) => gate.quotes(yahoo(id))))).flat())).toEqual(['ok'])
  })

  test('Q4 one that hangs is given up after its time, its slot is free, and the next source is asked', async () => {
    const gate = open('hang')
    await fault({ kind: 'hang', provider: 'binance' })
    const timeout = AbortSignal.timeout
    const limit = vi.spyOn(AbortSignal, 'timeout').mockImplementationOnce(() => timeout(50))
    const wanted = asset(1, ['binance', 'ETHEUR'], ['yahoo', 'ETH-EUR'])
    expect((await gate.quotes([wanted]))[0]).toMatchObject({ ok: true, provider: 'yahoo' })
    expect(limit.mock.calls[0]).toEqual([10_000])
    expect(await limitOf(gate, 'binance')).toMatchObject({ in_flight: 0, failures: 1, last_status: null })
    await mend()
    clock += 5_000
    expect((await gate.quotes([wanted]))[0]).toMatchObject({ ok: true, provider: 'binance' })
  })

  test('Q5 that another source does not know an asset is not its word while its own is down', async () => {
    const gate = open('passing')
    await fault({ kind: 'down', provider: 'binance' })
    const [one] = await gate.quotes([asset(1, ['binance', 'ETHEUR'], ['yahoo', 'NONEXIST'])])
    expect(one).toMatchObject({ ok: false, reason: 'unavailable' })
  })

  test.each(['html', 'cut', 'schema', 'empty', 'none'] as const)(
    'Q4 a body that is of no use (%s) costs few requests, blames no asset, and passes',
    async (body) => {
      const gate = open(`body-${body}`)
      await gate.quotes(yahoo('AAPL'))
      await fault({ kind: 'body', body, provider: 'yahoo', path: '/v7/' })
      sent = []
      const outcomes = await gate.quotes(yahoo(...symbols(100, 'B')))
      expect(reasons(outcomes)).toEqual(['invalid'])
      expect(sent.length).toBeLessThanOrEqual(7)
      await mend()
      clock += WINDOW + 1_000
      expect(reasons(await gate.quotes(yahoo(...symbols(100, 'B'))))).toEqual(['ok'])
    },
  )
})

describe('one bad id', () => {
  test('Q5 is found among the good, costs a bounded number of requests, and is left out for an hour', async () => {
    const gate = open('poison')
    await gate.quotes(yahoo('AAPL'))
    const ids = symbols(100, 'P')
    const bad = ids[41] as string
    await fault({ kind: 'poison', id: bad, provider: 'yahoo' })
    clock += WINDOW + 1_000
    sent = []
    const outcomes = await gate.quotes(yahoo(...ids))
    expect(outcomes.filter((one) => !one.ok)).toEqual([{ asset_id: 41, ok: false, reason: 'invalid', retryAt: null }])
    expect(sent.length).toBeLessThanOrEqual(15)
    expect(await limitOf(gate, 'yahoo')).toMatchObject({ failures: 0, breaker: 'closed', blocked_until: null })
    clock += WINDOW + 1_000
    await abortAllDurableObjects()
    sent = []
    const again = await open('poison').quotes(yahoo(...ids))
    expect(again.filter((one) => !one.ok)).toMatchObject([
      { asset_id: 41, reason: 'invalid', retryAt: expect.any(Number) },
    ])
    // With the cookie and the crumb of the new object.
    expect(sent).toHaveLength(3)
    await mend()
    clock += 3_600_000
    expect(reasons(await open('poison').quotes(yahoo(...ids)))).toEqual(['ok'])
  })

  test('Q5 asked for alone it fails nobody else', async () => {
    const gate = open('alone')
    await fault({ kind: 'poison', id: 'BAD', provider: 'yahoo' })
    expect(reasons(await gate.quotes(yahoo('BAD')))).toEqual(['invalid'])
    expect(reasons(await gate.quotes(yahoo('AAPL', 'BAD', 'MSFT')))).toEqual(['ok', 'invalid'])
    expect(await limitOf(gate, 'yahoo')).toMatchObject({ failures: 0, breaker: 'closed' })
  })
})

describe('history and names', () => {
  test('Q4 days come from the first source that can tell them', async () => {
    const gate = open('daily')
    await fault({ kind: 'down', provider: 'binance' })
    const from = new Date(Date.now() - 10 * 86_400_000).toISOString().slice(0, 10)
    const told = await gate.daily(
      [
        { provider: 'binance', id: 'BTCEUR' },
        { provider: 'yahoo', id: 'AAPL' },
      ],
      from,
    )
    expect(told).toMatchObject({ ok: true, provider: 'yahoo', history: { currency: 'USD' } })
    expect(await gate.daily([{ provider: 'yahoo', id: 'NONEXIST' }], from)).toMatchObject({
      ok: false,
      reason: 'unknown',
    })
  })

  test('Q4 the name of a pair is looked for at Coinbase first, and null is told only if all have answered', async () => {
    const gate = open('find')
    expect(await gate.find('BTC-USD')).toMatchObject({
      ok: true,
      found: { provider: 'coinbase', listing: { code: 'BTC' } },
    })
    expect(await counts('yahoo')).toMatchObject({ requests: 0 })
    expect(await gate.find('NFLX')).toMatchObject({
      ok: true,
      found: { provider: 'yahoo', listing: { symbol: 'NFLX' } },
    })
    expect(await gate.find('NONEXIST')).toEqual({ ok: true, found: null })
    await fault({ kind: 'down', provider: 'yahoo' })
    expect(await gate.find('NONESUCH')).toMatchObject({ ok: false, reason: 'unavailable' })
  })

  test('Q4 searches have a quarter of the budget', async () => {
    const gate = open('searches')
    const found = []
    for (let n = 0; n < 10; n++) found.push(await gate.find(`NONE${String.fromCharCode(65 + n)}`))
    expect(found.filter((one) => one.ok)).toHaveLength(3)
    expect(sent).toHaveLength(5)
    expect(reasons(await gate.quotes(yahoo('AAPL')))).toEqual(['ok'])
  })
})

test('logs name no crumb, and the state in SQLite is one row a provider', async () => {
  const gate = open('quiet')
  await gate.quotes(yahoo('AAPL'))
  await fault({ kind: 'crumb' })
  await gate.quotes(yahoo('AAPL'))
  await fault({ kind: '500', provider: 'yahoo' })
  await gate.quotes(yahoo('AAPL'))
  const crumbs = sent.map(({ url }) => new URL(url).searchParams.get('crumb')).filter((crumb) => crumb !== null)
  expect(crumbs.length).toBeGreaterThan(0)
  expect(logged.some((line) => line.includes('provider_refused'))).toBe(true)
  const stub = env.PROVIDER_GATE.getByName('quiet')
  const rows = await runInDurableObject(stub, (_, state) =>
    state.storage.sql.exec<{ provider: string; state: string }>('SELECT * FROM providers').toArray(),
  )
  expect(rows.map(({ provider }) => provider)).toEqual(['yahoo'])
  for (const crumb of crumbs) expect(JSON.stringify([logged, rows])).not.toContain(crumb)
})
