import { abortAllDurableObjects, runInDurableObject } from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { CandleStore } from '../../../durable-objects/candles/store.ts'
import type { Audit } from '../../../src/db/audits.ts'
import { readCandles, upsertCandles } from '../../../src/db/candles.ts'
import { type LiveSql, withLiveDatabase } from '../../../src/db/client.ts'
import { CandleAggregator } from '../../../src/market/aggregator.ts'
import { productCandles, productObjectName } from '../../../src/objects.ts'
import type { Candle } from '../../../src/protocol/candle.ts'
import { GRANULARITIES } from '../../../src/protocol/granularity.ts'
import type { ProductStatus } from '../../../src/protocol/product.ts'
import { fetchCandles } from '../../../src/providers/coinbase.ts'
import { closeAll, get, type Message, openSocket, sendTrade, setDatabaseOpen, waitFor } from '../support/wire.ts'

afterEach(async () => {
  await closeAll()
  await setDatabaseOpen(true)
  await fault('DELETE')
})

/** The day that an audit of this moment is of, unix seconds. */
const NOW = Date.now()
const today = Math.floor((NOW - 420_000) / 86_400_000) * 86_400
const DAY = today - 86_400
const dayText = (seconds: number) => new Date(seconds * 1000).toISOString().slice(0, 10)

const fault = (method: 'POST' | 'DELETE', body?: object) =>
  fetch(`${env.COINBASE_REST_URL}/_faults`, { method, ...(body ? { body: JSON.stringify(body) } : {}) })

const objectOf = (product: string) => env.PRODUCT_CANDLES.getByName(productObjectName('simulated', product))

const database = <T>(use: (sql: LiveSql) => Promise<T>) => withLiveDatabase(env, use)

/** The types of `exports` leave out what else than `fetch` a service takes. A cron's time is a number, as Cloudflare gives it. */
const worker = exports.default as unknown as {
  scheduled(event: { cron: string; scheduledTime: number }): Promise<void>
}
type Line = { event: string; job?: string; [key: string]: unknown }

/** Fires the cron of every minute; gives what it logged. */
async function minute(at = NOW): Promise<Line[]> {
  const logged = vi.spyOn(console, 'log').mockImplementation(() => {})
  await worker.scheduled({ cron: '* * * * *', scheduledTime: at })
  const lines = logged.mock.calls.map(([line]) => JSON.parse(line) as Line)
  logged.mockRestore()
  return lines
}
const job = (lines: Line[], name: string) => lines.find((line) => line.event === 'job' && line.job === name)

async function audits(query: string): Promise<(Audit & { match_rate: string | null })[]> {
  const response = await get(`/api/v1/audit?${query}`)
  expect(response.status).toBe(200)
  return ((await response.json()) as { audits: (Audit & { match_rate: string | null })[] }).audits
}

/** The exchange's own candles of the day, as if they were ours. */
async function exchangeDay(product: string): Promise<Candle[]> {
  const pages = GRANULARITIES.map(async (granularity) => {
    const range = { granularity, start: DAY, end: DAY + 86_400 }
    const answer = await fetchCandles((url, init) => fetch(url, init), env.COINBASE_REST_URL, product, range)
    if (!answer.ok) throw new Error(answer.detail)
    return answer.value.map(
      ({ start, ...numbers }): Candle => ({
        exchange: 'simulated',
        product_id: product,
        granularity,
        timestamp: start,
        ...numbers,
        is_complete: true,
        coverage: 'full',
        rev: 0,
        last_update: new Date((start + 30) * 1000).toISOString(),
        source: 'trades',
      }),
    )
  })
  return (await Promise.all(pages)).flat()
}

const stored = (product: string, granularity: Candle['granularity'] = 'ONE_MINUTE') =>
  database((sql) =>
    readCandles(sql, { exchange: 'simulated', product, granularity, start: DAY, end: DAY + 86_400, limit: 2_000 }),
  )
const log = (product: string) =>
  database(
    (sql) => sql`
      SELECT granularity, timestamp, rev, reason, old_close, new_close, old_volume, new_volume
      FROM candle_revisions WHERE product_id = ${product} ORDER BY granularity, timestamp, rev`,
  )
const numbers = ({ timestamp, open, high, low, close, volume }: Candle) => [timestamp, open, high, low, close, volume]

describe('C13 the audit', () => {
  test('compares a finished day, records the result, and repairs a day that no object has in memory', async () => {
    const day = await exchangeDay('BTC-USD')
    const minutes = day.filter(({ granularity }) => granularity === 'ONE_MINUTE')
    const wrong = { ...(minutes[5] as Candle), close: '1.5', low: '1.5', rev: 3 }
    const [missing, gap] = [minutes[7] as Candle, minutes[9] as Candle]
    const ours = day
      .filter((candle) => candle !== missing)
      .map((candle) => (candle === minutes[5] ? wrong : candle === gap ? { ...gap, coverage: 'gap' as const } : candle))
      .map((candle) => (candle.granularity === 'ONE_DAY' ? { ...candle, low: '1.5' } : candle))
    await database((sql) => upsertCandles(sql, ours))

    expect(job(await minute(), 'audit')).toMatchObject({ outcome: 'ok', due: 1, done: 1 })
    const found = await audits(`product=BTC-USD&day=${dayText(DAY)}`)
    expect(found.map(({ granularity }) => granularity)).toEqual(GRANULARITIES)
    const n = minutes.length
    expect(found[0]).toMatchObject({ status: 'done', compared: n, equal: n - 2, missing_here: 1, missing_there: 0 })
    expect(found[0]).toMatchObject({
      repaired: 2,
      match_rate: String(Math.floor(((n - 2) * 1e6) / n) / 1e6),
      error: null,
    })
    expect(found[5]).toMatchObject({ granularity: 'TWO_HOURS', compared: 12, equal: 12, repaired: 0, match_rate: '1' })
    expect(found[7]).toMatchObject({ compared: 1, equal: 0, repaired: 1, match_rate: '0' })

    expect((await stored('BTC-USD')).map(numbers)).toEqual(minutes.map(numbers))
    expect((await stored('BTC-USD', 'ONE_DAY')).map(numbers)).toEqual(day.slice(-1).map(numbers))
    expect((await stored('BTC-USD')).find(({ timestamp }) => timestamp === wrong.timestamp)).toMatchObject({ rev: 4 })
    const changes = (await log('BTC-USD')).map((row) => [row.granularity, row.rev, row.reason, row.old_close])
    expect(changes).toEqual([
      ['ONE_MINUTE', 4, 'audit', '1.5'],
      ['ONE_MINUTE', 1, 'audit', null],
      ['ONE_MINUTE', 1, 'coverage', gap.close],
      ['ONE_DAY', 1, 'audit', day.at(-1)?.close],
    ])

    expect(job(await minute(NOW + 3_600_000), 'audit')).toMatchObject({ outcome: 'ok', due: 0 })
  })

  test('repairs a day through its object while that has it, and larger candles follow', async () => {
    const day = await exchangeDay('ETH-USD')
    const minutes = day.filter(({ granularity }) => granularity === 'ONE_MINUTE')
    const wrong = minutes[3] as Candle
    await runInDurableObject(objectOf('ETH-USD'), (_, { storage }) => {
      const book = new CandleAggregator({
        exchange: 'simulated',
        product: 'ETH-USD',
        closeGraceMs: 0,
        tradeWindowMs: 1,
      })
      const told = minutes
        .filter((_, i) => i !== 4)
        .map(({ timestamp, ...rest }) => ({ ...rest, start: timestamp }))
        .map((candle) => (candle.start === wrong.timestamp ? { ...candle, volume: '0.5' } : candle))
      book.reconcile(DAY, DAY + 86_340, told, NOW)
      // What lies before a product's first trade: keeps the day, and nothing can fill it.
      const before = Number.MAX_SAFE_INTEGER
      const hole = {
        after: 0,
        before,
        from: DAY,
        to: DAY,
        low: DAY,
        high: DAY,
        start: true,
        seenAt: NOW,
        pages: 0,
        failures: 0,
        pausedUntil: 0,
      }
      const coverage = { lastTradeId: 0, lastMinute: 0, missing: [hole], uncertain: null }
      const bars = book.takeChanged(NOW).map((bar) => ({ ...bar, source: 'trades' as const }))
      new CandleStore(storage).save(bars, { coverage, lastGoodAt: 0 }, NOW)
    })
    await abortAllDurableObjects()
    const object = productCandles(env, 'ETH-USD')
    await waitFor('the flush of what was restored', async () => {
      await object.ensureRunning(true)
      return (await object.status()).unflushed === 0 ? true : null
    })
    await object.ensureRunning(true)
    expect(await object.dayCandles(DAY)).not.toBeNull()
    expect(await object.dayCandles(DAY - 86_400)).toBeNull()
    expect(await object.repair(DAY - 86_400, [])).toBe(false)

    const socket = await openSocket('/ws/products/ETH-USD')
    socket.send({ op: 'subscribe', channels: ['candles.ETH-USD.ONE_MINUTE'] })
    await socket.next('snapshot')
    expect(job(await minute(), 'audit')).toMatchObject({ outcome: 'ok', due: 1, done: 1 })
    const [found] = await audits(`product=ETH-USD&day=${dayText(DAY)}`)
    const n = minutes.length
    expect(found).toMatchObject({ compared: n, equal: n - 2, missing_here: 1, repaired: 2, status: 'done' })

    const told = await socket.next('update', ({ candles }) =>
      (candles as Candle[]).some(({ timestamp }) => timestamp === wrong.timestamp),
    )
    const changed = (told.candles as Candle[]).find(({ timestamp }) => timestamp === wrong.timestamp)
    expect(changed).toMatchObject({ rev: 1, is_complete: true, coverage: 'full', volume: Number(wrong.volume) })
    await waitFor('the repair in Postgres', async () => {
      const now = await stored('ETH-USD')
      return JSON.stringify(now.map(numbers)) === JSON.stringify(minutes.map(numbers)) ? true : null
    })
    for (const granularity of GRANULARITIES)
      expect((await stored('ETH-USD', granularity)).map(numbers)).toEqual(
        day.filter((candle) => candle.granularity === granularity).map(numbers),
      )
    const changes = await log('ETH-USD')
    expect(changes.filter((row) => row.old_volume === '0.5')).toEqual([
      expect.objectContaining({ granularity: 'ONE_MINUTE', rev: 1, reason: 'audit', new_volume: wrong.volume }),
    ])
    expect(changes.filter((row) => row.old_close === null)).toEqual([
      expect.objectContaining({ granularity: 'ONE_MINUTE', rev: 1, reason: 'audit' }),
    ])
    expect(changes.filter(({ granularity, reason }) => granularity === 'ONE_DAY' && reason === 'audit')).toHaveLength(1)
  })

  test('records that the exchange was unreachable, changes nothing, and tries again', async () => {
    const day = await exchangeDay('BTC-EUR')
    const ours = day.map((candle) => (candle.granularity === 'ONE_MINUTE' ? { ...candle, volume: '7' } : candle))
    await database((sql) => upsertCandles(sql, ours))
    await fault('POST', { kind: 'rest', answer: '500', path: 'BTC-EUR/candles', forMs: 60_000 })
    const lines = await minute()
    expect(job(lines, 'audit')).toMatchObject({ outcome: 'ok', due: 1, done: 0 })
    expect(lines).toContainEqual(
      expect.objectContaining({ event: 'audit_fetch_failed', product: 'BTC-EUR', status: 500 }),
    )
    const query = `product=BTC-EUR&day=${dayText(DAY)}`
    const failed = await audits(query)
    expect(failed).toHaveLength(8)
    for (const row of failed)
      expect(row).toMatchObject({
        status: 'pending',
        compared: null,
        match_rate: null,
        error: 'unavailable, status 500',
      })
    expect(await log('BTC-EUR')).toEqual([])
    expect((await stored('BTC-EUR')).every(({ volume }) => volume === '7')).toBe(true)
    expect(await (await get('/audit')).text()).toContain('unavailable, status 500')

    await fault('DELETE')
    expect(job(await minute(NOW + 60_000), 'audit')).toMatchObject({ due: 0 })
    expect(job(await minute(NOW + 11 * 60_000), 'audit')).toMatchObject({ due: 1, done: 1 })
    expect((await audits(query))[0]).toMatchObject({ status: 'done', equal: 0, match_rate: '0', attempts: 2 })
    expect((await stored('BTC-EUR')).map(numbers)).toEqual(
      day.filter(({ granularity }) => granularity === 'ONE_MINUTE').map(numbers),
    )
  })
})

describe('audits over HTTP', () => {
  test.each([
    ['product=NO-USD', 404, 'unknown_product', ['product']],
    ['day=yesterday', 400, 'invalid_request', ['day']],
    ['day=2026-02-30', 400, 'invalid_request', ['day']],
    ['day=0001-01-01', 400, 'invalid_request', ['day']],
    ['day=2026-01-01&day=2026-01-02', 400, 'invalid_request', ['day']],
  ])('D6 %s gets a problem that names the field', async (query, status, code, fields) => {
    const response = await get(`/api/v1/audit?${query}`)
    expect(response.status).toBe(status)
    const problem = (await response.json()) as { code: string; errors: { field: string }[] }
    expect([problem.code, problem.errors.map(({ field }) => field)]).toEqual([code, fields])
    expect((await get(`/audit?${query}`)).status).toBe(status)
  })

  test('GET /api/v1/audit responds 503 with a problem while Postgres is down', async () => {
    await setDatabaseOpen(false)
    const response = await get('/api/v1/audit')
    expect(response.status).toBe(503)
    expect(await response.json()).toMatchObject({ code: 'unavailable' })
  })

  test('/audit has a page by product and day, and one by granularity', async () => {
    const page = await (await get('/audit')).text()
    expect(page).toContain(dayText(DAY))
    expect(page).toContain(`href="/audit?product=BTC-USD&amp;day=${dayText(DAY)}"`)
    const detail = await (await get(`/audit?product=BTC-USD&day=${dayText(DAY)}`)).text()
    expect(detail).toContain('2 hours')
    expect(detail).toContain('100%')
    expect(await (await get('/audit?day=2020-01-01')).text()).toContain('No audits yet')
  })
})

describe('C6 C12 revisions', () => {
  const minuteOf = (ms: number) => Math.floor(ms / 60_000) * 60_000

  test('a revision survives an outage of Postgres and the death of its object, and is written once', async () => {
    const at = minuteOf(Date.now()) - 300_000
    const late = (price: string, time: number) =>
      fetch(`${env.COINBASE_REST_URL}/_trades`, {
        method: 'POST',
        body: JSON.stringify({ product: 'ONE-USD', price, size: '1', time }),
      })
    const socket = await openSocket('/ws/products/ONE-USD')
    socket.send({ op: 'subscribe', channels: ['candles.ONE-USD.ONE_MINUTE'] })
    await socket.next('snapshot')
    await waitFor('the feed', async () =>
      (await productCandles(env, 'ONE-USD').status()).feed.state === 'live' ? 1 : null,
    )
    const told = (rev: number) => (message: Message) =>
      (message.candles as Candle[]).some((c) => c.is_complete && c.timestamp === at / 1000 && c.rev === rev)
    await late('10', at + 1_000)
    await socket.next('update', told(0))
    await setDatabaseOpen(false)
    await late('11', at + 2_000)
    await socket.next('update', told(1))
    await late('9', at + 3_000)
    await socket.next('update', told(2))
    // A stub of an object that has died is of no more use.
    const waiting = () =>
      runInDurableObject(objectOf('ONE-USD'), (_, { storage }) =>
        storage.sql.exec<{ body: string }>("SELECT body FROM revisions WHERE granularity = 'ONE_MINUTE'").toArray(),
      )
    expect(await waiting()).toHaveLength(2)
    await abortAllDurableObjects()
    expect(await waiting()).toHaveLength(2)
    await setDatabaseOpen(true)
    await waitFor('the flush', async () => {
      await productCandles(env, 'ONE-USD').ensureRunning(true)
      return (await waiting()).length === 0 ? true : null
    })
    const minutes = (await log('ONE-USD')).filter(({ granularity }) => granularity === 'ONE_MINUTE')
    expect(minutes.map(({ rev, reason, old_close, new_close }) => [rev, reason, old_close, new_close])).toEqual([
      [1, 'late_trade', '10', '11'],
      [2, 'late_trade', '11', '9'],
    ])
  })
})

describe('what operators see', () => {
  test('/health?verbose has counters by reason for products with an open feed', async () => {
    const socket = await openSocket('/ws/products/TWO-USD')
    socket.send({ op: 'subscribe', channels: ['candles.TWO-USD.*'] })
    await socket.next('snapshot')
    const status = async () => {
      const body = (await (await get('/health?verbose')).json()) as { products: ProductStatus[] }
      return body.products.find(({ product_id }) => product_id === 'TWO-USD')
    }
    // What is sent before the feed has subscribed reaches nobody.
    await waitFor('the feed', async () => ((await status())?.feed.state === 'live' ? true : null))
    await fault('POST', { kind: 'text', text: '{"channel":', product: 'TWO-USD' })
    await sendTrade('TWO-USD', '5')
    const dropped = await waitFor('the dropped message', async () => {
      const found = await status()
      return found && Object.keys(found.dropped).length > 0 ? found : null
    })
    expect(dropped.counters).toMatchObject({ sockets: 1, conflations: 0, reconciliations: expect.any(Number) })
    expect(dropped.counters.since).toBeLessThanOrEqual(Date.now())
    await fault('POST', { kind: 'close', product: 'TWO-USD' })
    const lost = await waitFor('the reconnect', async () => {
      const found = await status()
      return found?.counters.reconnects.closed === 1 ? found : null
    })
    expect(lost.feed.reconnects).toBe(1)
    expect((await (await get('/health')).json()) as object).not.toHaveProperty('products')

    expect(job(await minute(NOW + 120_000), 'metrics')).toMatchObject({ outcome: 'ok', unanswered: 0 })
    const rows = await database(
      (sql) => sql<{ metric_name: string; value: number; labels: Record<string, string> }[]>`
        SELECT metric_name, value, labels FROM system_metrics
        WHERE labels->>'product_id' = 'TWO-USD' AND recorded_at = ${new Date(NOW + 120_000)}`,
    )
    const since = new Date(lost.counters.since).toISOString()
    expect(rows).toContainEqual({
      metric_name: 'feed_reconnects_total',
      value: 1,
      labels: { exchange: 'simulated', product_id: 'TWO-USD', since, reason: 'closed' },
    })
    expect(rows).toContainEqual({
      metric_name: 'sockets',
      value: 1,
      labels: { exchange: 'simulated', product_id: 'TWO-USD' },
    })
    expect(rows.map(({ metric_name }) => metric_name)).toEqual(
      expect.arrayContaining(['feed_dropped_total', 'flush_queue_depth', 'flush_failures_total', 'conflations_total']),
    )
  })
})
