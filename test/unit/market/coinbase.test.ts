import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MALFORMED_MESSAGES } from '../../../simulators/exchange/malformed.ts'
import { parseFeedMessage, parseTime } from '../../../src/market/coinbase.ts'
import {
  coinbaseErrorSchema,
  coinbaseMessageSchema,
  heartbeatsSchema,
  marketTradesSchema,
} from '../../../src/protocol/coinbase.ts'
import { recordedFrames } from '../../support/recordings.ts'

const trade = (more: object = {}) => ({
  product_id: 'BTC-USD',
  trade_id: '1017534545',
  price: '64906.5',
  size: '0.00031',
  time: '2026-08-09T21:05:48.118443Z',
  side: 'SELL',
  ...more,
})
const trades = (events: unknown, more: object = {}) => ({
  channel: 'market_trades',
  timestamp: '2026-08-09T21:05:48.228568804Z',
  sequence_num: 3,
  events,
  ...more,
})
const heartbeats = (events: unknown, more: object = {}) => ({ ...trades(events), channel: 'heartbeats', ...more })
const heartbeat = (more: object = {}) => ({
  current_time: '2026-08-09 21:05:48 +0000 UTC',
  heartbeat_counter: 7,
  ...more,
})

/** The two checks must agree on every message: by hand in the hot path, by schema as the definition. */
function expectEqualChecks(message: unknown): void {
  const text = JSON.stringify(message)
  const parsed = parseFeedMessage(text)
  const json: unknown = text === undefined ? undefined : JSON.parse(text)
  const accepted = parsed.kind !== 'rejected' && parsed.kind !== 'refused'
  const bySchema = coinbaseMessageSchema.safeParse(json)
  expect(accepted, text).toBe(bySchema.success)
  if (!bySchema.success) {
    expect(parsed.kind === 'refused', text).toBe(coinbaseErrorSchema.safeParse(json).success)
    return
  }
  const { data } = bySchema
  expect(parsed).toMatchObject({ sequence: data.sequence_num, at: Math.floor(Date.parse(data.timestamp)) })
  if (data.channel !== 'market_trades') return
  const sent = data.events.flatMap((event) => event.trades)
  expect(parsed).toMatchObject({
    kind: 'trades',
    snapshot: data.events.some((event) => event.type === 'snapshot'),
    trades: sent.map((one) => ({
      product: one.product_id,
      id: Number(one.trade_id),
      time: one.time,
      minute: Math.trunc(Date.parse(one.time) / 60_000) * 60 + 0,
    })),
  })
}

const TIMES = [
  '2026-08-09T21:05:48.118443Z',
  '2026-08-09T21:05:48Z',
  '2026-08-09T21:05Z',
  '2026-08-09T21:05:48.1Z',
  '2026-08-09T21:05:48.Z',
  '2026-08-09T21:05:48.123456789012345Z',
  '2026-08-09T21:05:48z',
  '2026-08-09t21:05:48Z',
  '2026-08-09 21:05:48Z',
  '2026-08-09T21:05:48',
  '2026-08-09T21:05:48+00:00',
  '2026-08-09T21:05:48-02:30',
  '2026-08-09T21:05:60Z',
  '2026-08-09T21:60:00Z',
  '2026-08-09T24:00:00Z',
  '2026-02-30T00:00:00Z',
  '2026-02-29T00:00:00Z',
  '2028-02-29T00:00:00Z',
  '2000-02-29T00:00:00Z',
  '1900-02-29T00:00:00Z',
  '2026-04-31T00:00:00Z',
  '2026-13-01T00:00:00Z',
  '2026-00-10T00:00:00Z',
  '2026-01-00T00:00:00Z',
  '2026-01-32T00:00:00Z',
  '0000-01-01T00:00:00Z',
  '0001-01-01T00:00:00Z',
  '9999-12-31T23:59:59.999Z',
  '12026-08-09T21:05:48Z',
  '+002026-08-09T21:05:48Z',
  '-2026-08-09T21:05:48Z',
  '2026-8-9T21:05:48Z',
  '2026-08-09T21:05:48.12a3Z',
  '2026-08-09T21:05:48,123Z',
  '2026-08-09T21:05:4８Z',
  ' 2026-08-09T21:05:48Z',
  '2026-08-09T21:05:48Z ',
  '2026-08-09T21:05:48Z\n',
  '1970-01-01T00:00:00Z',
  '1969-12-31T23:59:59Z',
  'never',
  '',
]

const ODD: unknown[] = [
  undefined,
  null,
  true,
  0,
  1,
  -1,
  1.5,
  2 ** 53,
  2 ** 53 - 1,
  -0,
  1e21,
  [],
  {},
  [null],
  '0',
  '00',
  '1',
  '01',
  '-1',
  '+1',
  '1.0',
  '1e3',
  '1E3',
  'NaN',
  'Infinity',
  '0x10',
  ' 1',
  '1 ',
  '1\n',
  '.5',
  '5.',
  '0.0',
  '0.1',
  '٣',
  '999999999999999',
  '1000000000000000',
  '9'.repeat(38),
  '9'.repeat(39),
  `0.${'1'.repeat(38)}`,
  `0.${'1'.repeat(39)}`,
  'BTC-USD',
  'snapshot',
  'update',
  'market_trades',
  ...TIMES,
]

describe('C4 the hand-written checks agree with the schema', () => {
  test('C4 the hand-written checks agree with the schema on every recorded message', () => {
    const frames = recordedFrames('coinbase-ws/advanced-trade-BTC-ETH-2026-08-09-seq0-559.no-l2.jsonl')
    expect(frames.length).toBeGreaterThan(100)
    for (const frame of frames) {
      expectEqualChecks(JSON.parse(frame))
      expect(parseFeedMessage(frame).kind).not.toBe('rejected')
    }
  })

  test.each(Object.keys(trade()))(
    'C4 the hand-written checks agree with the schema on a trade with an odd %s',
    (field) => {
      for (const value of ODD) {
        expectEqualChecks(trades([{ type: 'update', trades: [trade(), trade({ [field]: value })] }]))
      }
    },
  )

  test.each(Object.keys(trades([])))(
    'C4 the hand-written checks agree with the schema on an envelope with an odd %s',
    (field) => {
      for (const value of ODD) {
        expectEqualChecks(trades([{ type: 'update', trades: [trade()] }], { [field]: value }))
        expectEqualChecks(heartbeats([heartbeat()], { [field]: value }))
        expectEqualChecks({
          ...trades([{ subscriptions: { market_trades: ['BTC-USD'] } }]),
          channel: 'subscriptions',
          [field]: value,
        })
      }
    },
  )

  test('C4 the hand-written checks agree with the schema on events of other shapes', () => {
    for (const value of [...ODD, [1], [[]], [{}], [{ type: 'update' }], [{ trades: [] }]]) {
      expectEqualChecks(trades(value))
      expectEqualChecks(trades([value]))
      expectEqualChecks(trades([{ type: value, trades: [trade()] }]))
      expectEqualChecks(trades([{ type: 'update', trades: value }]))
      expectEqualChecks(trades([{ type: 'update', trades: [value] }]))
      expectEqualChecks(trades([{ type: 'snapshot', trades: [] }, value]))
      expectEqualChecks(heartbeats(value))
      expectEqualChecks(heartbeats([value]))
      expectEqualChecks(heartbeats([heartbeat({ heartbeat_counter: value })]))
      expectEqualChecks(heartbeats([heartbeat({ current_time: value })]))
    }
  })

  test('C4 the hand-written checks agree with the schema on generated and altered messages', () => {
    const value = fc.oneof(fc.constantFrom(...ODD), fc.jsonValue({ maxDepth: 3 }))
    const changed = fc
      .tuple(
        fc.constantFrom('channel', 'timestamp', 'sequence_num', 'events', 'type', 'trades', ...Object.keys(trade())),
        value,
        fc.boolean(),
      )
      .map(([field, odd, remove]) => {
        const change = (node: unknown): unknown => {
          if (Array.isArray(node)) return node.map(change)
          if (typeof node !== 'object' || node === null) return node
          const entries = Object.entries(node).filter(([key]) => !(remove && key === field))
          return Object.fromEntries(entries.map(([key, one]) => [key, key === field ? odd : change(one)]))
        }
        return change(
          trades([
            { type: 'snapshot', trades: [trade(), trade()] },
            { type: 'update', trades: [trade()] },
          ]),
        )
      })
    fc.assert(fc.property(fc.oneof(changed, value), expectEqualChecks), { numRuns: 1_000 })
    fc.assert(
      fc.property(
        fc.record({
          channel: fc.constantFrom('market_trades', 'heartbeats', 'ticker', 'candles', 'status', 'l2_data', 'x'),
          timestamp: fc.constantFrom(...TIMES),
          sequence_num: fc.nat(),
          events: value,
        }),
        expectEqualChecks,
      ),
    )
  })

  test('C4 no text makes the parser throw, and a text that is not JSON is rejected', () => {
    const good = JSON.stringify(trades([{ type: 'update', trades: [trade()] }]))
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.nat({ max: good.length - 1 }).map((end) => good.slice(0, end)),
        ),
        (text) => {
          const { kind } = parseFeedMessage(text)
          expect(['rejected']).toContain(kind)
        },
      ),
    )
    for (const make of Object.values(MALFORMED_MESSAGES)) expect(() => parseFeedMessage(make('BTC-USD'))).not.toThrow()
    for (const schema of [marketTradesSchema, heartbeatsSchema]) expect(schema.safeParse(null).success).toBe(false)
  })

  test('C4 a rejected message has the reason', () => {
    const reason = (text: string) => {
      const parsed = parseFeedMessage(text)
      return parsed.kind === 'rejected' ? parsed.reason : parsed.kind
    }
    expect(reason('slow down')).toBe('not_json')
    for (const text of ['[]', 'null', '42', '"text"', 'true']) expect(reason(text)).toBe('not_an_object')
    expect(reason('{"channel":"no_such","timestamp":"2026-08-09T21:05:48Z","sequence_num":1,"events":[]}')).toBe(
      'unknown_channel',
    )
    expect(reason(JSON.stringify(trades(null)))).toBe('malformed')
    expect(reason('{"type":"error","message":"authentication failure"}')).toBe('refused')
  })
})

describe('C3 times and digits stay as the exchange wrote them', () => {
  test('C3 a time is the milliseconds that Date.parse gives, or null', () => {
    for (const text of TIMES) {
      const at = parseTime(text)
      if (at !== null) expect(at, text).toBe(Math.floor(Date.parse(text)))
    }
    fc.assert(
      fc.property(
        fc.date({ min: new Date(0), max: new Date('2100-01-01'), noInvalidDate: true }),
        fc.nat({ max: 999_999 }),
        (date, micros) => {
          const text = `${date.toISOString().slice(0, 19)}.${String(micros).padStart(6, '0')}Z`
          expect(parseTime(text)).toBe(Math.floor(date.getTime() / 1000) * 1000 + Math.floor(micros / 1000))
        },
      ),
    )
    for (const value of [undefined, null, 1_786_309_548, {}, []]) expect(parseTime(value)).toBe(null)
  })

  test('C3 trailing zeros are removed from decimals; nothing else changes', () => {
    const parsed = parseFeedMessage(
      JSON.stringify(trades([{ type: 'update', trades: [trade({ price: '64906.50', size: '1.00' })] }])),
    )
    expect(parsed).toMatchObject({ trades: [{ price: '64906.5', size: '1', time: '2026-08-09T21:05:48.118443Z' }] })
  })
})
