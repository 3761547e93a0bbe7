import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { replay } from '../../../dev/replay/drive.ts'
import { readRecording, readTrades } from '../../../dev/replay/recording.ts'
import { drawOptions, generateRecording, type RecordingOptions, tradesFile } from '../../support/generated-recording.ts'
import {
  GRANULARITY_SECONDS,
  type PrintedCandle,
  type RestCoverage,
  violations,
} from '../../support/recording-rules.ts'
import { fixtureLines, parseExact } from '../../support/recordings.ts'

// Each test starts a workerd: a busy machine takes its time.
vi.setConfig({ testTimeout: 120_000 })

const root = join(import.meta.dirname, '../../..')
const folder = mkdtempSync(join(tmpdir(), 'kerb-replay-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

type Outcome = { code: number | null; stdout: string; stderr: string }

/** Runs the command as a user does. */
function command(...args: string[]): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['dev/replay.ts', ...args], { cwd: root, timeout: 110_000 })
    const outcome: Outcome = { code: null, stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      outcome.stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      outcome.stderr += text
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({ ...outcome, code }))
  })
}

type Replayed = { candles: PrintedCandle[]; summary: string[] }

/** Results by recording and trades, so that each is replayed once. */
const done = new Map<string, Promise<Replayed>>()

/** The command's output for a recording, produced in this process. */
function replayed(path: string, trades?: string): Promise<Replayed> {
  const key = `${path} ${trades}`
  const known = done.get(key) ?? replayAnew(path, trades)
  done.set(key, known)
  return known
}

async function replayAnew(path: string, trades?: string): Promise<Replayed> {
  const recording = readRecording(resolve(root, path))
  const { candles, summary } = await replay(recording, trades === undefined ? null : readTrades(resolve(root, trades)))
  return { candles: candles.map((line) => parseExact(line) as PrintedCandle), summary }
}
const candlesOf = async (path: string, trades?: string) => (await replayed(path, trades)).candles

const keyOf = (candle: Pick<PrintedCandle, 'granularity' | 'timestamp'>) => `${candle.granularity} ${candle.timestamp}`
const numbersOf = ({ open, high, low, close, volume }: PrintedCandle) => ({ open, high, low, close, volume })
const recorded = (name: string) =>
  fixtureLines(`replay/${name}.candles.jsonl.gz`).map((line) => parseExact(line) as PrintedCandle)
const path = (name: string) => `test/fixtures/replay/${name}.jsonl.gz`
const seconds = (granularity: string) =>
  (GRANULARITY_SECONDS.find(([name]) => name === granularity) as [string, number])[1]

/** The first and last time of a recording, unix seconds. */
function clockOf(name: string): [began: number, ended: number] {
  const times = fixtureLines(`replay/${name}.jsonl.gz`).flatMap(
    (line) => (JSON.parse(line) as { ts?: number }).ts ?? [],
  )
  return [times[0] as number, Math.max(...times.slice(-100))]
}

/** Checks rules that every replayed candle must fulfil. */
function expectLife(candles: PrintedCandle[], ended: number): void {
  const wrong = candles.filter(
    (c) =>
      c.is_complete !== Number(c.timestamp) + seconds(c.granularity) + 1 <= ended || (!c.is_complete && c.rev !== '0'),
  )
  expect(wrong).toEqual([])
  const order = GRANULARITY_SECONDS.map(([name]) => name)
  const ranked = candles.toSorted(
    (a, b) => order.indexOf(a.granularity) - order.indexOf(b.granularity) || Number(a.timestamp) - Number(b.timestamp),
  )
  expect(candles.map(keyOf)).toEqual(ranked.map(keyOf))
}

describe('recorded trades in generated messages', () => {
  test.each([
    ['without REST', undefined],
    ['with REST', path('xrp-eth-36h.trades')],
  ])(
    'C2, C3, C7 a recording without faults, %s, gives every recorded candle, full but for those that contain the start',
    async (_, trades) => {
      const { candles, summary } = await replayed(path('xrp-eth-36h'), trades)
      expect(summary).toEqual(['XRP-ETH: 7913 trades by socket, 0 by REST; dropped: none'])
      expect(candles.map((c) => [keyOf(c), numbersOf(c)])).toEqual(
        recorded('xrp-eth-36h').map((c) => [keyOf(c), numbersOf(c)]),
      )
      const [began, ended] = clockOf('xrp-eth-36h')
      for (const candle of candles) expect(candle.coverage).toBe(Number(candle.timestamp) <= began ? 'partial' : 'full')
      expectLife(candles, ended)
      expect(candles.filter((candle) => candle.rev !== '0')).toEqual([])
    },
  )

  test('C9 a faulty recording with REST gives every recorded candle, full but for those that contain the start', async () => {
    const candles = await candlesOf(path('btc-usdt-faults'), path('btc-usdt-faults.trades'))
    expect(candles.map((c) => [keyOf(c), numbersOf(c)])).toEqual(
      recorded('btc-usdt-faults').map((c) => [keyOf(c), numbersOf(c)]),
    )
    const [began, ended] = clockOf('btc-usdt-faults')
    for (const candle of candles)
      expect(candle.coverage, keyOf(candle)).toBe(Number(candle.timestamp) <= began ? 'partial' : 'full')
    expectLife(candles, ended)
    // Late and fetched trades have revised complete candles.
    expect(candles.filter((candle) => candle.rev !== '0').length).toBeGreaterThan(0)
  })

  test('C8 a faulty recording without REST has a gap in candles with lost trades, and equals the recorded ones elsewhere', async () => {
    const candles = await candlesOf(path('btc-usdt-faults'))
    const [began, ended] = clockOf('btc-usdt-faults')
    const true_ = new Map(recorded('btc-usdt-faults').map((c) => [keyOf(c), numbersOf(c)]))
    const arrived = new Set(
      fixtureLines('replay/btc-usdt-faults.jsonl.gz').flatMap((line) =>
        [...line.matchAll(/\\"trade_id\\":\\"(\d+)\\"/g)].map((match) => match[1]),
      ),
    )
    const lost = fixtureLines('replay/btc-usdt-faults.trades.jsonl.gz')
      .map((line) => JSON.parse(line) as { trade_id: string; time: string })
      .filter((trade) => !arrived.has(trade.trade_id))
      .map((trade) => Date.parse(trade.time) / 1000)
    expect(lost.length).toBeGreaterThan(0)
    const holds = (c: PrintedCandle, time: number) => {
      const start = Number(c.timestamp)
      return time >= start && time < start + seconds(c.granularity)
    }
    const known = new Map(candles.map((candle) => [keyOf(candle), candle]))
    let gaps = 0
    for (const candle of recorded('btc-usdt-faults')) {
      const replayedCandle = known.get(keyOf(candle))
      if (lost.some((time) => holds(candle, time))) {
        gaps++
        if (replayedCandle) expect(replayedCandle.coverage, keyOf(candle)).toBe('gap')
        continue
      }
      expect(replayedCandle && numbersOf(replayedCandle), keyOf(candle)).toEqual(true_.get(keyOf(candle)))
    }
    expect(gaps).toBeGreaterThan(0)
    expect(candles.filter((candle) => !true_.has(keyOf(candle)))).toEqual([])
    expect(new Set(candles.map((candle) => candle.coverage))).toEqual(new Set(['full', 'partial', 'gap']))
    for (const candle of candles)
      if (candle.coverage === 'full') expect(Number(candle.timestamp)).toBeGreaterThan(began)
    expectLife(candles, ended)
  })
})

const capture = 'test/fixtures/coinbase-ws/advanced-trade-BTC-ETH-2026-08-09-seq0-559'

test('C8 the recorded Coinbase socket of two products gives the same candles with and without its level2 frames', async () => {
  const [whole, holed] = await Promise.all([candlesOf(`${capture}.jsonl.gz`), candlesOf(`${capture}.no-l2.jsonl`)])
  expect(new Set(whole.map((candle) => candle.product_id))).toEqual(new Set(['BTC-USD', 'ETH-USD']))
  expect(whole.map((c) => [c.product_id, keyOf(c), numbersOf(c)])).toEqual(
    holed.map((c) => [c.product_id, keyOf(c), numbersOf(c)]),
  )
  expect(whole.filter((candle) => candle.coverage === 'gap')).toEqual([])
  // Frames after a product's last trade are missing, and no later trade proves that they had none of its trades.
  const newest = new Map(
    holed.map((c) => [c.product_id, c]).filter(([, c]) => (c as PrintedCandle).granularity === 'ONE_MINUTE') as [
      string,
      PrintedCandle,
    ][],
  )
  for (const candle of holed.filter((one) => one.coverage === 'gap'))
    expect(Number(candle.timestamp) + seconds(candle.granularity)).toBeGreaterThan(
      Number(newest.get(candle.product_id)?.timestamp),
    )
})

test('the command prints a line for each candle, and a summary of each product on stderr', async () => {
  const name = path('btc-usdt-faults')
  const trades = path('btc-usdt-faults.trades')
  const { candles, summary } = await replayed(name, trades)
  const outcome = await command(name, '--trades', trades)
  expect(outcome.code, outcome.stderr).toBe(0)
  const lines = outcome.stdout.split('\n')
  expect(lines.pop()).toBe('')
  expect(lines.map(parseExact)).toEqual(candles)
  for (const line of summary) expect(outcome.stderr).toContain(`${line}\n`)
})

describe('generated recordings fulfil the rules by an independent fold', () => {
  const made = async (seed: number, rest: RestCoverage, options: Partial<RecordingOptions> = {}) => {
    const drawn = { ...drawOptions(seed), ...options }
    const recording = generateRecording(seed, {
      ...drawn,
      lengthMs: Math.min(drawn.lengthMs, drawn.meanIntervalMs * 3_000),
    })
    const file = join(folder, `${seed}-${rest}.jsonl`)
    writeFileSync(file, `${recording.lines.join('\n')}\n`)
    const trades = rest === 'none' ? undefined : `${file}.trades.jsonl`
    if (trades !== undefined) writeFileSync(trades, tradesFile(recording, rest === 'all' ? 0 : recording.began))
    const candles = await candlesOf(file, trades)
    expect(candles.length).toBeGreaterThan(0)
    expect(violations(recording, candles, rest)).toEqual([])
  }

  test.each([
    [3, 'none', 'two connections, of which one connects again without having closed'],
    [9, 'since', 'two products on one connection'],
    [6, 'since', 'a cut of more than two hours, and a start that REST does not cover'],
    [18, 'none', 'faults of every kind'],
  ] as [number, RestCoverage, string][])(
    'C2-C8 the generated recording of seed %i with REST %s fulfils the rules: %s',
    (seed, rest) => made(seed, rest),
  )

  test('C9 with all earlier trades from REST, the start is full, too', () =>
    made(2, 'all', { priorTrades: 250, meanIntervalMs: 3_000, faults: false, cuts: 1 }))
})

describe('an invalid input gets a clear error, an exit code, and nothing on stdout', () => {
  const file = (name: string, content: string | Buffer) => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }
  const connect = '{"t":"connect","conn":"A","ts":1}'
  const subscribe = JSON.stringify({
    t: 'send',
    conn: 'A',
    ts: 1,
    data: JSON.stringify({ type: 'subscribe', product_ids: ['AAA-USD'], channel: 'market_trades' }),
  })
  const good = `${connect}\n${subscribe}\n`

  test.each<[string, () => string[], RegExp]>([
    ['no recording', () => [], /usage: /],
    ['two recordings', () => ['a.jsonl', 'b.jsonl'], /usage: /],
    ['an unknown option', () => ['a.jsonl', '--fast'], /--fast.*\n?.*usage: /s],
    ['a missing file', () => [join(folder, 'none.jsonl')], /none\.jsonl cannot be read/],
    ['a folder', () => [folder], /cannot be read/],
    ['no gzip', () => [file('plain.jsonl.gz', good)], /plain\.jsonl\.gz cannot be read/],
    ['cut gzip', () => [file('cut.jsonl.gz', gzipSync(good).subarray(0, 40))], /cut\.jsonl\.gz cannot be read/],
    ['an empty file', () => [file('empty.jsonl', '')], /no subscription/],
    ['a line that is not JSON', () => [file('text.jsonl', `${good}nonsense\n`)], /text\.jsonl, line 3: /],
    ['a line that is no object', () => [file('array.jsonl', `${good}[]\n`)], /array\.jsonl, line 3: /],
    ['a line without t', () => [file('t.jsonl', `${connect}\n{"conn":"A","ts":1}\n`)], /t\.jsonl, line 2: .*"t"/],
    ['a t that is no text', () => [file('t2.jsonl', '{"t":7}\n')], /t2\.jsonl, line 1: .*"t"/],
    ['a line without ts', () => [file('ts.jsonl', '{"t":"connect","conn":"A"}\n')], /ts\.jsonl, line 1: .*"ts"/],
    ['a line without conn', () => [file('c.jsonl', '{"t":"close","ts":1}\n')], /c\.jsonl, line 1: .*"conn"/],
    [
      'a line without data',
      () => [file('d.jsonl', `${good}{"t":"recv","conn":"A","ts":2}\n`)],
      /d\.jsonl, line 3: .*"data"/,
    ],
    [
      'trades that are none',
      () => [file('ok.jsonl', good), '--trades', file('trades.jsonl', '{"product_id":"AAA-USD"}\n')],
      /trades\.jsonl, line 1: .*"trade_id"/,
    ],
    ['missing trades', () => [file('ok.jsonl', good), '--trades', join(folder, 'no')], /cannot be read/],
  ])('an input with %s is an error with its reason', async (_, args, message) => {
    const outcome = await command(...args())
    expect(outcome.stderr).toMatch(message)
    expect(outcome.stderr).not.toContain('    at ')
    expect(outcome.code).toBeGreaterThan(0)
    expect(outcome.stdout).toBe('')
  })
})
