import { describe, expect, test } from 'vitest'
import type { ProviderQuote } from '../../../src/pricing/provider-quote.ts'
import {
  type CachedQuote,
  feedQuote,
  hasSameVisibleFields,
  mergeBesideFeed,
  supersedes,
  toCachedQuote,
} from '../../../src/pricing/quote.ts'
import { QuoteCache } from '../../../src/pricing/quote-cache.ts'

const AT = Date.parse('2025-12-03T10:00:00Z')
const at = (seconds: number) => new Date(AT + seconds * 1_000).toISOString()
const asset = { asset_id: 7, symbol: 'BTC', currency: 'USD' }

const providerQuote: ProviderQuote = {
  id: 'BTC-USD',
  price: '67412.10',
  currency: 'USD',
  previous_close: '66000.00',
  change24h: '2.1396',
  market_state: 'open',
  market: null,
  open: null,
  high: '68000',
  low: '65000',
  volume: '1234.5678',
  eps: null,
  pe_ratio: null,
  as_of: at(-1),
}
const cachedQuote = (change: Partial<CachedQuote> = {}): CachedQuote => ({
  ...toCachedQuote(asset, providerQuote, 'coinbase', AT, AT),
  ...change,
})

describe('toCachedQuote', () => {
  test('a cached quote has the provider’s digits, its name and the time of the request', () => {
    const { id: _, ...rest } = providerQuote
    expect(cachedQuote()).toEqual({
      ...rest,
      asset_id: 7,
      symbol: 'BTC',
      provider: 'coinbase',
      updated_at: at(0),
      pe_as_of: null,
    })
  })

  test('a market time in the future becomes the current time, and earnings have the time of the request', () => {
    const quote = toCachedQuote(asset, { ...providerQuote, as_of: at(3_600), eps: '6.1' }, 'yahoo', AT, AT + 500)
    expect([quote.as_of, quote.pe_as_of]).toEqual([at(0.5), at(0)])
  })
})

describe('supersedes', () => {
  test('a quote with an older update or an older market time does not replace the cached one', () => {
    expect(supersedes(cachedQuote(), null)).toBe(true)
    expect(supersedes(cachedQuote(), cachedQuote())).toBe(true)
    expect(supersedes(cachedQuote({ updated_at: at(-1) }), cachedQuote())).toBe(false)
    expect(supersedes(cachedQuote({ updated_at: at(5), as_of: at(-2) }), cachedQuote())).toBe(false)
    expect(supersedes(cachedQuote({ updated_at: at(5) }), cachedQuote())).toBe(true)
    // As text, the shorter one would be the later.
    expect(
      supersedes(cachedQuote({ as_of: '2025-12-03T09:59:59Z' }), cachedQuote({ as_of: '2025-12-03T09:59:59.000Z' })),
    ).toBe(true)
  })
})

test('hasSameVisibleFields ignores the time of the update and nothing else that clients see', () => {
  expect(hasSameVisibleFields(cachedQuote(), cachedQuote({ updated_at: at(9), pe_as_of: at(9) }))).toBe(true)
  for (const change of [{ price: '1' }, { as_of: at(1) }, { market_state: 'closed' as const }, { volume: '1' }])
    expect(hasSameVisibleFields(cachedQuote(), cachedQuote(change))).toBe(false)
})

describe('feedQuote', () => {
  test('a feed’s quote has its price and times, and a change relative to the same price as the exchange’s', () => {
    const anchor = { price: providerQuote.price, change24h: providerQuote.change24h }
    const price = { price: '68100.5', time: at(2), heardAt: AT + 3_000 }
    expect(feedQuote(asset, price, 'coinbase', cachedQuote(), anchor)).toEqual(
      cachedQuote({ price: '68100.5', change24h: '3.1826', high: '68100.5', as_of: at(2), updated_at: at(3) }),
    )
  })

  test('a feed’s quote without a cached one has only the fields of the feed', () => {
    const quote = feedQuote(asset, { price: '5', time: at(2), heardAt: AT + 3_000 }, 'simulated', null, null)
    expect(quote).toMatchObject({ price: '5', change24h: null, high: null, provider: 'simulated', currency: 'USD' })
  })

  test('a feed without a trade since the REST response confirms the price as of that response', () => {
    const quiet = { price: providerQuote.price, time: at(-300), heardAt: AT + 3_000 }
    expect(feedQuote(asset, quiet, 'coinbase', cachedQuote(), null).as_of).toBe(at(-1))
    const earlier = { ...quiet, heardAt: AT - 60_000 }
    expect(supersedes(feedQuote(asset, earlier, 'coinbase', cachedQuote(), null), cachedQuote())).toBe(false)
  })

  test('a REST quote does not replace the price of an open feed, since REST lags behind', () => {
    const streamed = cachedQuote({ price: '69000', as_of: at(5), updated_at: at(5) })
    const rest = cachedQuote({ price: '67412.10', volume: '2000', as_of: at(6), updated_at: at(6) })
    expect(mergeBesideFeed(rest, streamed)).toMatchObject({
      price: '69000',
      volume: '2000',
      high: '69000',
      change24h: '4.5455',
      as_of: at(5),
      updated_at: at(5),
    })
  })
})

describe('QuoteCache', () => {
  const TTL = 60_000
  const createCache = () => new QuoteCache((quote) => Date.parse(quote.updated_at) + TTL)
  const putAndCommit = (one: QuoteCache, change: Partial<CachedQuote>) => {
    one.put(cachedQuote(change))
    return one.commit(Date.parse(change.updated_at ?? at(0)))
  }

  test('an unchanged price is published again only after half of its time to live', () => {
    const one = createCache()
    expect(putAndCommit(one, {})?.changed).toEqual([7])
    expect(putAndCommit(one, { updated_at: at(29) })?.changed).toEqual([])
    expect(one.quote(7)?.updated_at).toBe(at(29))
    expect(putAndCommit(one, { updated_at: at(30) })?.changed).toEqual([7])
    expect(putAndCommit(one, { updated_at: at(31), price: '1' })?.changed).toEqual([7])
    expect(one.commit(AT)).toBeNull()
  })

  test('a quote is published when it becomes stale, and again when it is refreshed', () => {
    const one = createCache()
    putAndCommit(one, {})
    expect(one.nextStaleAt()).toBe(AT + TTL + 1)
    one.markStale(AT + TTL)
    expect(one.commit(AT + TTL)).toBeNull()
    one.markStale(AT + TTL + 1)
    expect(one.commit(AT + TTL + 1)?.changed).toEqual([7])
    expect(one.nextStaleAt()).toBe(Number.POSITIVE_INFINITY)
    expect(one.entry(7)?.told?.stale).toBe('expired')
    one.recordAttempt(7, { at: AT, trouble: 'rate_limited', retryAt: null })
    expect(one.commit(AT + TTL + 2)?.changed).toEqual([7])
    expect(putAndCommit(one, { updated_at: at(70) })?.changed).toEqual([7])
  })

  test('a cache is restored from its batches, whose numbers say which quotes Postgres lacks', () => {
    const one = createCache()
    const batches = [putAndCommit(one, {})!.batch]
    one.put(cachedQuote({ asset_id: 8, symbol: 'ETH' }))
    one.recordAttempt(9, { at: AT, trouble: 'unknown', retryAt: AT + 1 })
    one.remove(7)
    batches.push(one.commit(AT)!.batch)
    expect(batches.map(({ n }) => n)).toEqual([1, 2])
    expect(one.minResumableBatch).toBe(2)
    const again = new QuoteCache(() => 0, structuredClone(batches), 2)
    expect(again.toBatch()).toEqual(one.toBatch())
    expect([again.lastBatch, again.minResumableBatch]).toEqual([2, 2])
    expect(again.quotesAfter(1).map(({ symbol }) => symbol)).toEqual(['ETH'])
    expect(again.quotesAfter(2)).toEqual([])
    expect(new QuoteCache(() => 0, [one.toBatch()], 2).toBatch()).toEqual(one.toBatch())
  })

  test('a market opens when one of its assets changes from closed to another state', () => {
    const one = createCache()
    putAndCommit(one, { market: 'NMS', market_state: 'open' })
    putAndCommit(one, { market: 'NMS', market_state: 'closed', updated_at: at(1) })
    expect(one.marketOpenedAt.size).toBe(0)
    putAndCommit(one, { asset_id: 8, market: 'NMS', market_state: 'open', updated_at: at(2) })
    expect(one.marketOpenedAt.size).toBe(0)
    const { batch } = putAndCommit(one, { market: 'NMS', market_state: 'pre', updated_at: at(3) })!
    expect(batch.opened).toEqual([['NMS', AT + 3_000]])
    expect(new QuoteCache(() => 0, [batch]).marketOpenedAt).toEqual(new Map([['NMS', AT + 3_000]]))
  })
})
