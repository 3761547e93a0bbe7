import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { cachedQuoteText, discoverQuote, lookupQuotes, namesByShard } from '../../../src/api/quotes/cache.ts'
import type { LookupResult, QuoteBoardObject } from '../../../src/objects.ts'
import { shardOf } from '../../../src/pricing/symbol.ts'
import type { Quote } from '../../../src/protocol/quote.ts'

const T0 = Date.parse('2026-03-02T15:00:00Z')

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'] })
  vi.setSystemTime(T0)
  vi.spyOn(console, 'log').mockImplementation(() => {})
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const quote = (symbol: string, price = '10.50'): Quote => ({
  asset_id: 1,
  symbol,
  price,
  currency: 'USD',
  previous_close: null,
  change24h: null,
  market_state: 'open',
  open: null,
  high: null,
  low: null,
  volume: null,
  eps: null,
  pe_ratio: null,
  pe_as_of: null,
  provider: 'yahoo',
  as_of: '2026-03-02T14:59:50Z',
  updated_at: '2026-03-02T14:59:55Z',
})

const told = (name: string, symbol = name, freshMs = 60_000): LookupResult => ({
  name,
  kind: 'quote',
  quote: quote(symbol),
  source: 'provider',
  freshUntil: Date.now() + freshMs,
  trouble: null,
})

type Board = Pick<QuoteBoardObject, 'lookup' | 'discover'>

/** An environment whose boards answer so, and the names that each look has asked for. */
function stage(answer: (name: string, shard: number) => LookupResult, settings: Record<string, string> = {}) {
  const asked: { shard: number; names: string[] }[] = []
  const board = (shard: number): Board => ({
    async lookup(names) {
      asked.push({ shard, names })
      return names.map((name) => answer(name, shard))
    },
    async discover(name) {
      asked.push({ shard, names: [name] })
      return answer(name, shard)
    },
  })
  const QUOTE_BOARD = { getByName: (name: string) => board(Number(name.split(':')[1])) }
  return { env: { EXCHANGE: 'coinbase', QUOTE_BOARD, ...settings } as unknown as Env, asked }
}

describe('Q1 the cache of quotes lives for a second', () => {
  test('a fresh entry is served from the cache, and an expired one from the board', async () => {
    const { env, asked } = stage((name) => told(name))
    expect(await lookupQuotes(env, ['AAPL'])).toMatchObject([{ kind: 'quote', source: 'provider' }])
    vi.setSystemTime(T0 + 999)
    expect(await lookupQuotes(env, ['AAPL'])).toMatchObject([{ kind: 'quote', source: 'cache' }])
    expect(asked).toHaveLength(1)
    vi.setSystemTime(T0 + 1_000)
    expect(await lookupQuotes(env, ['AAPL'])).toMatchObject([{ source: 'provider' }])
    expect(asked).toHaveLength(2)
  })

  test('the text of a cached quote has the provider’s time, and says when it has become stale', async () => {
    const { env } = stage((name) => told(name, name, 500))
    expect(cachedQuoteText(env, 'AAPL', Date.now())).toBeNull()
    await lookupQuotes(env, ['AAPL'])
    const fresh = cachedQuoteText(env, 'AAPL', T0 + 500)
    expect(fresh).toContain('"price":10.50,')
    expect(JSON.parse(fresh ?? '')).toMatchObject({ updatedAt: '2026-03-02T14:59:55Z', stale: null, source: 'cache' })
    expect(JSON.parse(cachedQuoteText(env, 'AAPL', T0 + 501) ?? '')).toMatchObject({ stale: 'expired' })
    expect(cachedQuoteText(env, 'AAPL', T0 + 1_000)).toBeNull()
  })

  test('two environments share no cache', async () => {
    const [a, b] = [stage((name) => told(name)), stage((name) => ({ name, kind: 'unknown', asked: true }))]
    await lookupQuotes(a.env, ['AAPL'])
    expect(await lookupQuotes(b.env, ['AAPL'])).toMatchObject([{ kind: 'unknown' }])
  })

  test('results are in the order of the names, each under its own name', async () => {
    const { env, asked } = stage((name) => (name === 'NONE' ? { name, kind: 'unknown', asked: false } : told(name)))
    const looks = await lookupQuotes(env, ['MSFT', 'NONE', 'AAPL', 'MSFT'])
    expect(looks.map(({ name, kind }) => [name, kind])).toEqual([
      ['MSFT', 'quote'],
      ['NONE', 'unknown'],
      ['AAPL', 'quote'],
      ['MSFT', 'quote'],
    ])
    expect(asked).toEqual([{ shard: 0, names: ['MSFT', 'NONE', 'AAPL'] }])
  })

  test('an unknown symbol is cached longer than a quote, but expires too', async () => {
    const { env, asked } = stage((name) => ({ name, kind: 'unknown', asked: true }))
    await lookupQuotes(env, ['NONE'])
    vi.setSystemTime(T0 + 4_999)
    await lookupQuotes(env, ['NONE'])
    expect(asked).toHaveLength(1)
    vi.setSystemTime(T0 + 5_000)
    await lookupQuotes(env, ['NONE'])
    expect(asked).toHaveLength(2)
  })
})

describe('Q3 a thousand hot symbols cost one look a second', () => {
  const hot = Array.from({ length: 1_000 }, (_, i) => `S${i}`)

  test('a lookup also refreshes other expired entries', async () => {
    const { env, asked } = stage((name) => told(name))
    await lookupQuotes(env, hot)
    for (let second = 1; second <= 5; second++) {
      vi.setSystemTime(T0 + second * 1_000)
      for (const name of hot) await lookupQuotes(env, [name])
    }
    expect(asked).toHaveLength(6)
    expect(asked.every(({ names }) => names.length === 1_000)).toBe(true)
  })

  test('a lookup does not refresh expired entries that were not used recently', async () => {
    const { env, asked } = stage((name) => told(name))
    await lookupQuotes(env, ['COLD', 'HOT'])
    for (let second = 1; second <= 7; second++) {
      vi.setSystemTime(T0 + second * 1_000)
      await lookupQuotes(env, ['HOT'])
    }
    expect(asked.at(-1)?.names).toEqual(['HOT'])
    expect(asked[1]?.names).toEqual(['HOT', 'COLD'])
  })

  test('while one request refreshes an entry, others use it until it is two seconds old', async () => {
    const waiting = Promise.withResolvers<void>()
    let calls = 0
    const board: Board = {
      async lookup(names) {
        if (++calls === 2) await waiting.promise
        return names.map((name) => told(name))
      },
      async discover(name) {
        return told(name)
      },
    }
    const env = { EXCHANGE: 'coinbase', QUOTE_BOARD: { getByName: () => board } } as unknown as Env
    await lookupQuotes(env, ['AAPL'])
    vi.setSystemTime(T0 + 1_500)
    const renewing = lookupQuotes(env, ['AAPL'])
    expect(cachedQuoteText(env, 'AAPL', T0 + 1_500)).not.toBeNull()
    expect(await lookupQuotes(env, ['AAPL'])).toMatchObject([{ source: 'cache' }])
    expect(calls).toBe(2)
    expect(cachedQuoteText(env, 'AAPL', T0 + 2_000)).toBeNull()
    waiting.resolve()
    expect(await renewing).toMatchObject([{ source: 'provider' }])
  })

  test('the cache is bounded, and a flood of names does not evict entries in use', async () => {
    const { env } = stage((name) => (name.startsWith('X') ? { name, kind: 'unknown', asked: true } : told(name)))
    await lookupQuotes(env, ['AAPL'])
    for (let i = 0; i < 15_000; i += 1_000)
      await lookupQuotes(
        env,
        Array.from({ length: 1_000 }, (_, n) => `X${i + n}`),
      )
    expect(cachedQuoteText(env, 'AAPL', Date.now())).not.toBeNull()
  })
})

describe('names of other boards', () => {
  // The ISIN of an asset lies with another board than its symbol.
  const shards = 64
  const ISIN = 'US0378331005'
  const [there, here] = [shardOf('AAPL', shards), shardOf(ISIN, shards)]
  const answer = (name: string, shard: number): LookupResult =>
    name === ISIN && shard === here
      ? { name, kind: 'moved', symbol: 'AAPL' }
      : name === 'AAPL' && shard === there
        ? told(name)
        : { name, kind: 'unknown', asked: false }

  test('a moved symbol is followed once, returned under its own name, and cached', async () => {
    expect(there).not.toBe(here)
    const { env, asked } = stage(answer, { QUOTE_SHARDS: `${shards}` })
    expect(await lookupQuotes(env, [ISIN])).toMatchObject([{ name: ISIN, kind: 'quote', quote: { symbol: 'AAPL' } }])
    expect(asked.map(({ shard }) => shard)).toEqual([here, there])
    vi.setSystemTime(T0 + 1_000)
    expect(await lookupQuotes(env, [ISIN])).toMatchObject([{ name: ISIN, kind: 'quote' }])
    expect(asked.map(({ shard }) => shard)).toEqual([here, there, there])
    expect(namesByShard(env, [ISIN])).toEqual(new Map([[there, ['AAPL']]]))
  })

  test('boards that refer to each other count as unreachable', async () => {
    const { env, asked } = stage((name) => ({ name, kind: 'moved', symbol: name === 'AAPL' ? ISIN : 'AAPL' }), {
      QUOTE_SHARDS: `${shards}`,
    })
    expect(await lookupQuotes(env, [ISIN])).toMatchObject([{ kind: 'unpriced', reason: 'unavailable' }])
    expect(asked).toHaveLength(2)
  })
})

describe('a board that cannot be reached', () => {
  test('an unreachable board fails only its own names, and its cached quotes are used', async () => {
    let lost = false
    const { env } = stage((name) => {
      if (lost) throw new Error('Durable Object overloaded')
      return told(name, name, 1_500)
    })
    await lookupQuotes(env, ['AAPL'])
    lost = true
    vi.setSystemTime(T0 + 10_000)
    const [known, unknown] = await lookupQuotes(env, ['AAPL', 'MSFT'])
    expect(known).toMatchObject({ kind: 'quote', source: 'cache', freshUntil: T0 + 1_500 })
    expect(unknown).toMatchObject({ name: 'MSFT', kind: 'unpriced', reason: 'unavailable' })
    vi.setSystemTime(T0 + 400_000)
    expect(await lookupQuotes(env, ['AAPL'])).toMatchObject([{ kind: 'unpriced' }])
    expect(await discoverQuote(env, 'NFLX')).toMatchObject({ kind: 'unpriced', reason: 'unavailable' })
  })
})

test('a discovered quote is cached', async () => {
  const { env, asked } = stage((name) => told(name))
  expect(await discoverQuote(env, 'NFLX')).toMatchObject({ kind: 'quote', source: 'provider' })
  expect(cachedQuoteText(env, 'NFLX', Date.now())).toContain('"source":"cache"')
  expect(asked).toHaveLength(1)
})
