import { expect, test } from 'vitest'
import { connectQuotes, type LiveQuote, staleCause } from '../../../../src/client/sdk/quotes.ts'
import type { StreamState } from '../../../../src/client/sdk/stream.ts'
import { parseExact } from '../../../../src/protocol/exact-json.ts'
import { quoteSnapshotFrame, quoteUpdateFrame } from '../../../../src/protocol/messages.ts'
import { formatQuote, type Quote } from '../../../../src/protocol/quote.ts'
import { fakeClientDeps } from '../../../support/fake-client-deps.ts'

const QUOTE: Quote = {
  asset_id: 7,
  symbol: 'AAPL',
  price: '189.50',
  currency: 'USD',
  previous_close: '188.0000000000000000001',
  change24h: '0.8',
  market_state: 'open',
  open: null,
  high: null,
  low: null,
  volume: '51200000',
  eps: '-6.1',
  pe_ratio: null,
  pe_as_of: null,
  provider: 'simulated',
  as_of: '2026-10-05T14:07:00Z',
  updated_at: '2026-10-05T14:07:30Z',
}
const text = (more: Partial<Quote> = {}) => formatQuote({ ...QUOTE, ...more }, 'cache', null)

/** Quotes in a world of their own. */
function open() {
  const world = fakeClientDeps()
  const states: StreamState[] = []
  const quotes: LiveQuote[] = []
  connectQuotes(
    {
      url: 'http://kerb.test',
      symbols: ['AAPL', 'yahoo:SHEL.L'],
      onState: (state) => states.push(state),
      onQuotes: (some) => quotes.push(...some),
    },
    world.deps,
  )
  return { ...world, states, quotes, hear: (frame: string) => world.socket().onmessage?.(frame) }
}

const SUBSCRIBED = '{"type":"subscribed","channels":["quotes.AAPL"],"position":"quotes:b-1","recovered":false}'

test('C3 the amounts of a quote keep every digit', () => {
  const world = open()
  world.socket().onopen?.()
  world.hear(SUBSCRIBED)
  world.hear(quoteSnapshotFrame('quotes:b-1', [text()]))
  expect(world.quotes).toEqual([
    expect.objectContaining({
      symbol: 'AAPL',
      price: '189.50',
      previous_close: '188.0000000000000000001',
      eps: '-6.1',
      pe_ratio: null,
      asset_id: 7,
    }),
  ])
})

test('an engine without source text access gives the float as plain decimals', () => {
  const parse = JSON.parse
  JSON.parse = ((json: string, read?: (key: string, value: unknown) => unknown) =>
    parse(json, read && ((key: string, value: unknown) => read(key, value)))) as typeof JSON.parse
  try {
    const text = '{"a":1e-7,"b":[{"a":189.5},null,"x"],"c":7}'
    expect(parseExact(text, new Set('a'))).toEqual({ a: '0.0000001', b: [{ a: '189.5' }, null, 'x'], c: 7 })
  } finally {
    JSON.parse = parse
  }
})

test('D2 after a loss a quote stream resumes from its last position and receives the changes since', () => {
  const world = open()
  world.socket().onopen?.()
  expect(world.socket().sent[0]).toEqual({
    op: 'subscribe',
    channels: ['quotes.AAPL', 'quotes.yahoo:SHEL.L'],
    req_id: 1,
  })
  world.hear(SUBSCRIBED)
  world.hear(quoteSnapshotFrame('quotes:b-1', [text()]))
  world.hear(quoteUpdateFrame('quotes:b-2', [text({ price: '190' })]))
  world.socket().onclose?.(1006, '')
  expect(world.states.at(-1)?.name).toBe('reconnecting')
  world.advance(1_000)
  world.socket().onopen?.()
  expect(world.socket().sent[0]).toMatchObject({ op: 'subscribe', since: 'quotes:b-2' })
  world.hear(SUBSCRIBED)
  world.hear(quoteUpdateFrame('quotes:b-3', [text({ price: '191.25' })]))
  expect(world.quotes.map(({ price }) => price)).toEqual(['189.50', '190', '191.25'])
  expect(world.states.at(-1)?.name).toBe('live')
})

test('D3 a quote stream acks the frames that it has handled', () => {
  const world = open()
  world.socket().onopen?.()
  world.hear(SUBSCRIBED)
  world.hear(quoteSnapshotFrame('quotes:b-1', [text()]))
  expect(world.socket().sent.at(-1)).toEqual({ op: 'ack', position: 'quotes:b-1' })
})

test.each(['unknown_symbol', 'ambiguous_symbol'])(
  'D4 %s stops the stream, since another attempt would be refused too',
  (code) => {
    const world = open()
    world.socket().onopen?.()
    world.hear(JSON.stringify({ type: 'error', code, message: 'no', field: 'channels/0', req_id: 1 }))
    expect(world.states.at(-1)).toEqual({ name: 'stopped', reason: 'no', code: null })
    world.advance(600_000)
    expect(world.sockets).toHaveLength(1)
  },
)

test('Q1 a price is current only while the server refreshes it, the connection lasts and it has not expired', () => {
  const at = Date.parse(QUOTE.updated_at)
  const quote = { updatedAt: QUOTE.updated_at, stale: null }
  expect(staleCause(quote, 45_000, true, at + 45_000)).toBeNull()
  expect(staleCause(quote, 45_000, true, at + 45_001)).toBe('expired')
  expect(staleCause(quote, 45_000, false, at)).toBe('connection')
  expect(staleCause({ ...quote, stale: 'rate_limited' }, 45_000, true, at)).toBe('rate_limited')
})
