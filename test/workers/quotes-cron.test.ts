import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { ProviderGate } from '../../durable-objects/provider-gate.ts'
import { upsertCandles } from '../../src/db/candles.ts'
import { withLiveDatabase } from '../../src/db/client.ts'
import type { Candle } from '../../src/protocol/candle.ts'
import {
  advance,
  ask,
  assets,
  beat,
  control,
  database,
  fault,
  judge,
  learn,
  listen,
  mend,
  minute,
  pin,
  recover,
  rest,
  unfinished,
} from './quotes-judge.ts'
import { gate, get, until } from './wire.ts'

// Before the first object reads it.
Object.assign(env, { PROVIDER_TIMEOUT_MS: '2000', HISTORY_PER_MINUTE: '6', PRODUCTS: 'BTC-USD', ALWAYS_ON: '' })

const NIGHT = '7 0 * * *'
const DAY_S = 86_400
const ACTIVE = 'AAPL MSFT NVDA KO SHEL.L BTC BTCUSDT'.split(' ')
/** The lease of a claim, and a little more: what a dead run has taken, others may take then. */
const LEASE_MS = 11 * 60_000

type State = { symbol: string; state: string; attempts: number; error: string | null; last_date: Date | null }
const states = () =>
  database(
    (sql) => sql<State[]>`
      SELECT symbol, state, attempts, h.error, last_date FROM asset_history h JOIN assets USING (asset_id) ORDER BY symbol`,
  )
const stateOf = async (symbol: string) => (await states()).find((one) => one.symbol === symbol)

type Job = { job: string; outcome: string; error: string | null; ok_at: Date | null; started_at: Date; ended_at: Date }
const jobOf = async (job: string) => {
  const [row] = await database((sql) => sql<Job[]>`SELECT * FROM job_runs WHERE job = ${job}`)
  return row
}

/** How often the whole history of each symbol was asked for at Yahoo. */
async function charts(): Promise<Map<string, number>> {
  const { requests } = await control('GET', '/_requests?provider=yahoo&path=/v8/finance/chart/')
  const asked = new Map<string, number>()
  for (const { ids } of requests as { ids: string[] }[]) for (const id of ids) asked.set(id, (asked.get(id) ?? 0) + 1)
  return asked
}

/** The last 300 days of trading of a stock as the fake tells them: date and close. */
async function daysOf(id: string): Promise<[string, number][]> {
  const now = Math.floor(Date.now() / 1_000)
  const query = `interval=1d&events=div|split&period1=${now - 300 * DAY_S}&period2=${now}`
  const { chart } = (await control('GET', `${env.YAHOO_URL}/v8/finance/chart/${id}?${query}`)) as {
    chart: {
      result: {
        meta: { gmtoffset: number }
        timestamp: number[]
        events?: { splits?: object }
        indicators: { quote: { close: (number | null)[] }[] }
      }[]
    }
  }
  const [result] = chart.result
  if (!result || result.events?.splits) throw new Error(`${id} is of no use here`)
  return result.timestamp.flatMap((at, i): [string, number][] => {
    const close = result.indicators.quote[0]?.close[i]
    const date = new Date((at + result.meta.gmtoffset) * 1_000).toISOString().slice(0, 10)
    return typeof close === 'number' ? [[date, close]] : []
  })
}

const stored = (symbol: string) =>
  database(
    (sql) => sql<{ date: Date; close: string }[]>`
      SELECT date, close FROM price_history_daily JOIN assets USING (asset_id) WHERE symbol = ${symbol} ORDER BY date`,
  )

/** That what is stored of a stock is what the fake tells, no day more and none less. */
async function isWhole(id: string): Promise<void> {
  const told = await daysOf(id)
  const since = told[0]?.[0] as string
  const today = new Date(Date.now()).toISOString().slice(0, 10)
  const kept = (await stored(id)).map(({ date, close }) => [date.toISOString().slice(0, 10), Number(close)] as const)
  const ours = kept.filter(([date]) => date >= since && date < today)
  const theirs = told.filter(([date]) => date < today)
  expect(ours.map(([date]) => date)).toEqual(theirs.map(([date]) => date))
  for (const [i, [date, close]] of theirs.entries())
    expect(Math.abs((ours[i]?.[1] ?? 0) - close), date).toBeLessThan(0.006)
  expect(ours.length).toBeGreaterThan(150)
}

beforeAll(async () => {
  listen()
  await database((sql) => sql`UPDATE assets SET active = symbol IN ${sql(ACTIVE)}`)
  await learn()
  await pin()
})

beforeEach(listen)
afterEach(async () => {
  vi.restoreAllMocks()
  await mend()
  await gate(true)
})

describe('Q7 history', () => {
  test('two crons at once never load an asset twice, and what a streamed product has is our own', async () => {
    const midnight = Math.floor(Date.now() / 1_000 / DAY_S) * DAY_S
    const own = (back: number, rest: Partial<Candle>): Candle => ({
      exchange: 'simulated',
      product_id: 'BTC-USD',
      granularity: 'ONE_DAY',
      timestamp: midnight - back * DAY_S,
      open: '1.5',
      high: '2.5',
      low: '0.5',
      close: '1.25',
      volume: '3',
      is_complete: true,
      coverage: 'full',
      rev: 0,
      last_update: new Date(Date.now()).toISOString(),
      source: 'trades',
      ...rest,
    })
    const days = [own(3, {}), own(2, { coverage: 'gap' }), own(1, { close: '1.75' }), own(0, { is_complete: false })]
    await withLiveDatabase(env, (sql) => upsertCandles(sql, days))

    await Promise.all([minute(), minute()])
    expect([...(await charts()).values()]).toEqual([...(await charts()).values()].map(() => 1))
    await minute()
    expect((await states()).map(({ symbol, state, error }) => [symbol, state, error])).toEqual(
      [...ACTIVE].sort().map((symbol) => [symbol, 'whole', null]),
    )
    for (const id of ['AAPL', 'MSFT', 'KO']) await isWhole(id)
    const told = new Map((await stored('BTC')).map(({ date, close }) => [date.getTime() / 1_000, Number(close)]))
    expect(told.get(midnight - 3 * DAY_S)).toBe(1.25)
    expect(told.get(midnight - DAY_S)).toBe(1.75)
    // Of a day with a gap the exchange has the truth; a day that goes on is none yet.
    expect(told.get(midnight - 2 * DAY_S)).toBeGreaterThan(1_000)
    expect(told.has(midnight)).toBe(false)
    expect(told.size).toBeGreaterThan(360)
  })

  test("an asset of brief 001's INSERT is priced and has its history after the next cron", async () => {
    await database(
      (sql) => sql`
        INSERT INTO assets (symbol, name, type, category, code, provider, provider_id, currency)
        VALUES ('TSLA', 'Tesla Inc.', 'stock', 'stock', 'TSLA', 'yahoo', 'TSLA', 'USD')`,
    )
    await learn()
    await pin()
    await minute()
    await rest()
    expect(await judge()).toEqual([])
    expect(await (await get('/get-price?symbol=TSLA')).json()).toMatchObject({ symbol: 'TSLA', stale: null })
    expect(await stateOf('TSLA')).toMatchObject({ state: 'whole', error: null })
    const history = (await (await get('/get-history?symbol=TSLA&range=1y')).json()) as { count: number }
    expect(history.count).toBeGreaterThan(240)
  })

  test('a provider that refuses midway: what failed says so, is tried again later, and is whole in the end', async () => {
    const added = ['AMZN', 'JNJ', 'XOM', 'V', 'PG', 'HD']
    await database((sql) => sql`UPDATE assets SET active = TRUE WHERE symbol IN ${sql(added)}`)
    await fault({ kind: '429', retryAfter: 1_200, provider: 'yahoo', path: '/chart/JNJ' })
    advance(60_000)
    await minute()
    const after = (await states()).filter(({ symbol }) => added.includes(symbol))
    const failed = after.filter(({ state }) => state === 'failed')
    expect(failed.map(({ symbol }) => symbol)).toContain('JNJ')
    expect(after.length).toBe(added.length)
    for (const { error } of failed) expect(error).toMatch(/^rate_limited: /)
    await mend()
    advance(60_000)
    await minute()
    expect((await stateOf('JNJ'))?.state).toBe('failed')
    advance(1_300_000)
    await minute()
    expect((await states()).filter(({ state }) => state !== 'whole')).toEqual([])
    for (const id of added.slice(0, 2)) await isWhole(id)
    expect(await judge(assets())).toEqual([])
  })

  test('a run that is killed between asking and storing is finished by a later one, and fails no other asset', async () => {
    const added = ['ABBV', 'MRK', 'PEP', 'WMT', 'CVX', 'COST']
    await database((sql) => sql`UPDATE assets SET active = TRUE WHERE symbol IN ${sql(added)}`)
    // One dies in the gate, Postgres goes away under another.
    const { daily } = ProviderGate.prototype
    vi.spyOn(ProviderGate.prototype, 'daily').mockImplementation(async function (this: ProviderGate, sources, from) {
      if (sources[0]?.id === 'MRK') throw new Error('killed')
      return daily.call(this, sources, from)
    })
    await minute()
    expect(await jobOf('history')).toMatchObject({ outcome: 'failed', error: expect.stringContaining('MRK: ') })
    const of = async (names: string[]) => (await states()).filter(({ symbol }) => names.includes(symbol))
    expect((await of(added)).map(({ symbol, state }) => [symbol, state])).toEqual(
      [...added].sort().map((symbol) => [symbol, symbol === 'MRK' ? 'loading' : 'whole']),
    )
    vi.restoreAllMocks()
    listen()
    const other = ['CSCO', 'ORCL']
    await database((sql) => sql`UPDATE assets SET active = TRUE WHERE symbol IN ${sql(other)}`)
    await fault({ kind: 'slow', ms: 400, provider: 'yahoo', path: '/chart/' })
    const before = await charts()
    const running = minute()
    await until('a chart to be asked for', async () => ((await charts()).size > before.size ? true : null))
    await gate(false)
    await running
    await gate(true)
    await mend()
    expect((await of(other)).map(({ state }) => state)).toEqual(['loading', 'loading'])
    // Not before the lease is over.
    await minute()
    expect((await of([...other, 'MRK'])).map(({ state }) => state)).toEqual(['loading', 'loading', 'loading'])
    advance(LEASE_MS)
    await minute()
    expect((await of([...other, 'MRK'])).map(({ state }) => state)).toEqual(['whole', 'whole', 'whole'])
    for (const id of ['CSCO', 'MRK']) await isWhole(id)
  })

  test('the gate that dies with a chart under way costs a later try', async () => {
    await database((sql) => sql`UPDATE assets SET active = TRUE WHERE symbol = 'ADBE'`)
    await fault({ kind: 'slow', ms: 400, provider: 'yahoo', path: '/chart/' })
    const running = minute()
    await until('the chart to be asked for', async () => ((await charts()).has('ADBE') ? true : null))
    await runInDurableObject(env.PROVIDER_GATE.getByName('simulated'), (_, state) => state.abort('a test')).catch(
      () => {},
    )
    await running
    await mend()
    expect((await stateOf('ADBE'))?.state).toBe('loading')
    advance(LEASE_MS)
    await minute()
    expect((await stateOf('ADBE'))?.state).toBe('whole')
    await isWhole('ADBE')
  })

  test('the night once more, twice at once, changes nothing', async () => {
    const all = () =>
      database(async (sql) => [
        await sql`SELECT * FROM price_history_daily ORDER BY asset_id, date`,
        await sql`SELECT * FROM price_history_weekly ORDER BY asset_id, week`,
        await sql`SELECT * FROM price_history_monthly ORDER BY asset_id, month`,
      ])
    await minute(NIGHT)
    const before = await all()
    await Promise.all([minute(NIGHT), minute(NIGHT)])
    const after = await all()
    for (const [i, rows] of after.entries()) {
      expect(rows.length).toBeGreaterThan(100)
      expect(JSON.stringify(rows) === JSON.stringify(before[i])).toBe(true)
    }
    for (const job of ['partitions', 'retention', 'logs', 'history_retention', 'snapshots'])
      expect(await jobOf(job)).toMatchObject({ outcome: 'ok', error: null })
  })
})

describe('what cron records', () => {
  test('job_runs and /health say which jobs did not run, and metrics and limits the truth', async () => {
    await learn()
    await minute()
    await beat(400)
    await recover()
    const health = async () => (await (await get('/health')).json()) as { status: string; jobs_overdue: string[] }
    await minute()
    expect((await health()).jobs_overdue).toEqual([])
    // Nobody fires it for ten minutes.
    for (let n = 0; n < 2; n++) await beat(300)
    const PORTFOLIOS = ['portfolio_due', 'portfolio_hourly', 'portfolio_outbox', 'portfolio_rates']
    const EVERY_MINUTE = ['audit', 'guard', 'history', 'limits', 'metrics', ...PORTFOLIOS, 'products', 'quotes']
    expect(await health()).toMatchObject({ status: 'degraded', jobs_overdue: EVERY_MINUTE })
    const from = Date.now()
    await minute()
    expect((await health()).jobs_overdue).toEqual([])
    for (const job of EVERY_MINUTE) {
      const run = await jobOf(job)
      expect(run).toMatchObject({ outcome: 'ok', error: null })
      expect(run?.ok_at?.getTime()).toBeGreaterThanOrEqual(from)
      expect(run?.ended_at.getTime()).toBeGreaterThanOrEqual(run?.started_at.getTime() ?? Number.POSITIVE_INFINITY)
    }

    advance(60_000)
    const { counts } = (await control('GET', '/_requests')) as { counts: Record<string, { requests: number }> }
    await minute()
    const at = new Date(from + 60_000)
    const metrics = await database(
      (sql) => sql<{ metric_name: string; value: number; labels: Record<string, string> }[]>`
        SELECT metric_name, value, labels FROM system_metrics WHERE recorded_at >= ${at}`,
    )
    const metric = (name: string, provider?: string) =>
      metrics.filter(({ metric_name, labels }) => metric_name === name && labels.provider === provider)
    const names = new Set(
      metrics.map(({ metric_name }) => metric_name).filter((name) => name.startsWith('price_refresh')),
    )
    expect([...names].sort()).toEqual([
      'price_refresh_assets',
      'price_refresh_beats_total',
      'price_refresh_failed_total',
      'price_refresh_lag_ms',
      'price_refresh_quotes_total',
    ])
    expect(metric('price_refresh_assets')).toMatchObject([{ value: assets().length, labels: { shard: '0' } }])
    expect(metric('job_age_seconds').length).toBeGreaterThanOrEqual(12)
    const limits = await database((sql) => sql`SELECT * FROM provider_rate_limits ORDER BY provider`)
    expect(limits.map(({ provider }) => provider)).toEqual(['binance', 'coinbase', 'yahoo'])
    for (const { provider, requests_total, breaker, budget } of limits) {
      expect([breaker, budget > 0]).toEqual(['closed', true])
      // The gate of this file died once: what it counts goes on, as it is in SQLite.
      if (provider === 'binance') expect(Number(requests_total)).toBe(counts.binance?.requests)
      if (provider === 'yahoo') expect(Number(requests_total)).toBeGreaterThan(20)
      expect(metric('provider_requests_total', provider)[0]?.value).toBeGreaterThan(0)
    }
  })

  test('a job that fails stops no other, and goes well when its reason is gone', async () => {
    await until('limits to have gone well', async () => ((await jobOf('limits'))?.outcome === 'ok' ? true : null))
    const wellBefore = (await jobOf('limits'))?.ok_at
    // Killed after the plan, before the limits.
    vi.spyOn(ProviderGate.prototype, 'limits').mockRejectedValue(new Error('killed'))
    advance(60_000)
    await minute()
    expect(await jobOf('limits')).toMatchObject({ outcome: 'failed', error: expect.stringContaining('killed') })
    expect((await jobOf('limits'))?.ok_at).toEqual(wellBefore)
    expect(await jobOf('quotes')).toMatchObject({ outcome: 'ok' })
    expect(await jobOf('metrics')).toMatchObject({ outcome: 'ok' })
    vi.restoreAllMocks()
    listen()
    advance(60_000)
    await minute()
    expect(await jobOf('limits')).toMatchObject({ outcome: 'ok', error: null })
  })

  test('without Postgres nothing is recorded and nothing is lost: the next run is as ever', async () => {
    const { started_at } = (await jobOf('quotes')) as Job
    await gate(false)
    advance(60_000)
    await minute()
    expect((await ask()).wrong).toEqual([])
    await gate(true)
    expect((await jobOf('quotes'))?.started_at).toEqual(started_at)
    advance(60_000)
    await minute()
    expect(await jobOf('quotes')).toMatchObject({ outcome: 'ok' })
    await recover()
    expect(await unfinished()).toEqual([])
  })
})
