import { readdirSync, rmSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { WireTrade } from '../../../simulators/exchange/wire.ts'
import {
  type ComparisonInput,
  type ComparisonResult,
  compare,
  countCandles,
  type Finding,
  type ObservedCandle,
} from '../../faults/compare.ts'
import { FAULTS } from '../../faults/events.ts'
import { foldCandles } from '../../faults/fold.ts'
import { waitForHealing } from '../../faults/heal.ts'
import { planRun, runSeeds } from '../../faults/plan.ts'
import { waitWhileProgressing } from '../../faults/progress.ts'
import { formatSummary, formatTable, runSuite, type SuiteOptions } from '../../faults/suite.ts'

const T = Date.UTC(2026, 3, 1) / 1000

const trade = (id: number, second: number, price: string, size = '1'): WireTrade => ({
  product_id: 'ONE-USD',
  trade_id: String(id),
  price,
  size,
  time: new Date((T + second) * 1000).toISOString(),
  side: 'BUY',
})

/** Ten minutes, a trade every 20 s. */
const TRADES = Array.from({ length: 30 }, (_, i) => trade(i + 1, i * 20, `${100 + i}.5`, '0.1'))
const TO = T + 600

/** What a place that is right shows of these trades. */
const right = (change: (key: string, seen: ObservedCandle) => ObservedCandle | null = (_, seen) => seen) => {
  const seen = new Map<string, ObservedCandle>()
  for (const [key, numbers] of foldCandles(TRADES, T, TO)) {
    const changed = change(key, { ...numbers, complete: true, coverage: 'full', rev: 0 })
    if (changed) seen.set(key, changed)
  }
  return new Map([['ONE-USD', seen]])
}

const verdictOf = (change: Parameters<typeof right>[0], more: Partial<ComparisonInput> = {}) => {
  const { compared, lost, wrong } = compare({
    trades: new Map([['ONE-USD', TRADES]]),
    from: T,
    to: TO,
    places: [
      { name: 'right', granularity: null, candles: right() },
      { name: 'other', granularity: null, candles: right(change) },
    ],
    gapPlaces: [],
    taken: null,
    ...more,
  })
  return { compared, lost: countCandles(lost), wrong: countCandles(wrong) }
}

const THIRD = `ONE_MINUTE/${T + 120}`
const only =
  (key: string, change: (seen: ObservedCandle) => ObservedCandle | null) => (k: string, seen: ObservedCandle) =>
    k === key ? change(seen) : seen

describe('the comparison', () => {
  test('C2 C7 foldCandles takes trades in the order of their minutes, then ids, and is exact', () => {
    const trades = [
      trade(1, 10, '2.00000001', '0.1'),
      trade(2, 70, '3', '0.2'),
      trade(4, 30, '1.5', '0.3'),
      trade(3, 20, '9', '4'),
    ]
    const candles = foldCandles(trades, T, T + 300)
    expect(candles.get(`ONE_MINUTE/${T}`)).toEqual({
      open: '2.00000001',
      high: '9',
      low: '1.5',
      close: '1.5',
      volume: '4.4',
    })
    expect(candles.get(`FIVE_MINUTES/${T}`)).toEqual({
      open: '2.00000001',
      high: '9',
      low: '1.5',
      close: '3',
      volume: '4.6',
    })
    expect([...candles.keys()]).toHaveLength(3)
  })

  test('a candle that agrees everywhere is neither lost nor wrong', () => {
    expect(verdictOf((_, seen) => seen)).toEqual({ compared: 12, lost: 0, wrong: 0 })
  })

  test.each([
    ['missing', () => null],
    ['still forming', (seen: ObservedCandle) => ({ ...seen, complete: false })],
    ['a gap that REST could have healed', (seen: ObservedCandle) => ({ ...seen, coverage: 'gap' })],
  ])('a candle that is %s is lost', (_, change) => {
    expect(verdictOf(only(THIRD, change))).toEqual({ compared: 12, lost: 1, wrong: 0 })
  })

  test('a candle with another last digit is wrong, and so is one without trades', () => {
    expect(verdictOf(only(THIRD, (seen) => ({ ...seen, close: `${seen.close}0000001` })))).toMatchObject({ wrong: 1 })
    const extra = right()
    extra.get('ONE-USD')?.set(`ONE_MINUTE/${T + 300}`, extra.get('ONE-USD')?.get(THIRD) as ObservedCandle)
    const places = [{ name: 'x', granularity: null, candles: extra }]
    const trades = new Map([['ONE-USD', TRADES.filter((_, i) => i < 15 || i > 17)]])
    const { wrong } = compare({ trades, from: T, to: TO, places, gapPlaces: [], taken: null })
    expect(wrong.map(({ reason }) => reason)).toContain('is there without a trade')
  })

  test('C8 where REST refuses for good, minutes with missing trades must be gaps, and no others may be', () => {
    // Trades 7 to 9, the third minute, never came.
    const taken = new Map([['ONE-USD', new Set(TRADES.map((_, i) => i + 1).filter((id) => id < 7 || id > 9))]])
    const hollow = (key: string, seen: ObservedCandle): ObservedCandle | null => {
      if (key === THIRD) return null
      return key === `FIVE_MINUTES/${T}` ? { ...seen, coverage: 'gap', volume: '1.2' } : seen
    }
    const places = [{ name: 'honest', granularity: null, candles: right(hollow) }]
    const gaps = (from: number, to: number) => [{ name: 'gaps', gaps: new Map([['ONE-USD', [[from, to] as const]]]) }]
    const honest = { places, taken, gapPlaces: gaps(T + 120, T + 180) }
    expect(verdictOf(hollow, honest)).toMatchObject({ lost: 0, wrong: 0 })
    expect(verdictOf(hollow, { ...honest, gapPlaces: gaps(T, T + 60) })).toMatchObject({ lost: 0, wrong: 2 })
    const dishonest = [{ name: 'dishonest', granularity: null, candles: right((k, s) => (k === THIRD ? null : s)) }]
    expect(verdictOf(hollow, { ...honest, places: dishonest })).toMatchObject({ lost: 0, wrong: 1 })
    const cautious = [
      { name: 'cautious', granularity: null, candles: right((_, seen) => ({ ...seen, coverage: 'gap' })) },
    ]
    expect(verdictOf(hollow, { ...honest, places: cautious }).wrong).toBeGreaterThan(5)
  })
})

describe('the plan', () => {
  test('a run follows from its seed alone, and the seed of the first run is the given one', () => {
    expect(runSeeds(42, 3)).toEqual(runSeeds(42, 5).slice(0, 3))
    expect(runSeeds(42, 1)).toEqual([42])
    expect(planRun(42, null, 20)).toEqual(planRun(42, null, 20))
    expect(planRun(42, null, 20)).not.toEqual(planRun(43, null, 20))
  })

  test('a named fault is planned alone, and without a name each fault occurs in some combination', () => {
    for (const fault of FAULTS) {
      const { faults, events, viewers, products } = planRun(7, fault, 20)
      expect(faults).toEqual([fault])
      expect(events.length).toBeGreaterThan(0)
      expect([viewers.length >= 5, products.length >= 3]).toEqual([true, true])
    }
    const drawn = runSeeds(7, 200).map((seed) => planRun(seed, null, 20).faults)
    expect(new Set(drawn.flat())).toEqual(new Set(FAULTS))
    expect(drawn.some((faults) => faults.length >= 3)).toBe(true)
  })
})

describe('waiting', () => {
  const finding = (n: number): Finding => ({ product: 'ONE-USD', key: `ONE_MINUTE/${n}`, place: 'object', reason: '' })
  /** A comparison that finds so many lost candles, one number a call; the last one for good. */
  const losing = (counts: readonly number[]) => {
    let call = 0
    return async (): Promise<ComparisonResult> => {
      const lost = Array.from({ length: counts[Math.min(call++, counts.length - 1)] as number }, (_, n) => finding(n))
      return { compared: 20, lost, wrong: [] }
    }
  }
  const descending = Array.from({ length: 12 }, (_, i) => 11 - i)
  const now = () => 1_000

  test('a wait continues while the number left falls', async () => {
    let left = 30
    const began = Date.now()
    expect(await waitWhileProgressing(() => --left, { pauseMs: 5, stallMs: 20 })).toBe(true)
    expect(Date.now() - began).toBeGreaterThan(100)
  })

  test('a wait ends without success when the number left has not fallen for stallMs', async () => {
    expect(await waitWhileProgressing(() => 3, { pauseMs: 5, stallMs: 30 })).toBe(false)
  })

  test('a slow check makes the wait longer', async () => {
    let checks = 0
    const slow = async () => {
      checks++
      await new Promise((done) => setTimeout(done, 20))
      return 3
    }
    expect(await waitWhileProgressing(slow, { pauseMs: 1, stallMs: 20 })).toBe(false)
    expect(checks).toBeGreaterThanOrEqual(10)
  })

  test('a candle that heals in time is not late', async () => {
    expect(await waitForHealing(losing([2, 0]), { withinMs: 10_000, now })).toMatchObject({ healedAt: 1_000, late: [] })
  })

  test('a candle that heals too late is late, and neither lost nor wrong', async () => {
    const { verdict, healedAt, late } = await waitForHealing(losing(descending), { withinMs: 250, now })
    expect([verdict.lost.length, healedAt]).toEqual([0, 1_000])
    expect(late.length).toBeGreaterThan(0)
  })

  test('a candle that does not heal is lost and not late', async () => {
    const { verdict, healedAt, late } = await waitForHealing(losing([5, 3, 2]), { withinMs: 250, now })
    expect([verdict.lost.length, healedAt]).toEqual([2, null])
    expect(late).not.toContain('ONE-USD ONE_MINUTE/0')
  })

  test('candles that can never be read are an error', async () => {
    const failing = async () => {
      throw new Error('gone')
    }
    await expect(waitForHealing(failing, { withinMs: 150, now })).rejects.toThrow('could not be read')
  })
})

// Concurrent, since each test mostly waits for its clock.
describe.concurrent('the suite', () => {
  const short: SuiteOptions = {
    runs: 1,
    seed: 1,
    fault: null,
    minutes: 4,
    healMinutes: 4,
    lanes: 1,
    log: () => {},
  }

  test('C5-C12 D2 combined faults leave no candle lost or wrong', { timeout: 300_000 }, async () => {
    const lines: string[] = []
    const report = await runSuite({
      ...short,
      runs: 2,
      lanes: 2,
      seed: 5,
      minutes: 9,
      healMinutes: 60,
      log: (line) => lines.push(line),
    })
    expect(report, lines.join('\n')).toMatchObject({ runs: 2, failed: 0, lost: 0, wrong: 0 })
    expect(lines.join('\n')).not.toContain('state: ')
    expect(report.faults).toBeGreaterThan(1)
    expect(report.compared).toBeGreaterThan(100)
    expect(JSON.parse(formatSummary(report))).toMatchObject({ suite: 'faults', runs: 2, lost: 0, wrong: 0 })
    expect(formatTable(report).length).toBe(report.byFault.length + 1)
  })

  test('C12 the suite detects a flush that leaves out candles, and saves the state of the run', {
    timeout: 240_000,
  }, async () => {
    const lines: string[] = []
    const log = (line: string) => lines.push(line)
    const report = await runSuite({ ...short, fault: 'frames-repeated', broken: 'flush', log })
    expect(report.failed).toBe(0)
    expect(report.lost).toBeGreaterThan(0)
    const folder = /state: (\/.+)$/.exec(lines.join('\n'))?.[1] as string
    expect(readdirSync(folder)).toEqual(
      expect.arrayContaining(['plan.json', 'findings.json', 'live_candles.json', 'LATE-USD-trades.json', 'worker']),
    )
    expect(readdirSync(`${folder}/worker`)).toEqual(expect.arrayContaining(['storage', 'worker.log']))
    rmSync(folder, { recursive: true })
  })

  test('C9 the suite detects a backfill that never happens', { timeout: 240_000 }, async () => {
    // In one run the lost frames may have no trades.
    const report = await runSuite({ ...short, runs: 4, lanes: 2, fault: 'frames-lost', broken: 'backfill' })
    expect(report.failed).toBe(0)
    expect(report.lost).toBeGreaterThan(0)
  })
})
