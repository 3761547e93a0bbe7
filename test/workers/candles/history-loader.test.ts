import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test } from 'vitest'
import type { WireCandle } from '../../../src/protocol/candle.ts'
import { GRANULARITY_SECONDS, type Granularity } from '../../../src/protocol/granularity.ts'
import { fetchCandles } from '../../../src/providers/coinbase.ts'
import { closeAll, get } from '../support/wire.ts'

const fault = (method: 'POST' | 'DELETE', body?: object) =>
  fetch(`${env.COINBASE_REST_URL}/_faults`, { method, ...(body ? { body: JSON.stringify(body) } : {}) })

afterEach(async () => {
  await closeAll()
  await fault('DELETE')
})

async function candles(product: string, query: string): Promise<WireCandle[]> {
  const response = await get(`/api/v1/products/${product}/candles?${query}`)
  expect(response.status).toBe(200)
  return ((await response.json()) as { candles: WireCandle[] }).candles
}

/**
 * Has the simulated exchange compute the last `count` candles of a product, which may take it long. It caches them, so that
 * it answers the object within the object's own timeout, on a machine of any speed.
 */
async function computeCandles(product: string, granularity: Granularity, count: number): Promise<void> {
  const seconds = GRANULARITY_SECONDS[granularity]
  const end = Math.ceil(Date.now() / 1000 / seconds) * seconds
  const range = { granularity, start: end - (count + 2) * seconds, end }
  const result = await fetchCandles(fetch, env.COINBASE_REST_URL, product, range, AbortSignal.timeout(100_000))
  expect(result.ok).toBe(true)
}

/** The number of requests for candles of a product that the exchange received. */
async function countRequests(product: string): Promise<number> {
  const { requests } = (await (await fetch(`${env.COINBASE_REST_URL}/_requests`)).json()) as { requests: unknown[] }
  return requests.filter((request) => JSON.stringify(request).includes(`/products/${product}/candles`)).length
}

describe('history from before the first start', () => {
  test('a product that never had a feed has candles at once, with the source exchange', async () => {
    await computeCandles('BTC-USD', 'ONE_HOUR', 200)
    const bars = await candles('BTC-USD', 'granularity=ONE_HOUR&limit=200')
    expect(bars.length).toBe(200)
    expect(new Set(bars.map((bar) => `${bar.source} ${bar.coverage} ${bar.is_complete}`))).toEqual(
      new Set(['exchange full true']),
    )
    for (let i = 1; i < bars.length; i++) expect(bars[i]!.timestamp).toBeGreaterThan(bars[i - 1]!.timestamp)
  })

  test('a loaded range is not requested from the exchange again', async () => {
    await computeCandles('ETH-USD', 'FIVE_MINUTES', 100)
    const before = await countRequests('ETH-USD')
    const first = await candles('ETH-USD', 'granularity=FIVE_MINUTES&limit=100')
    expect(first).toHaveLength(100)
    expect(await countRequests('ETH-USD')).toBe(before + 1)
    const again = await candles('ETH-USD', 'granularity=FIVE_MINUTES&limit=100')
    expect(again.map((bar) => bar.timestamp)).toEqual(first.map((bar) => bar.timestamp))
    expect(await countRequests('ETH-USD')).toBe(before + 1)
  })

  test('older candles are loaded as a client pages back', async () => {
    await computeCandles('BTC-EUR', 'FIFTEEN_MINUTES', 100)
    const newest = await candles('BTC-EUR', 'granularity=FIFTEEN_MINUTES&limit=50')
    const end = newest[0]!.timestamp
    const older = await candles('BTC-EUR', `granularity=FIFTEEN_MINUTES&limit=50&end=${end}`)
    expect(older).toHaveLength(50)
    expect(older.at(-1)!.timestamp).toBeLessThan(end)
  })

  test('C8 while the exchange fails, an answer has only known candles, and a later request tries again', async () => {
    await computeCandles('BTC-EUR', 'ONE_HOUR', 50)
    await fault('POST', { kind: 'rest', answer: '500', forMs: 60_000, path: 'candles' })
    expect(await candles('BTC-EUR', 'granularity=ONE_HOUR&limit=50')).toEqual([])
    await fault('DELETE')
    expect(await candles('BTC-EUR', 'granularity=ONE_HOUR&limit=50')).toHaveLength(50)
  })
})
