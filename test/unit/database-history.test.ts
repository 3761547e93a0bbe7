import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { migrate } from '../../dev/migrate.ts'
import { type Postgres, startPostgres } from '../../dev/postgres.ts'
import { type CachedSql, type LiveSql, openDatabase } from '../../src/db/client.ts'
import {
  claimHistory,
  ensureHistoryPartitions,
  failHistory,
  type HistoryClaim,
  pruneHistory,
  readActions,
  readBars,
  readHistoryState,
  readRunningBar,
  storeHistory,
  wantHistory,
} from '../../src/db/price-history.ts'
import { adjustBars } from '../../src/pricing/adjust.ts'
import type { DailyBar } from '../../src/pricing/provider-quote.ts'
import type { CorporateAction, Interval } from '../../src/protocol/price-history.ts'

const dir = mkdtempSync(join(tmpdir(), 'kerb-database-'))
let server: Postgres
let live: LiveSql
let cached: CachedSql

beforeAll(async () => {
  server = await startPostgres({ dir, fast: true })
  await migrate(server.url)
  live = openDatabase('live', server.url)
  cached = openDatabase('cached', server.url)
})

afterAll(async () => {
  await live?.end()
  await cached?.end()
  await server?.stop()
  rmSync(dir, { recursive: true, force: true })
})

beforeEach(async () => {
  await live`TRUNCATE assets RESTART IDENTITY CASCADE`
})

// A Saturday: the week and the month are running.
const TODAY = '2026-11-21'
const NOW = Date.parse(`${TODAY}T09:00:00Z`)
const DAY_MS = 86_400_000
const MINUTE_MS = 60_000

const dateOf = (ms: number) => new Date(ms).toISOString().slice(0, 10)
const plus = (date: string, days: number) => dateOf(Date.parse(date) + days * DAY_MS)
const monday = (date: string) => plus(date, -((new Date(date).getUTCDay() + 6) % 7))
const first = (date: string) => `${date.slice(0, 7)}-01`

async function addAsset(symbol: string, change: { provider?: string; type?: string } = {}): Promise<number> {
  const { provider = 'yahoo', type = 'stock' } = change
  const [row] = await live<{ asset_id: number }[]>`
    INSERT INTO assets (symbol, name, type, category, code, provider, provider_id, currency)
    VALUES (${symbol}, ${`${symbol} Inc.`}, ${type}, ${type}, ${symbol}, ${provider}, ${symbol}, 'USD')
    RETURNING asset_id`
  return row!.asset_id
}

const day = (date: string, close: string, change: Partial<DailyBar> = {}): DailyBar => {
  return { date, open: close, high: close, low: close, close, volume: '10', ...change }
}

/** Every weekday of [from, to], its close a number that no other day has. */
function weekdays(from: string, to: string): DailyBar[] {
  const days: DailyBar[] = []
  for (let date = from; date <= to; date = plus(date, 1)) {
    const n = Date.parse(date) / DAY_MS
    if (![0, 6].includes(new Date(date).getUTCDay()))
      days.push({ date, open: `${n}.1`, high: `${n}.75`, low: `${n - 1}.5`, close: `${n}.25`, volume: `${n}` })
  }
  return days
}

const split = (ex_date: string, numerator: string, denominator = '1'): CorporateAction => {
  return { kind: 'split', ex_date, numerator, denominator }
}
const dividend = (ex_date: string, amount: string, reference_close: string | null = null): CorporateAction => {
  return { kind: 'dividend', ex_date, amount, reference_close }
}

const claimOf = (asset_id: number, from: string | null = null) => ({ asset: { asset_id }, from }) as HistoryClaim

type Told = { days: DailyBar[]; actions?: CorporateAction[]; currency?: string }
const store = (
  asset: number,
  from: string | null,
  told: Told,
  { provider = 'yahoo', today = TODAY, sql = live }: { provider?: string; today?: string; sql?: LiveSql } = {},
) => storeHistory(sql, claimOf(asset, from), { currency: 'USD', actions: [], ...told }, { provider, today, now: NOW })

const putDays = async (asset: number, days: readonly DailyBar[]) => {
  const years = [...new Set(days.map(({ date }) => date.slice(0, 4)))]
  for (const year of years)
    await live`SELECT ensure_price_history_partitions(${`${year}-01-01`}::text::date, ${`${year}-12-31`}::text::date)`
  await live`
    INSERT INTO price_history_daily
    SELECT ${asset}, d.* FROM jsonb_to_recordset(${JSON.stringify(days)}::text::jsonb) AS d (date date, open numeric,
      high numeric, low numeric, close numeric, volume numeric)`
}

type Bar = { date: string; open: string; high: string; low: string; close: string; volume: string | null }
const bars = async (asset: number, unit: 'daily' | 'weekly' | 'monthly'): Promise<Bar[]> => {
  const column = { daily: 'date', weekly: 'week', monthly: 'month' }[unit]
  return live<Bar[]>`
    SELECT ${live(column)}::text AS date, open, high, low, close, volume FROM ${live(`price_history_${unit}`)}
    WHERE asset_id = ${asset} ORDER BY 1`
}
const state = (asset: number) => readHistoryState(live, asset)

// An independent fold: decimals as whole numbers of 10^-20.
const SCALE = 20
const units = (text: string): bigint => {
  const [whole = '', fraction = ''] = text.split('.')
  return BigInt(whole + fraction.padEnd(SCALE, '0'))
}
const decimal = (value: bigint): string => {
  const digits = value.toString().padStart(SCALE + 1, '0')
  return `${digits.slice(0, -SCALE)}.${digits.slice(-SCALE)}`.replace(/\.?0+$/, '')
}
/** Whole quotients stay, others are rounded to ten decimals: every price here is above 0.1. */
const quotient = (over: bigint, under: bigint): bigint => {
  if (over % under === 0n) return over / under
  const ten = 10n ** BigInt(SCALE - 10)
  return ((2n * over + under * ten) / (2n * under * ten)) * ten
}

/** Folds days by the name of their period; each day is first brought to the shares of its period's last day. */
function folded(days: readonly DailyBar[], period: (date: string) => string, splits: [string, bigint][] = []): Bar[] {
  const groups = new Map<string, DailyBar[]>()
  for (const d of days) groups.set(period(d.date), [...(groups.get(period(d.date)) ?? []), d])
  return [...groups].map(([date, group]) => {
    const inShares = group.map((d) => {
      const by = splits.reduce((all, [ex, n]) => (ex > d.date && period(ex) === date ? all * n : all), 1n)
      const price = (text: string) => quotient(units(text), by)
      const { open, high, low, close, volume } = d
      return { open: price(open), high: price(high), low: price(low), close: price(close), volume: units(volume) * by }
    })
    const most = (a: bigint, b: bigint) => (a > b ? a : b)
    const least = (a: bigint, b: bigint) => (a < b ? a : b)
    return {
      date,
      open: decimal(inShares[0]!.open),
      high: decimal(inShares.map(({ high }) => high).reduce(most)),
      low: decimal(inShares.map(({ low }) => low).reduce(least)),
      close: decimal(inShares.at(-1)!.close),
      volume: decimal(inShares.reduce((sum, { volume }) => sum + volume, 0n)),
    }
  })
}
const weeks = (days: readonly DailyBar[], splits?: [string, bigint][]) => folded(days, monday, splits)
const months = (days: readonly DailyBar[], splits?: [string, bigint][]) => folded(days, first, splits)

const trimmed = (bar: Bar): Bar => {
  const price = (text: string) => decimal(units(text))
  const { date, open, high, low, close, volume } = bar
  return {
    date,
    open: price(open),
    high: price(high),
    low: price(low),
    close: price(close),
    volume: volume && price(volume),
  }
}

const file = (name: string) => readFileSync(join(import.meta.dirname, '../fixtures/daily', name))
const lines = (text: string) => text.trim().split('\n')
/** `Date,Open,High,Low,Close,…`; `volume` is that column's number. */
const csv = (text: string, volume: number): DailyBar[] =>
  lines(text)
    .slice(1)
    .map((line) => {
      const cells = line.trim().split(',')
      const [date = '', open = '', high = '', low = '', close = ''] = cells
      return { date, open, high, low, close, volume: cells[volume] ?? '' }
    })

describe('the one fold', () => {
  const fold = (unit: 'week' | 'month', asset: number, days: readonly DailyBar[]) => live<Bar[]>`
    SELECT period::text AS date, open, high, low, close, volume
    FROM fold_price_days(${unit}, ${asset}, ${JSON.stringify(days)}::text::jsonb)`

  test.each([
    ['week', monday],
    ['month', first],
  ] as const)('Q7 the days of an index give its published %ss exactly', async (unit, period) => {
    const days = csv(file('index-2006H1-day.csv').toString(), 5)
    const published = csv(file(`index-2006H1-${unit}.csv`).toString(), 5)
    const asset = await addAsset('INDEX')
    // Theirs are named after the last trading day, ours after the first day of the calendar.
    const expected = published.map((bar) => trimmed({ ...bar, date: period(bar.date) }))
    expect(expected.length).toBe(unit === 'week' ? 26 : 6)
    expect(await fold(unit, asset, days)).toEqual(expected)
    expect(await fold(unit, asset, days.toReversed())).toEqual(expected)
  })

  test('Q7 twenty years of ORCL: weeks and months equal those of an independent fold, digit by digit', async () => {
    const days = csv(gunzipSync(file('ORCL_1995_2014_yahoo.csv.gz')).toString(), 6)
    expect(days).toHaveLength(5036)
    const asset = await addAsset('ORCL')
    expect(await fold('week', asset, days)).toEqual(weeks(days))
    expect(await fold('month', asset, days)).toEqual(months(days))
  })

  test('Q7 AAPL raw with its four splits: days before one are brought to the shares of the period’s end', async () => {
    const dollars = (text: string) => decimal((BigInt(text) * 10n ** BigInt(SCALE)) / 10_000n)
    const days = lines(gunzipSync(file('lean-aapl-daily-raw-x10000.csv.gz')).toString()).map((line): DailyBar => {
      const [date = '', open = '', high = '', low = '', close = '', volume = ''] = line.trim().split(',')
      const iso = `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6, 8)}`
      return { date: iso, open: dollars(open), high: dollars(high), low: dollars(low), close: dollars(close), volume }
    })
    // The split factors of the file: what they are multiplied by from one row to the next, on the trading day after it.
    const rows = lines(file('lean-aapl-factor-file.csv').toString()).map((line) => line.trim().split(','))
    const splits = rows.flatMap(([until = '', , factor], n): [string, bigint][] => {
      const by = Math.round(Number(rows[n + 1]?.[2] ?? factor) / Number(factor))
      const ex = days.find(({ date }) => date.replaceAll('-', '') > until)?.date
      return by > 1 && ex ? [[ex, BigInt(by)]] : []
    })
    expect(splits).toEqual([
      ['2000-06-21', 2n],
      ['2005-02-28', 2n],
      ['2014-06-09', 7n],
      ['2020-08-31', 4n],
    ])
    const asset = await addAsset('AAPL')
    for (const [ex, n] of splits)
      await live`INSERT INTO corporate_actions (asset_id, ex_date, kind, numerator, denominator)
        VALUES (${asset}, ${ex}, 'split', ${n.toString()}, 1)`
    const [byWeek, byMonth] = [await fold('week', asset, days), await fold('month', asset, days)]
    expect(byWeek).toEqual(weeks(days, splits))
    expect(byMonth).toEqual(months(days, splits))
    // Bars of weeks and months in today's shares are those of days in today's shares, but for what was rounded twice.
    const actions = splits.map(([ex, n]) => split(ex, `${n}`))
    const inShares = (list: readonly Bar[], interval: Interval) =>
      adjustBars(
        list.map((bar) => ({ ...bar, is_complete: true })),
        actions,
        'split',
        interval,
      )
    const daily = inShares(days, 'ONE_DAY').map((bar) => ({ ...bar, volume: bar.volume! }))
    for (const [list, expected] of [
      [inShares(byWeek, 'ONE_WEEK'), weeks(daily)],
      [inShares(byMonth, 'ONE_MONTH'), months(daily)],
    ] as const)
      for (const [n, bar] of list.entries()) {
        const { open, high, low, close, ...rest } = expected[n]!
        expect(bar).toMatchObject(rest)
        for (const [told, sum] of [
          [bar.open, open],
          [bar.high, high],
          [bar.low, low],
          [bar.close, close],
        ] as const)
          expect(Math.abs(Number(told) - Number(sum)), bar.date).toBeLessThanOrEqual(2e-10)
      }
    // 634 dollars in sevenths, since the split came on the 9th; the 31st of August 2020 is the last day of its month.
    expect(byMonth.find(({ date }) => date === '2014-06-01')).toMatchObject({ open: '90.5714285714', close: '92.93' })
    expect(byMonth.find(({ date }) => date === '2020-08-01')).toMatchObject({ close: '129.04' })
  })

  test('a volume that is not known makes that of its period unknown; a quotient that ends is whole', async () => {
    const asset = await addAsset('ONE')
    await live`INSERT INTO corporate_actions (asset_id, ex_date, kind, numerator, denominator)
      VALUES (${asset}, '2026-10-08', 'split', 4, 1), (${asset}, '2026-10-07', 'split', 3, 2)`
    const days = [day('2026-10-06', '0.000000000012'), day('2026-10-07', '8'), day('2026-10-08', '2')]
    expect(await fold('week', asset, days)).toEqual([
      { date: '2026-10-05', open: '0.000000000002', high: '2', low: '0.000000000002', close: '2', volume: '110' },
    ])
    const unknown = [{ ...day('2026-10-06', '1'), volume: null as unknown as string }, day('2026-10-07', '3')]
    expect((await fold('month', asset, unknown))[0]?.volume).toBeNull()
    expect(await fold('month', asset, [])).toEqual([])
  })
})

describe('loading', () => {
  const whole = weekdays('2016-03-16', '2026-11-20')
  const since = (date: string) => whole.filter((d) => d.date >= date)

  test('Q7 days 365, weeks 157 and the running one, months all; older days are folded and never stored', async () => {
    const asset = await addAsset('ONE')
    const told = await store(asset, null, { days: whole })
    expect(await bars(asset, 'daily')).toEqual(since('2025-11-21').map(trimmed))
    const weekly = await bars(asset, 'weekly')
    expect(weekly).toEqual(weeks(whole).filter(({ date }) => date >= plus('2026-11-16', -157 * 7)))
    expect(weekly).toHaveLength(158)
    // The history begins inside a week and a month: there was nothing before, so that these are folded, too.
    expect(await bars(asset, 'monthly')).toEqual(months(whole))
    expect(told).toEqual({ days: 261, weeks: 158, months: 129, actions: 0 })
    expect(await state(asset)).toEqual({
      provider: 'yahoo',
      currency: 'USD',
      state: 'whole',
      first_date: '2016-03-16',
      last_date: '2026-11-20',
      days_from: '2025-11-21',
      actions_version: 0,
      error: null,
    })
  })

  test('a young asset has all its days, and its first week and month', async () => {
    const asset = await addAsset('ONE')
    const days = weekdays('2026-11-12', '2026-11-20')
    await store(asset, null, { days })
    expect(await bars(asset, 'weekly')).toEqual(weeks(days))
    expect(await bars(asset, 'monthly')).toEqual(months(days))
    expect(await state(asset)).toMatchObject({ first_date: '2026-11-12', days_from: '2026-11-12' })
  })

  test('the same again writes nothing', async () => {
    const asset = await addAsset('ONE')
    await store(asset, null, { days: whole, actions: [split('2020-08-31', '4'), dividend('2026-11-06', '0.2')] })
    const rows = () => live`
      SELECT xmin::text FROM price_history_daily UNION ALL SELECT xmin::text FROM price_history_weekly
      UNION ALL SELECT xmin::text FROM price_history_monthly UNION ALL SELECT xmin::text FROM corporate_actions`
    const before = await rows()
    const nothing = { days: 0, weeks: 0, months: 0, actions: 0 }
    const again = { days: whole, actions: [split('2020-08-31', '4'), dividend('2026-11-06', '0.2')] }
    expect(await store(asset, null, again)).toEqual(nothing)
    expect(await store(asset, '2026-11-13', { ...again, days: since('2026-11-13') })).toEqual(nothing)
    expect(await rows()).toEqual(before)
    expect(await state(asset)).toMatchObject({ actions_version: 1, days_from: '2025-11-21' })
  })

  test('Q7 the running week and month grow by a day, and a correction changes all that hold the day', async () => {
    const asset = await addAsset('ONE')
    await store(asset, null, { days: whole.slice(0, -3) }, { today: '2026-11-18' })
    expect(await readRunningBar(live, asset, 'ONE_WEEK', '2026-11-18')).toMatchObject({ is_complete: false })
    const corrected = since('2026-11-10').map((d) => (d.date === '2026-11-12' ? { ...d, high: '99999.5' } : d))
    expect(await store(asset, '2026-11-10', { days: corrected })).toEqual({ days: 4, weeks: 2, months: 1, actions: 0 })
    const known = [...whole.filter(({ date }) => date < '2026-11-10'), ...corrected]
    expect((await bars(asset, 'weekly')).at(-1)).toEqual(weeks(known).at(-1))
    expect((await bars(asset, 'weekly')).at(-2)).toMatchObject({ high: '99999.5' })
    expect(await bars(asset, 'monthly')).toEqual(months(known))
  })

  test('what is told of a part of a week or month whose other days have gone changes no bar', async () => {
    const asset = await addAsset('ONE')
    await store(asset, null, { days: whole })
    const before = [await bars(asset, 'weekly'), await bars(asset, 'monthly')]
    // November 2025 began twenty days before the first day that is kept, its week on the Monday before.
    const told = weekdays('2025-11-21', '2025-11-27').map((d) => ({ ...d, high: '99999.5' }))
    expect(await store(asset, '2025-11-21', { days: told })).toEqual({ days: 5, weeks: 1, months: 0, actions: 0 })
    expect(await bars(asset, 'monthly')).toEqual(before[1])
    const changed = (await bars(asset, 'weekly')).filter((bar, n) => bar.high !== before[0]![n]!.high)
    expect(changed.map(({ date }) => date)).toEqual(['2025-11-24'])
  })

  test.each([
    ['begins later', weekdays('2023-05-17', '2026-11-20')],
    ['begins inside the days that are kept', weekdays('2026-02-18', '2026-11-20')],
    ['ends long ago', weekdays('2016-03-16', '2024-05-15')],
    ['ends last month', weekdays('2016-03-16', '2026-10-14')],
    ['is in the middle', weekdays('2019-07-17', '2019-11-13')],
    ['is empty', []],
  ])('a second load that %s destroys nothing', async (_, fewer) => {
    const asset = await addAsset('ONE')
    await store(asset, null, { days: whole })
    const all = async () => [await bars(asset, 'daily'), await bars(asset, 'weekly'), await bars(asset, 'monthly')]
    const [before, known] = [await all(), await state(asset)]
    expect(await store(asset, null, { days: fewer })).toEqual({ days: 0, weeks: 0, months: 0, actions: 0 })
    expect(await all()).toEqual(before)
    expect(await state(asset)).toEqual(known)
  })

  test('days that a second load tells for the first time are taken, with the periods that are then whole', async () => {
    const asset = await addAsset('ONE')
    await store(asset, null, { days: since('2020-05-13') })
    await store(asset, null, { days: whole })
    expect(await bars(asset, 'monthly')).toEqual(months(whole))
    expect(await state(asset)).toMatchObject({ first_date: '2016-03-16', days_from: '2025-11-21' })
  })

  test('a split that is told later changes the bars of its own week and month, and the version', async () => {
    const asset = await addAsset('ONE')
    const days = weekdays('2025-12-01', '2026-11-20')
    await store(asset, null, { days })
    const told = { days: days.filter(({ date }) => date >= '2026-11-13'), actions: [split('2026-10-14', '4')] }
    expect(await store(asset, '2026-11-13', told)).toEqual({ days: 0, weeks: 1, months: 1, actions: 1 })
    expect(await bars(asset, 'weekly')).toEqual(weeks(days, [['2026-10-14', 4n]]))
    expect(await bars(asset, 'monthly')).toEqual(months(days, [['2026-10-14', 4n]]))
    expect(await state(asset)).toMatchObject({ actions_version: 1 })
  })

  test('actions: two of one day are one, those to come wait, the close of the day before is found', async () => {
    const asset = await addAsset('ONE')
    const days = [day('2026-11-12', '100'), day('2026-11-13', '101.5'), day('2026-11-16', '25')]
    const actions = [
      split('2026-11-16', '2'),
      split('2026-11-16', '2'),
      dividend('2026-11-16', '0.25'),
      dividend('2026-11-16', '1'),
      dividend('2026-11-12', '3'),
      split('2026-11-23', '10'),
    ]
    expect((await store(asset, null, { days, actions })).actions).toBe(3)
    const known = [dividend('2026-11-12', '3'), dividend('2026-11-16', '1.25', '101.5'), split('2026-11-16', '4', '1')]
    expect(await readActions(live, asset)).toEqual(known)
    // The close before the first day is told now; what was known of the other one is not lost.
    const later = [dividend('2026-11-12', '3', '99'), dividend('2026-11-16', '1.25')]
    expect((await store(asset, '2026-11-16', { days: [], actions: later })).actions).toBe(1)
    expect(await readActions(live, asset)).toEqual([dividend('2026-11-12', '3', '99'), ...known.slice(1)])
    expect(await state(asset)).toMatchObject({ actions_version: 2 })
    const tomorrow = { provider: 'yahoo', today: '2026-11-23' }
    expect((await store(asset, '2026-11-16', { days: [], actions: actions.slice(-1) }, tomorrow)).actions).toBe(1)
  })

  test('what a simulated market told is removed before what a real one tells is taken', async () => {
    const asset = await addAsset('ONE')
    const actions = [split('2026-10-14', '3')]
    await store(asset, null, { days: weekdays('2010-01-04', '2026-11-20'), actions }, { provider: 'simulated' })
    const days = weekdays('2026-06-15', '2026-11-20')
    await store(asset, null, { days })
    expect(await bars(asset, 'daily')).toEqual(days.map(trimmed))
    expect(await bars(asset, 'weekly')).toEqual(weeks(days))
    expect(await bars(asset, 'monthly')).toEqual(months(days))
    expect(await readActions(live, asset)).toEqual([])
    expect(await state(asset)).toMatchObject({ provider: 'yahoo', first_date: '2026-06-15', actions_version: 2 })
  })

  test.each([
    ['a simulated market', { provider: 'simulated' }, {}],
    ['another currency', {}, { currency: 'EUR' }],
  ])('an update from %s is not mixed in: the whole history is asked for', async (_, teller, told) => {
    const asset = await addAsset('ONE')
    await store(asset, null, { days: whole })
    const before = await bars(asset, 'weekly')
    const nothing = { days: 0, weeks: 0, months: 0, actions: 0 }
    expect(await store(asset, '2026-11-13', { days: [day('2026-11-20', '1')], ...told }, teller)).toEqual(nothing)
    expect(await bars(asset, 'weekly')).toEqual(before)
    expect(await state(asset)).toMatchObject({ state: 'pending', provider: 'yahoo', currency: 'USD' })
    const claims = await claimHistory(live, { limit: 10, now: NOW, today: TODAY, simulated: false })
    expect(claims).toMatchObject([{ from: null }])
  })

  test('all or nothing: one day that is not a number, and nothing of the load is there', async () => {
    const asset = await addAsset('ONE')
    const days = [...whole.slice(0, -1), day('2026-11-20', 'x')]
    await expect(store(asset, null, { days, actions: [split('2020-08-31', '4')] })).rejects.toMatchObject({
      code: '22P02',
    })
    expect([await bars(asset, 'monthly'), await readActions(live, asset), await state(asset)]).toEqual([[], [], null])
  })

  test('a day that has not come is not taken, and an action of a kind that is not known is refused', async () => {
    const asset = await addAsset('ONE')
    await store(asset, null, { days: [day('2026-11-20', '1'), day('2026-11-22', '2'), day('9999-01-01', '3')] })
    expect((await bars(asset, 'daily')).map(({ date }) => date)).toEqual(['2026-11-20'])
    await expect(store(asset, null, { days: [], actions: [split('2026-01-01', '0')] })).rejects.toThrow('is_whole')
  })

  test('bars: only what is over, from and to as days, each interval from its table; the running one apart', async () => {
    const asset = await addAsset('ONE')
    await store(asset, null, { days: whole })
    const read = async (interval: 'ONE_DAY' | 'ONE_WEEK' | 'ONE_MONTH', from: string, to: string) => {
      const list = await readBars(cached, asset, interval, { from, to })
      expect(list.every(({ is_complete }) => is_complete)).toBe(true)
      return list.map(({ date }) => date)
    }
    expect(await read('ONE_DAY', '2026-11-12', '2026-11-17')).toEqual(['2026-11-12', '2026-11-13', '2026-11-16'])
    expect(await read('ONE_WEEK', '2026-11-01', TODAY)).toEqual(['2026-11-02', '2026-11-09'])
    expect(await read('ONE_WEEK', '2026-11-01', '2026-11-22')).toEqual(['2026-11-02', '2026-11-09'])
    expect(await read('ONE_WEEK', '2026-11-02', '2026-11-23')).toEqual(['2026-11-02', '2026-11-09', '2026-11-16'])
    expect(await read('ONE_MONTH', '2026-09-01', '2026-11-30')).toEqual(['2026-09-01', '2026-10-01'])
    expect(await read('ONE_MONTH', '2026-09-02', '2026-12-01')).toEqual(['2026-10-01', '2026-11-01'])
    const [week, month] = [weeks(whole).at(-1)!, months(whole).at(-1)!]
    expect(await readRunningBar(live, asset, 'ONE_WEEK', TODAY)).toEqual({ ...week, is_complete: false })
    expect(await readRunningBar(live, asset, 'ONE_MONTH', TODAY)).toEqual({ ...month, is_complete: false })
    expect(await readRunningBar(live, asset, 'ONE_MONTH', '2026-12-01')).toBeNull()
  })

  test('the cached read is one scan of the primary key, of as many partitions as the range touches', async () => {
    const asset = await addAsset('ONE')
    await store(asset, null, { days: whole })
    // Among those of a hundred assets: of a single one Postgres had rather read the table from end to end.
    for (let n = 0; n < 100; n++) {
      const other = await addAsset(`A${n}`)
      await live`
        INSERT INTO price_history_daily
        SELECT ${other}, date, open, high, low, close, volume FROM price_history_daily WHERE asset_id = ${asset}`
    }
    await live`ANALYZE price_history_daily`
    const plan = await live<Record<string, string>[]>`
      EXPLAIN SELECT date FROM price_history_daily
      WHERE asset_id = ${asset} AND date >= '2026-02-01' AND date < '2026-02-05' ORDER BY date`
    const text = plan.flatMap(Object.values).join('\n')
    expect(text).toContain('price_history_daily_2026_pkey')
    expect(text).not.toMatch(/2025|Sort/)
  })

  test('history goes with its asset', async () => {
    const asset = await addAsset('ONE')
    await store(asset, null, { days: whole, actions: [split('2020-08-31', '4')] })
    await live`DELETE FROM assets WHERE asset_id = ${asset}`
    const counts = await live`
      SELECT (SELECT count(*) FROM price_history_daily) + (SELECT count(*) FROM price_history_weekly)
        + (SELECT count(*) FROM price_history_monthly) + (SELECT count(*) FROM corporate_actions)
        + (SELECT count(*) FROM asset_history) AS rows`
    expect(counts).toEqual([{ rows: '0' }])
  })
})

describe('aggregation and retention', () => {
  const aggregate = async (asset: number, from: string) => {
    const [row] = await live<{ weeks: number; months: number }[]>`
      SELECT aggregate_daily_to_weekly(${asset}, ${from}::text::date) AS weeks,
        aggregate_daily_to_monthly(${asset}, ${from}::text::date) AS months`
    return [row!.weeks, row!.months]
  }
  const days = weekdays('2024-01-01', '2026-11-20')

  test('Q7 days that somebody put there by hand are folded, from the week and month of the date on, and once', async () => {
    const asset = await addAsset('ONE', { provider: 'manual' })
    await putDays(asset, days)
    expect(await aggregate(asset, '2026-11-11')).toEqual([2, 1])
    expect(await bars(asset, 'weekly')).toEqual(weeks(days).slice(-2))
    expect(await bars(asset, 'monthly')).toEqual(months(days).slice(-1))
    expect(await aggregate(asset, '2024-01-01')).toEqual([weeks(days).length - 2, 34])
    expect(await bars(asset, 'weekly')).toEqual(weeks(days))
    expect(await bars(asset, 'monthly')).toEqual(months(days))
    expect(await aggregate(asset, '2024-01-01')).toEqual([0, 0])
    expect(await aggregate(asset, '2027-01-01')).toEqual([0, 0])
    expect(await aggregate(await addAsset('TWO'), '2024-01-01')).toEqual([0, 0])
  })

  test('Q7 pruning folds first; a period whose days are partly gone keeps its bar for good', async () => {
    const asset = await addAsset('ONE', { provider: 'manual' })
    await putDays(asset, days)
    const kept = days.filter(({ date }) => date >= '2025-11-21')
    expect(await pruneHistory(live, TODAY)).toMatchObject({ days: days.length - kept.length, weeks: 0, done: true })
    expect(await bars(asset, 'daily')).toEqual(kept.map(trimmed))
    expect(await bars(asset, 'weekly')).toEqual(weeks(days).filter(({ date }) => date >= plus('2026-11-16', -157 * 7)))
    expect(await bars(asset, 'monthly')).toEqual(months(days))
    expect(await state(asset)).toMatchObject({ state: 'pending', first_date: '2024-01-01', days_from: '2025-11-21' })

    // November 2025 has lost days: nothing folds it any more. December has all, and follows its days.
    await live`UPDATE price_history_daily SET high = 99999 WHERE asset_id = ${asset} AND date < '2026-01-01'`
    const [week, month] = await aggregate(asset, '2024-01-01')
    expect([week, month]).toEqual([6, 1])
    const monthly = await bars(asset, 'monthly')
    expect(monthly.find(({ date }) => date === '2025-11-01')).toEqual(months(days)[22])
    expect(monthly.find(({ date }) => date === '2025-12-01')?.high).toBe('99999')
    expect((await bars(asset, 'weekly')).find(({ date }) => date === '2025-11-17')?.high).not.toBe('99999')
  })

  test('Q7 day by day for two months: bars equal the fold of all days that ever were', async () => {
    const asset = await addAsset('ONE')
    const all = weekdays('2022-11-01', '2026-11-20')
    for (let today = '2026-09-19'; today <= TODAY; today = plus(today, 1)) {
      const claim = (
        await claimHistory(live, { limit: 1, now: Date.parse(today) + 3_600_000, today, simulated: false })
      )[0]
      if (claim) {
        const told = all.filter(({ date }) => date < today && (claim.from === null || date >= claim.from))
        await store(asset, claim.from, { days: told }, { today })
      }
      await pruneHistory(live, today)
      await pruneHistory(live, today)
    }
    expect(await bars(asset, 'daily')).toEqual(all.filter(({ date }) => date >= '2025-11-21').map(trimmed))
    expect(await bars(asset, 'weekly')).toEqual(weeks(all).filter(({ date }) => date >= plus('2026-11-16', -157 * 7)))
    expect(await bars(asset, 'monthly')).toEqual(months(all))
  })

  test('Q7 after a year away the history is loaded anew, and no month lacks a day', async () => {
    const asset = await addAsset('ONE')
    const all = weekdays('2022-11-01', '2026-11-20')
    await store(asset, null, { days: all.filter(({ date }) => date < '2025-09-10') }, { today: '2025-09-10' })
    const [claim] = await claimHistory(live, { limit: 1, now: NOW, today: TODAY, simulated: false })
    expect(claim!.from).toBeNull()
    await store(asset, null, { days: all })
    await pruneHistory(live, TODAY)
    expect(await bars(asset, 'monthly')).toEqual(months(all))
    expect(await bars(asset, 'daily')).toEqual(all.filter(({ date }) => date >= '2025-11-21').map(trimmed))
  })

  test('Q7 a history told in pieces: days_from says from where on none is missing, and no bar lacks a day', async () => {
    const [later, older] = [await addAsset('LATER'), await addAsset('OLDER')]
    const names = async (asset: number) => (await bars(asset, 'monthly')).map(({ date }) => date.slice(0, 7))
    await store(later, null, { days: weekdays('2026-03-02', '2026-04-30') })
    expect(await state(later)).toMatchObject({ first_date: '2026-03-02', days_from: '2026-03-02' })
    await store(later, null, { days: weekdays('2026-06-01', '2026-06-30') })
    expect(await state(later)).toMatchObject({ first_date: '2026-03-02', days_from: '2026-06-01' })
    await store(later, null, { days: weekdays('2026-01-05', '2026-01-30') })
    expect(await state(later)).toMatchObject({ first_date: '2026-01-05', days_from: '2026-06-01' })
    await store(older, null, { days: weekdays('2026-06-03', '2026-06-30') })
    await store(older, null, { days: weekdays('2026-04-01', '2026-05-15') })
    expect(await state(older)).toMatchObject({ first_date: '2026-04-01', days_from: '2026-06-03' })
    expect(await names(older)).toEqual(['2026-04', '2026-06'])
    const all = weekdays('2026-01-05', '2026-07-10')
    for (const asset of [later, older]) {
      await store(asset, null, { days: all })
      expect(await bars(asset, 'monthly')).toEqual(months(all))
      expect(await bars(asset, 'weekly')).toEqual(weeks(all))
      expect(await state(asset)).toMatchObject({ first_date: '2026-01-05', days_from: '2026-01-05' })
    }
  })

  test('Q7 whatever is told, in whatever order: a bar that was right stays so, and one whole load sets all right', async () => {
    const all = weekdays('2024-01-03', '2025-12-31')
    await live`UPDATE app_settings SET value = 60 WHERE name = 'history_days'`
    try {
      const step = fc.record({
        kind: fc.constantFrom('update', 'update', 'whole', 'prune', 'aggregate'),
        later: fc.integer({ min: 1, max: 45 }),
        skipped: fc.constantFrom(0, 30, 100, 200, 210, 230),
        missing: fc.constantFrom(0, 0, 10, 50, 150),
      })
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 9 }), async (steps) => {
          await live`TRUNCATE assets RESTART IDENTITY CASCADE`
          const asset = await addAsset('ONE')
          let today = '2024-11-06'
          let right = new Set<string>()
          const look = async () => {
            const last = (await state(asset))?.last_date ?? ''
            const told = all.filter(({ date }) => date <= last)
            const expected = new Set([...weeks(told), ...months(told)].map((bar) => JSON.stringify(bar)))
            const known = [...(await bars(asset, 'weekly')), ...(await bars(asset, 'monthly'))]
            return { expected, known: new Set(known.map((bar) => JSON.stringify(bar))) }
          }
          for (const { kind, later, skipped, missing } of steps) {
            today = plus(today, later)
            const over = all.filter(({ date }) => date < today)
            if (kind === 'prune') await live`SELECT * FROM prune_price_history(${today}::text::date)`
            else if (kind === 'aggregate') await aggregate(asset, '2024-01-01')
            else if (kind === 'whole') {
              const slice = over.slice(skipped, over.length - missing)
              await store(asset, null, { days: slice }, { today })
            } else {
              const [kept] = await live<{ from: string }[]>`
                SELECT days_from::text AS from FROM price_history_kept(${today}::text::date)`
              const last = (await state(asset))?.last_date
              const from = last && plus(last, -7) >= kept!.from ? plus(last, -7) : null
              await store(asset, from, { days: over.filter(({ date }) => from === null || date >= from) }, { today })
            }
            const { expected, known } = await look()
            // One that was running then has grown since: it is not expected any more.
            expect([...right].filter((bar) => expected.has(bar) && !known.has(bar))).toEqual([])
            right = new Set([...known].filter((bar) => expected.has(bar)))
            const { days_from, last_date } = (await state(asset)) ?? {}
            if (days_from && last_date) {
              const there = all.filter(({ date }) => date >= days_from && date <= last_date)
              expect((await bars(asset, 'daily')).filter(({ date }) => date >= days_from)).toEqual(there.map(trimmed))
            }
          }
          const over = all.filter(({ date }) => date < today)
          await store(asset, null, { days: over }, { today })
          await live`SELECT * FROM prune_price_history(${today}::text::date)`
          expect(await bars(asset, 'monthly')).toEqual(months(over))
          expect(await bars(asset, 'weekly')).toEqual(weeks(over))
          const [kept] = await live<{ from: string }[]>`
            SELECT days_from::text AS from FROM price_history_kept(${today}::text::date)`
          expect(await bars(asset, 'daily')).toEqual(over.filter(({ date }) => date >= kept!.from).map(trimmed))
        }),
        { numRuns: 30, seed: 7 },
      )
    } finally {
      await live`UPDATE app_settings SET value = 365 WHERE name = 'history_days'`
    }
  })

  test('however short days are kept, the running week and month keep theirs', async () => {
    await live`UPDATE app_settings SET value = 7 WHERE name = 'history_days'`
    const [kept] = await live<{ from: string }[]>`SELECT days_from::text AS from FROM price_history_kept('2026-11-03')`
    await live`UPDATE app_settings SET value = 365 WHERE name = 'history_days'`
    // The 27th of October may still be corrected: its month began on the 1st.
    expect(kept!.from <= '2026-10-01').toBe(true)
  })

  test('old partitions go when they are empty', async () => {
    const asset = await addAsset('ONE', { provider: 'manual' })
    await putDays(asset, weekdays('2023-12-20', '2024-01-10'))
    const names = async () =>
      (
        await live<{ name: string }[]>`
        SELECT inhrelid::regclass::text AS name FROM pg_inherits
        WHERE inhparent = 'price_history_daily'::regclass ORDER BY 1`
      ).map(({ name }) => name.slice(-4))
    expect(await names()).toEqual(['2023', '2024', '2025', '2026'])
    expect(await pruneHistory(live, '2024-12-25')).toMatchObject({ days: 4, partitions: 0 })
    expect(await pruneHistory(live, '2025-01-20')).toMatchObject({ partitions: 1 })
    expect(await pruneHistory(live, TODAY)).toMatchObject({ partitions: 1 })
    expect(await names()).toEqual(['2025', '2026'])
  })

  /** Runs `work` on a connection of its own, and ends that from without once it waits for a lock. */
  async function killed(work: (sql: LiveSql) => Promise<unknown>): Promise<void> {
    const victim = openDatabase('live', server.url)
    const [{ pid } = { pid: 0 }] = await victim<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`
    const outcome = work(victim).then(
      () => 'finished',
      () => 'died',
    )
    await expect
      .poll(() => cached`SELECT FROM pg_locks WHERE pid = ${pid} AND NOT granted`, { timeout: 10_000 })
      .toHaveLength(1)
    await cached`SELECT pg_terminate_backend(${pid})`
    expect(await outcome).toBe('died')
    await victim.end({ timeout: 1 })
  }

  test('a run that is killed in the middle leaves a true state, and the next one finishes', async () => {
    const assets = [await addAsset('ONE'), await addAsset('TWO'), await addAsset('THREE')]
    const all = weekdays('2022-11-01', '2026-11-20')
    for (const asset of assets)
      await store(asset, null, { days: all.filter(({ date }) => date < '2026-10-10') }, { today: '2026-10-10' })
    for (const asset of assets)
      await store(asset, '2026-10-02', { days: all.filter(({ date }) => date >= '2026-10-02') })
    const tables = async () => ({
      days: await Promise.all(assets.map((asset) => bars(asset, 'daily'))),
      states: await Promise.all(assets.map(state)),
    })
    const before = await tables()
    // The second asset's oldest week is held: the run has deleted the first one's rows and the second one's days by then.
    await live.begin(async (holder) => {
      await holder`SELECT FROM price_history_weekly WHERE asset_id = ${assets[1]!} ORDER BY week LIMIT 1 FOR UPDATE`
      await killed((sql) => pruneHistory(sql, TODAY))
    })
    expect(await tables()).toEqual(before)
    expect(await pruneHistory(live, TODAY)).toMatchObject({ done: true })
    for (const asset of assets) {
      expect(await bars(asset, 'daily')).toEqual(all.filter(({ date }) => date >= '2025-11-21').map(trimmed))
      expect(await bars(asset, 'weekly')).toEqual(weeks(all).filter(({ date }) => date >= plus('2026-11-16', -157 * 7)))
      expect(await bars(asset, 'monthly')).toEqual(months(all))
    }
  })

  test('a load that is killed in the middle has changed nothing, and is taken again when its lease is over', async () => {
    const asset = await addAsset('ONE')
    const all = weekdays('2022-11-01', '2026-11-20')
    await store(asset, null, { days: all.filter(({ date }) => date < '2026-11-11') }, { today: '2026-11-11' })
    const claims = (now: number) => claimHistory(live, { limit: 5, now, today: TODAY, simulated: false })
    const [claim] = await claims(NOW)
    expect(claim?.from).toBe('2026-11-03')
    const told = { days: all.filter(({ date }) => date >= '2026-11-03'), actions: [split('2026-11-12', '2')] }
    const before = [await bars(asset, 'weekly'), await bars(asset, 'monthly'), await state(asset)]
    await live.begin(async (holder) => {
      await holder`SELECT FROM price_history_monthly WHERE asset_id = ${asset} AND month = '2026-11-01' FOR UPDATE`
      await killed((sql) => store(asset, '2026-11-03', told, { sql }))
    })
    expect([await bars(asset, 'weekly'), await bars(asset, 'monthly'), await state(asset)]).toEqual(before)
    expect(await readActions(live, asset)).toEqual([])
    expect(await claims(NOW + 9 * MINUTE_MS)).toEqual([])
    expect(await claims(NOW + 10 * MINUTE_MS)).toEqual([claim])
    await store(asset, '2026-11-03', told)
    expect(await bars(asset, 'monthly')).toEqual(months(all, [['2026-11-12', 2n]]))
  })

  test('a correction that comes while all is folded again is not undone', async () => {
    const asset = await addAsset('ONE')
    const all = weekdays('2026-01-05', '2026-11-20')
    await store(asset, null, { days: all })
    const other = openDatabase('live', server.url)
    try {
      const told = { days: [day('2026-11-20', '77777')] }
      const rounds = Array.from({ length: 20 }, (_, n) => n)
      await Promise.all([
        (async () => {
          for (const n of rounds)
            await store(asset, '2026-11-20', n % 2 ? { days: all.slice(-1) } : told, { sql: other })
          await store(asset, '2026-11-20', told, { sql: other })
        })(),
        (async () => {
          for (const _ of rounds) await aggregate(asset, '2026-01-01')
        })(),
      ])
      expect(await bars(asset, 'monthly')).toEqual(months([...all.slice(0, -1), ...told.days]))
    } finally {
      await other.end()
    }
  })
})

describe('claims', () => {
  const claim = (change: { limit?: number; now?: number; today?: string; simulated?: boolean; sql?: LiveSql } = {}) => {
    const { sql = live, ...given } = change
    return claimHistory(sql, { limit: 100, now: NOW, today: TODAY, simulated: false, ...given })
  }
  const names = (claims: readonly HistoryClaim[]) => claims.map(({ asset, from }) => `${asset.symbol} ${from}`)

  test('an asset is taken once, as it is; those that nobody prices and that are not active never', async () => {
    const asset = await addAsset('ONE')
    await addAsset('HAND', { provider: 'manual' })
    const off = await addAsset('OFF')
    await live`UPDATE assets SET active = FALSE WHERE asset_id = ${off}`
    expect(await claim()).toEqual([
      {
        asset: {
          asset_id: asset,
          symbol: 'ONE',
          name: 'ONE Inc.',
          type: 'stock',
          category: 'stock',
          code: 'ONE',
          provider: 'yahoo',
          provider_id: 'ONE',
          currency: 'USD',
          isin: null,
        },
        from: null,
      },
    ])
    expect(await claim()).toEqual([])
    expect(await state(asset)).toMatchObject({ state: 'loading', first_date: null })
  })

  test('two runs at once never take the same asset', async () => {
    for (let n = 0; n < 40; n++) await addAsset(`A${n}`)
    const others = [openDatabase('live', server.url), openDatabase('live', server.url)]
    try {
      const taken = await Promise.all([live, ...others].map((sql) => claim({ sql, limit: 15 })))
      const rest = await claim()
      const all = [...taken.flat(), ...rest].map(({ asset }) => asset.asset_id)
      expect(new Set(all).size).toBe(40)
      expect(all).toHaveLength(40)
    } finally {
      for (const other of others) await other.end()
    }
  })

  test('the order: never asked for, then a day behind, then those that failed, each after its pause', async () => {
    const [failed, behind, fresh] = [await addAsset('FAILED'), await addAsset('BEHIND'), await addAsset('FRESH')]
    const yesterday = NOW - DAY_MS
    await claim({ now: yesterday })
    await store(behind, null, { days: weekdays('2020-01-06', '2026-11-19') }, { today: '2026-11-20' })
    await store(fresh, null, { days: weekdays('2020-01-06', '2026-11-20') }, { today: '2026-11-20' })
    await failHistory(live, failed, { error: 'unavailable: it was away', retryAt: null, asked: true })
    await addAsset('NEW')
    expect(names(await claim({ limit: 1 }))).toEqual(['NEW null'])
    expect(names(await claim({ limit: 1 }))).toEqual(['BEHIND 2026-11-12'])
    expect(names(await claim())).toEqual(['FAILED null'])
    expect(await claim()).toEqual([])
    expect(await state(failed)).toMatchObject({ state: 'loading', error: 'unavailable: it was away' })
    // Nobody has told anything of the three: they are taken again when their leases end.
    const again = names(await claim({ now: NOW + 10 * MINUTE_MS }))
    expect(again).toEqual(['FAILED null', 'BEHIND 2026-11-12', 'NEW null'])
  })

  test('an asset that was just added is taken before those that came with the rest; one that a reader waits for, first', async () => {
    for (const symbol of ['SEED1', 'SEED2', 'SEED3', 'SEED4']) await addAsset(symbol)
    await live`UPDATE assets SET created_at = '2026-11-01'`
    await addAsset('ADDED')
    const [, , third] = await live<{ asset_id: number }[]>`SELECT asset_id FROM assets ORDER BY asset_id`
    await wantHistory(live, third!.asset_id, NOW)
    expect(await state(third!.asset_id)).toMatchObject({ state: 'pending' })
    const order: string[] = []
    for (let n = 0; n < 5; n++) order.push(...names(await claim({ limit: 1 })))
    expect(order).toEqual(['SEED3', 'ADDED', 'SEED1', 'SEED2', 'SEED4'].map((symbol) => `${symbol} null`))
    // It is being loaded: that another reader waits changes nothing.
    await wantHistory(live, third!.asset_id, NOW)
    expect(await state(third!.asset_id)).toMatchObject({ state: 'loading' })
    expect(await claim()).toEqual([])
  })

  test('an asset is tried once a day, some minutes after the day is over', async () => {
    const asset = await addAsset('ONE')
    const days = weekdays('2020-01-06', '2026-11-20')
    await claim()
    await store(asset, null, { days })
    // Saturday is over when Sunday begins; nothing is told of it, and nobody asks again that day.
    const sunday = Date.parse('2026-11-22T00:00:00Z')
    expect(await claim({ now: sunday, today: '2026-11-22' })).toEqual([])
    expect(names(await claim({ now: sunday + 10 * MINUTE_MS, today: '2026-11-22' }))).toEqual(['ONE 2026-11-13'])
    await store(asset, '2026-11-13', { days: days.slice(-6) }, { today: '2026-11-22' })
    expect(await claim({ now: sunday + DAY_MS - 1, today: '2026-11-22' })).toEqual([])
    expect(names(await claim({ now: sunday + DAY_MS + 10 * MINUTE_MS, today: '2026-11-23' }))).toEqual([
      'ONE 2026-11-13',
    ])
  })

  test('pauses double from ten minutes to a day, and are no shorter than a provider says', async () => {
    const asset = await addAsset('ONE')
    const days = weekdays('2020-01-06', '2026-11-18')
    await claim({ today: '2026-11-19', now: NOW - 2 * DAY_MS })
    await store(asset, null, { days }, { today: '2026-11-19' })
    let now = NOW
    const pauses: number[] = []
    for (let n = 0; n < 10; n++) {
      expect(names(await claim({ now }))).toEqual(['ONE 2026-11-11'])
      await failHistory(live, asset, { error: 'unavailable', retryAt: null, asked: true })
      const [row] = await live<{ next: string }[]>`SELECT next_attempt_at AS next FROM asset_history`
      const next = Date.parse(row!.next)
      expect(await claim({ now: next - 1 })).toEqual([])
      pauses.push((next - now) / MINUTE_MS)
      now = next
    }
    expect(pauses).toEqual([10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440])
    // It stays what it was: an update that fails is no loss.
    expect(await state(asset)).toMatchObject({ state: 'whole', last_date: '2026-11-18', error: 'unavailable' })
    await claim({ now })
    await failHistory(live, asset, { error: 'rate_limited', retryAt: now + 3 * DAY_MS, asked: true })
    expect(await claim({ now: now + 3 * DAY_MS - 1 })).toEqual([])
    expect(await claim({ now: now + 3 * DAY_MS })).toHaveLength(1)
    await store(asset, '2026-11-11', { days: weekdays('2026-11-11', '2026-11-20') })
    expect(await state(asset)).toMatchObject({ last_date: '2026-11-20', error: null })
    const [row] = await live`SELECT attempts FROM asset_history`
    expect(row).toEqual({ attempts: 0 })
  })

  test('one that failed from the first says so', async () => {
    const asset = await addAsset('ONE')
    await claim()
    await failHistory(live, asset, { error: 'not_found: nobody knows it', retryAt: null, asked: true })
    expect(await state(asset)).toMatchObject({ state: 'failed', error: 'not_found: nobody knows it' })
  })

  test('what nobody could be asked for has not failed: it is taken again in a minute, after those that never were', async () => {
    const [first, second] = [await addAsset('ONE'), await addAsset('TWO')]
    await claim()
    const refused = { error: 'rate_limited: not asked: window', asked: false }
    await failHistory(live, first, { ...refused, retryAt: null })
    await failHistory(live, second, { ...refused, retryAt: NOW + 5 * MINUTE_MS })
    expect(await state(first)).toMatchObject({ state: 'pending', error: refused.error })
    expect(await claim({ now: NOW + MINUTE_MS - 1 })).toEqual([])
    await addAsset('NEW')
    expect(names(await claim({ now: NOW + MINUTE_MS, limit: 1 }))).toEqual(['NEW null'])
    expect(names(await claim({ now: NOW + MINUTE_MS }))).toEqual(['ONE null'])
    // A reader who waits does not wait for that.
    await wantHistory(live, second, NOW + 2 * MINUTE_MS)
    expect(names(await claim({ now: NOW + 2 * MINUTE_MS }))).toEqual(['TWO null'])
    const rows = await live<{ attempts: number }[]>`SELECT attempts FROM asset_history ORDER BY asset_id`
    expect(rows.map(({ attempts }) => attempts)).toEqual([1, 1, 1])
  })

  test('what a simulated market told is asked for anew at once where the market is real, and then keeps its pauses', async () => {
    const asset = await addAsset('ONE')
    await claim({ simulated: true })
    await store(asset, null, { days: weekdays('2020-01-06', '2026-11-20') }, { provider: 'simulated' })
    expect(await claim({ simulated: true })).toEqual([])
    expect(names(await claim())).toEqual(['ONE null'])
    await failHistory(live, asset, { error: 'unavailable', retryAt: null, asked: true })
    expect(await claim({ now: NOW + 9 * MINUTE_MS })).toEqual([])
    expect(names(await claim({ now: NOW + 10 * MINUTE_MS }))).toEqual(['ONE null'])
  })
})

describe('partitions', () => {
  test('Q7 the coming year’s is there before it is needed, and one that an operator made is taken', async () => {
    expect(await ensureHistoryPartitions(live, TODAY)).toBe(0)
    expect(await ensureHistoryPartitions(live, '2026-11-30')).toBe(0)
    expect(await ensureHistoryPartitions(live, '2026-12-01')).toBe(1)
    expect(await ensureHistoryPartitions(live, '2026-12-01')).toBe(0)
    await live`DROP TABLE price_history_daily_2027`
    await live`CREATE TABLE by_hand PARTITION OF price_history_daily FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')`
    expect(await ensureHistoryPartitions(live, '2026-12-01')).toBe(0)
    const [hand] = await live`SELECT relrowsecurity AS guarded FROM pg_class WHERE relname = 'by_hand'`
    expect(hand).toEqual({ guarded: true })
    await live`DROP TABLE by_hand`
  })

  test('a writer makes those that are missing, two at once do no harm', async () => {
    const assets = [await addAsset('ONE'), await addAsset('TWO')]
    const other = openDatabase('live', server.url)
    try {
      const days = weekdays('2030-02-01', '2031-01-15')
      const today = '2031-01-16'
      const stored = await Promise.all(
        assets.map((asset, n) => store(asset, null, { days }, { today, sql: n === 0 ? live : other })),
      )
      expect(stored.map((told) => told.days)).toEqual([days.length, days.length])
      const rows = await live<{ guarded: boolean }[]>`
        SELECT relrowsecurity AS guarded FROM pg_class
        WHERE relname IN ('price_history_daily_2030', 'price_history_daily_2031')`
      expect(rows).toEqual([{ guarded: true }, { guarded: true }])
    } finally {
      await other.end()
      await live`DROP TABLE IF EXISTS price_history_daily_2030, price_history_daily_2031`
    }
  })
})

describe('brief 001', () => {
  let sql: LiveSql
  afterEach(() => sql?.end())

  const database = async (name: string): Promise<LiveSql> => {
    await live.unsafe(`CREATE DATABASE ${name}`)
    const url = server.url.replace(/[^/]*$/, name)
    await migrate(url)
    sql = openDatabase('live', url)
    return sql
  }

  test('the SQL under "Maintenance" and "Troubleshooting" runs as it is written', async () => {
    await database('brief')
    await sql.unsafe(`
INSERT INTO assets (symbol, name, type, category, code, provider, provider_id, currency)
VALUES ('TSLA', 'Tesla Inc.', 'stock', 'stock', 'TSLA', 'yahoo', 'TSLA', 'USD');
`)
    await sql.unsafe(`
-- For 2027
CREATE TABLE price_history_daily_2027 PARTITION OF price_history_daily
  FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
`)
    await sql`INSERT INTO price_history_daily SELECT asset_id, '2027-03-03', 1, 3, 1, 2, 5 FROM assets WHERE code = 'TSLA'`
    const told = await sql.unsafe(`
-- Aggregate 2024 daily data to weekly
SELECT aggregate_daily_to_weekly(asset_id, '2024-01-01')
FROM assets;
`)
    const [assets] = await sql<{ count: number }[]>`SELECT count(*)::integer FROM assets`
    expect(told).toHaveLength(assets!.count)
    const weekly = await sql`SELECT week::text, close FROM price_history_weekly`
    expect(weekly).toEqual([{ week: '2027-03-01', close: '2' }])
    await sql.unsafe(`
SELECT * FROM provider_rate_limits;
`)
    await sql.unsafe(`
SELECT * FROM system_metrics 
WHERE metric_name LIKE 'price_refresh%' 
ORDER BY recorded_at DESC 
LIMIT 10;
`)
  })

  test('row level security: everyone reads prices, the service writes, and each partition is shut', async () => {
    for (const role of ['anon', 'authenticated', 'service_role'])
      await live.unsafe(`CREATE ROLE ${role} NOLOGIN ${role === 'service_role' ? 'BYPASSRLS' : ''}`)
    await database('guarded')
    await sql`INSERT INTO assets (symbol, name, type, category, code, provider, provider_id, currency)
      VALUES ('ONE1', 'One', 'stock', 'stock', 'ONE1', 'manual', 'ONE1', 'USD')`
    const [one] = await sql<{ asset_id: number }[]>`SELECT asset_id FROM assets WHERE symbol = 'ONE1'`
    await storeHistory(
      sql,
      claimOf(one!.asset_id),
      { currency: 'USD', days: [day('2026-11-20', '5')], actions: [dividend('2026-11-20', '1')] },
      { provider: 'yahoo', today: TODAY, now: NOW },
    )
    const as = (role: string, statement: string) =>
      sql.begin(async (transaction) => {
        await transaction.unsafe(`SET LOCAL ROLE ${role}`)
        return transaction.unsafe(statement)
      })
    const tables = ['price_history_daily', 'price_history_weekly', 'price_history_monthly', 'corporate_actions']
    for (const role of ['anon', 'authenticated']) {
      for (const table of tables) {
        expect(await as(role, `SELECT * FROM ${table}`), table).toHaveLength(1)
        await expect(as(role, `DELETE FROM ${table}`), table).rejects.toMatchObject({ code: '42501' })
      }
      for (const statement of [
        'SELECT * FROM asset_history',
        'SELECT * FROM price_history_daily_2026',
        `SELECT aggregate_daily_to_weekly(1, '2024-01-01')`,
        `SELECT * FROM prune_price_history('2030-01-01')`,
        `INSERT INTO price_history_weekly VALUES (1, '2026-11-16', 1, 1, 1, 1, 1)`,
      ])
        await expect(as(role, statement), statement).rejects.toMatchObject({ code: '42501' })
    }
    expect(await as('service_role', 'UPDATE price_history_weekly SET close = 6 RETURNING close')).toEqual([
      { close: '6' },
    ])
    expect(await as('service_role', 'SELECT * FROM asset_history')).toHaveLength(1)
  })
})
