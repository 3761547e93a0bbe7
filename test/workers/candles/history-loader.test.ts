import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test } from 'vitest'
import type { WireCandle } from '../../../src/protocol/candle.ts'
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

/** How many requests for candles of a product the exchange has had. */
async function asked(product: string): Promise<number> {
  const { requests } = (await (await fetch(`${env.COINBASE_REST_URL}/_requests`)).json()) as { requests: unknown[] }
  return requests.filter((request) => JSON.stringify(request).includes(`/products/${product}/candles`)).length
}

describe('history from before the first start', () => {
  test('a product that never had a feed has candles at once, with the source exchange', async () => {
    const bars = await candles('BTC-USD', 'granularity=ONE_HOUR&limit=200')
    expect(bars.length).toBe(200)
    expect(new Set(bars.map((bar) => `${bar.source} ${bar.coverage} ${bar.is_complete}`))).toEqual(
      new Set(['exchange full true']),
    )
    for (let i = 1; i < bars.length; i++) expect(bars[i]!.timestamp).toBeGreaterThan(bars[i - 1]!.timestamp)
  })

  test('a loaded range is not requested from the exchange again', async () => {
    const first = await candles('ETH-USD', 'granularity=FIVE_MINUTES&limit=100')
    const before = await asked('ETH-USD')
    expect(before).toBe(1)
    const again = await candles('ETH-USD', 'granularity=FIVE_MINUTES&limit=100')
    expect(again.map((bar) => bar.timestamp)).toEqual(first.map((bar) => bar.timestamp))
    expect(await asked('ETH-USD')).toBe(before)
  })

  test('older candles are loaded as a client pages back', async () => {
    const newest = await candles('BTC-EUR', 'granularity=FIFTEEN_MINUTES&limit=50')
    const end = newest[0]!.timestamp
    const older = await candles('BTC-EUR', `granularity=FIFTEEN_MINUTES&limit=50&end=${end}`)
    expect(older).toHaveLength(50)
    expect(older.at(-1)!.timestamp).toBeLessThan(end)
  })

  test('C8 while the exchange fails, an answer has only known candles, and a later request tries again', async () => {
    await fault('POST', { kind: 'rest', answer: '500', forMs: 60_000, path: 'candles' })
    expect(await candles('BTC-EUR', 'granularity=ONE_HOUR&limit=50')).toEqual([])
    await fault('DELETE')
    expect(await candles('BTC-EUR', 'granularity=ONE_HOUR&limit=50')).toHaveLength(50)
  })
})
