import { describe, expect, test } from 'vitest'
import { createMultiplexer, type MultiplexerDeps } from '../../../../src/api/streams/multiplexer.ts'
import type { StreamSocket } from '../../../../src/delivery/client-connection.ts'
import { PING_TEXT } from '../../../../src/protocol/client-messages.ts'
import { CLOSE_CODES, CodedError } from '../../../../src/protocol/errors.ts'
import {
  candleSnapshotFrame,
  candleUpdateFrame,
  errorFrame,
  feedFrame,
  quoteSnapshotFrame,
  quoteUpdateFrame,
  subscribedFrame,
} from '../../../../src/protocol/messages.ts'

/** A socket of the Worker to an object that the test plays. */
function fakeSocket(product: string) {
  const sent: { op: string; channels?: string[]; since?: string; req_id?: number; position?: string }[] = []
  const socket: StreamSocket = {
    send: (text) => void sent.push(JSON.parse(text)),
    close: (code = 1000) => {
      self.closed = code
    },
    onopen: null,
    onmessage: null,
    onclose: null,
  }
  const self = {
    product,
    sent,
    closed: null as number | null,
    socket,
    sends: (text: string) => socket.onmessage?.(text),
    closes: (code: number, reason = '') => socket.onclose?.(code, reason),
    /** Answers the last subscribe. */
    answers: (position: string, recovered: boolean) => {
      const asked = sent.filter(({ op }) => op === 'subscribe').at(-1)
      self.sends(subscribedFrame(asked?.channels ?? [], position, recovered, asked?.req_id))
    },
  }
  return self
}

function stage(connectFails: (product: string) => Error | null = () => null) {
  const calls: unknown[][] = []
  const sockets: ReturnType<typeof fakeSocket>[] = []
  const timers: { run: () => void; ms: number }[] = []
  let now = 0
  const deps: MultiplexerDeps = {
    connect: async (product) => {
      const failure = connectFails(product)
      if (failure) throw failure
      const made = fakeSocket(product)
      sockets.push(made)
      return made.socket
    },
    now: () => now,
    random: () => 0.5,
    later(run, ms) {
      const timer = { run, ms }
      timers.push(timer)
      return () => {
        const index = timers.indexOf(timer)
        if (index >= 0) timers.splice(index, 1)
      }
    },
  }
  const multiplexer = createMultiplexer(
    {
      onSubscribed: ({ key, position, recovered, req_id }) =>
        calls.push(['subscribed', key, position, recovered, req_id]),
      onFrame: (text, key) => calls.push(['frame', key, text]),
      onFeed: (_text, key) => calls.push(['feed', key]),
      onRefused: ({ key, code, req_id }) => calls.push(['refused', key, code, req_id]),
      onLost: (key, code) => calls.push(['lost', key, code]),
    },
    deps,
  )
  const settle = () => new Promise<void>((done) => setImmediate(done))
  return {
    multiplexer,
    calls,
    sockets,
    timers,
    settle,
    pass: (ms: number) => {
      now += ms
    },
    /** Runs the next timer and waits until nothing is pending. */
    async fire() {
      timers.shift()?.run()
      await settle()
    },
  }
}

const BTC = 'candles.BTC-USD.ONE_MINUTE'
const ETH = 'candles.ETH-USD.ONE_MINUTE'

const FEED = feedFrame({
  product_id: 'BTC-USD',
  exchange: 'coinbase',
  state: 'live',
  since: '2024-01-06T19:00:00Z',
  gaps_from: 0,
  gaps: [],
})

describe('P7 a user’s object among others', () => {
  const text = (type: string, position: string) => JSON.stringify({ type, position, positions: [] })

  test('a user’s updates carry joined positions, and each channel has its own snapshot', async () => {
    const { multiplexer, calls, sockets, settle, fire } = stage()
    multiplexer.subscribe('portfolio', ['portfolio', 'asset.AAPL'], null, 7)
    await settle()
    sockets[0]?.answers('p-1', false)
    sockets[0]?.sends(text('snapshot', 'p-1'))
    // Lost before the second snapshot: everything is requested again.
    sockets[0]?.closes(CLOSE_CODES.restarting)
    await fire()
    expect(sockets[1]?.sent).toEqual([{ op: 'subscribe', channels: ['portfolio', 'asset.AAPL'], req_id: 3 }])
    sockets[1]?.answers('p-1', false)
    for (const type of ['snapshot', 'snapshot', 'price_update', 'position_update', 'lot_update'])
      sockets[1]?.sends(text(type, 'p-2'))
    const frames = calls.filter(([what]) => what === 'frame').map(([, , frame]) => frame)
    expect(frames.slice(-3)).toEqual(
      ['price_update', 'position_update', 'lot_update'].map((type) => text(type, 'portfolio:p-2')),
    )
    // Both have arrived: from now on it resumes.
    sockets[1]?.closes(CLOSE_CODES.restarting)
    await fire()
    expect(sockets[2]?.sent).toMatchObject([{ channels: ['portfolio', 'asset.AAPL'], since: 'p-2' }])
  })

  test('a client that is signed out still receives public channels', async () => {
    const { multiplexer, calls, sockets, settle } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], null)
    multiplexer.subscribe('portfolio', ['portfolio'], null)
    await settle()
    sockets[1]?.closes(CLOSE_CODES.signed_out)
    expect(calls).toEqual([['refused', 'portfolio', 'unauthorized', undefined]])
    expect([sockets[0]?.closed, sockets.length]).toEqual([null, 2])
  })
})

describe('D2 joined positions', () => {
  test('a position names every object whose snapshot or update the client has, and no other', async () => {
    const { multiplexer, calls, sockets, settle } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], null, 7)
    multiplexer.subscribe('ETH-USD', [ETH], null, 7)
    await settle()
    const [btc, eth] = sockets
    btc?.answers('b-5', false)
    btc?.sends(candleSnapshotFrame('b-5', [], []))
    eth?.answers('e-9', false)
    // ETH's snapshot has not arrived yet: a client that resumes from this position must get it.
    btc?.sends(candleUpdateFrame('b-6', ['{}']))
    eth?.sends(candleSnapshotFrame('e-9', [], []))
    expect(calls).toEqual([
      ['subscribed', 'BTC-USD', 'BTC-USD:b-5', false, 7],
      ['frame', 'BTC-USD', candleSnapshotFrame('BTC-USD:b-5', [], [])],
      ['subscribed', 'ETH-USD', 'BTC-USD:b-5,ETH-USD:e-9', false, 7],
      ['frame', 'BTC-USD', candleUpdateFrame('BTC-USD:b-6', ['{}'])],
      ['frame', 'ETH-USD', candleSnapshotFrame('BTC-USD:b-6,ETH-USD:e-9', [], [])],
    ])
  })

  test('each object resumes from its part of the position, and a recovered object is part of it at once', async () => {
    const { multiplexer, calls, sockets, settle } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], 'b-5')
    multiplexer.subscribe('ETH-USD', [ETH], 'e-9')
    await settle()
    expect(sockets.map(({ sent }) => sent[0]?.since)).toEqual(['b-5', 'e-9'])
    sockets[0]?.answers('b-5', true)
    sockets[1]?.answers('e-9', true)
    sockets[0]?.sends(candleUpdateFrame('b-6', []))
    expect(calls.at(-1)).toEqual(['frame', 'BTC-USD', candleUpdateFrame('BTC-USD:b-6,ETH-USD:e-9', [])])
  })

  test('an object that has not answered yet stays in the position as the client sent it', async () => {
    const { multiplexer, calls, sockets, settle } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], 'b-5')
    multiplexer.subscribe('ETH-USD', [ETH], 'e-9')
    await settle()
    sockets[0]?.answers('b-5', true)
    sockets[0]?.sends(candleUpdateFrame('b-6', []))
    expect(calls.at(-1)).toEqual(['frame', 'BTC-USD', candleUpdateFrame('BTC-USD:b-6,ETH-USD:e-9', [])])
  })

  test('when one object recovers and another does not, the client learns which, and the position names both', async () => {
    const { multiplexer, calls, sockets, settle } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], 'b-5', 1)
    multiplexer.subscribe('ETH-USD', [ETH], 'old-9', 1)
    await settle()
    sockets[0]?.answers('b-5', true)
    sockets[1]?.answers('new-2', false)
    sockets[0]?.sends(candleUpdateFrame('b-6', []))
    sockets[1]?.sends(candleSnapshotFrame('new-2', [], []))
    expect(calls).toEqual([
      ['subscribed', 'BTC-USD', 'BTC-USD:b-5,ETH-USD:old-9', true, 1],
      ['subscribed', 'ETH-USD', 'BTC-USD:b-5,ETH-USD:new-2', false, 1],
      // A client that is cut off here must get ETH's snapshot: its position is still the old one.
      ['frame', 'BTC-USD', candleUpdateFrame('BTC-USD:b-6,ETH-USD:old-9', [])],
      ['frame', 'ETH-USD', candleSnapshotFrame('BTC-USD:b-6,ETH-USD:new-2', [], [])],
    ])
  })

  test('an object that dropped updates announces a snapshot, and so does the joined stream', async () => {
    const { multiplexer, calls, sockets, settle } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], 'b-5', 1)
    await settle()
    sockets[0]?.answers('b-5', true)
    sockets[0]?.sends(subscribedFrame([BTC], 'b-900', false, undefined))
    sockets[0]?.sends(candleSnapshotFrame('b-900', [], []))
    expect(calls.slice(1)).toEqual([
      ['subscribed', 'BTC-USD', 'BTC-USD:b-900', false, undefined],
      ['frame', 'BTC-USD', candleSnapshotFrame('BTC-USD:b-900', [], [])],
    ])
  })

  test('a position names quote boards and products, and each resumes from its part', async () => {
    const { multiplexer, calls, sockets, settle, fire } = stage()
    multiplexer.subscribe('quotes', ['quotes.AAPL'], null, 1)
    multiplexer.subscribe('quotes.3', ['quotes.LDO.MI'], 'd-4', 1)
    multiplexer.subscribe('BTC-USD', [BTC], 'b-5', 1)
    await settle()
    const [first, third, btc] = sockets
    expect(third?.sent[0]).toMatchObject({ channels: ['quotes.LDO.MI'], since: 'd-4' })
    first?.answers('a-1', false)
    first?.sends(quoteSnapshotFrame('a-1', ['{"asset_id":1}']))
    third?.answers('d-4', true)
    btc?.answers('b-5', true)
    third?.sends(quoteUpdateFrame('d-6', ['{"asset_id":2}']))
    const joined = 'quotes:a-1,quotes.3:d-6,BTC-USD:b-5'
    expect(calls.at(-1)).toEqual(['frame', 'quotes.3', quoteUpdateFrame(joined, ['{"asset_id":2}'])])
    first?.closes(1006)
    await fire()
    expect(sockets[3]?.sent[0]).toMatchObject({ channels: ['quotes.AAPL'], since: 'a-1' })
  })

  test('an ack reaches each object once, with its part of the position', async () => {
    const { multiplexer, sockets, settle } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], null)
    await settle()
    const positions = new Map([
      ['BTC-USD', 'b-6'],
      ['NO-USD', 'x-1'],
    ])
    multiplexer.ack(positions)
    multiplexer.ack(positions)
    expect(sockets[0]?.sent.slice(1)).toEqual([{ op: 'ack', position: 'b-6' }])
  })
})

describe('D3 acks and pings to an object', () => {
  test('frames are acked at once on a new socket, then every sixteenth, and all when the client has caught up', async () => {
    const { multiplexer, sockets, settle, fire } = stage()
    const acks = (n: number) => sockets[n]?.sent.filter(({ op }) => op === 'ack').map(({ position }) => position)
    multiplexer.subscribe('BTC-USD', [BTC], null)
    await settle()
    multiplexer.ackAllReceived()
    expect(acks(0)).toEqual([])
    sockets[0]?.answers('b-0', false)
    sockets[0]?.sends(candleSnapshotFrame('b-0', [], []))
    multiplexer.ackReceived('BTC-USD')
    for (let i = 1; i <= 40; i++) {
      sockets[0]?.sends(candleUpdateFrame(`b-${i}`, []))
      multiplexer.ackReceived('BTC-USD')
    }
    expect(acks(0)).toEqual(['b-0', 'b-16', 'b-32'])
    multiplexer.ackAllReceived()
    multiplexer.ackAllReceived()
    expect(acks(0)).toEqual(['b-0', 'b-16', 'b-32', 'b-40'])
    sockets[0]?.closes(1006)
    await fire()
    sockets[1]?.answers('b-40', true)
    multiplexer.ackReceived('BTC-USD')
    expect(acks(1)).toEqual(['b-40'])
  })

  test('a ping of the client is passed on at most every 10 s, in the text that wakes no object', async () => {
    const { multiplexer, sockets, settle, pass } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], null)
    await settle()
    for (let i = 0; i < 100; i++) multiplexer.ping()
    pass(10_000)
    multiplexer.ping()
    expect(sockets[0]?.sent.slice(1)).toEqual([{ op: 'ping' }, { op: 'ping' }])
    expect(PING_TEXT).toBe('{"op":"ping"}')
  })

  test.each([CLOSE_CODES.slow_reader, CLOSE_CODES.silent_reader])(
    'close code %i is the reader’s own: no other socket is opened for it',
    async (code) => {
      const { multiplexer, calls, sockets, timers, settle } = stage()
      multiplexer.subscribe('BTC-USD', [BTC], null)
      await settle()
      sockets[0]?.closes(code)
      expect(calls).toEqual([['lost', 'BTC-USD', code]])
      expect(timers).toEqual([])
    },
  )
})

describe('one socket per product', () => {
  test('a socket is shared by its channels and closed with the last of them', async () => {
    const { multiplexer, sockets, settle } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], null)
    await settle()
    multiplexer.subscribe('BTC-USD', ['candles.BTC-USD.ONE_DAY'], null)
    await settle()
    expect(sockets).toHaveLength(1)
    multiplexer.unsubscribe('BTC-USD', [BTC])
    expect(sockets[0]?.closed).toBeNull()
    expect(sockets[0]?.sent.at(-1)).toEqual({ op: 'unsubscribe', channels: [BTC] })
    multiplexer.unsubscribe('BTC-USD', ['candles.BTC-USD.ONE_DAY'])
    expect(sockets[0]?.closed).toBe(1000)
  })

  test('a socket that opens after its client left is closed at once', async () => {
    const { multiplexer, sockets, settle } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], null)
    multiplexer.close()
    await settle()
    expect(sockets[0]?.closed).toBe(1000)
  })

  test('a feed frame is passed on', async () => {
    const { multiplexer, calls, sockets, settle } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], null)
    await settle()
    sockets[0]?.sends(FEED)
    expect(calls).toEqual([['feed', 'BTC-USD']])
  })
})

describe('an object whose socket drops', () => {
  test('D2 is resumed from the client’s position, and the client does not notice if it recovers', async () => {
    const { multiplexer, calls, sockets, settle, fire } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], null)
    await settle()
    sockets[0]?.answers('b-5', false)
    sockets[0]?.sends(candleSnapshotFrame('b-5', [], []))
    sockets[0]?.closes(1006)
    await fire()
    expect(sockets[1]?.sent).toEqual([{ op: 'subscribe', channels: [BTC], since: 'b-5', req_id: expect.any(Number) }])
    const before = calls.length
    sockets[1]?.answers('b-5', true)
    sockets[1]?.sends(candleUpdateFrame('b-6', []))
    expect(calls.slice(before)).toEqual([['frame', 'BTC-USD', candleUpdateFrame('BTC-USD:b-6', [])]])
  })

  test('D2 that cannot recover announces that before its snapshot', async () => {
    const { multiplexer, calls, sockets, settle, fire } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], null, 1)
    await settle()
    sockets[0]?.answers('b-5', false)
    sockets[0]?.sends(candleSnapshotFrame('b-5', [], []))
    sockets[0]?.closes(1006)
    await fire()
    sockets[1]?.answers('n-0', false)
    sockets[1]?.sends(candleSnapshotFrame('n-0', [], []))
    expect(calls.slice(-2)).toEqual([
      ['subscribed', 'BTC-USD', 'BTC-USD:n-0', false, undefined],
      ['frame', 'BTC-USD', candleSnapshotFrame('BTC-USD:n-0', [], [])],
    ])
  })

  test('D2 between `subscribed` and its snapshot still sends the new channel its snapshot', async () => {
    const { multiplexer, sockets, settle, fire } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], null, 1)
    await settle()
    sockets[0]?.answers('b-5', false)
    sockets[0]?.sends(candleSnapshotFrame('b-5', [], []))
    multiplexer.subscribe('BTC-USD', ['candles.BTC-USD.ONE_DAY'], null, 2)
    sockets[0]?.answers('b-6', false)
    sockets[0]?.closes(1006)
    await fire()
    expect(sockets[1]?.sent.map(({ channels, since }) => [channels, since])).toEqual([
      [[BTC], 'b-5'],
      [['candles.BTC-USD.ONE_DAY'], undefined],
    ])
  })

  test('is dialled at once after a code that sends so, and otherwise after a pause that doubles', async () => {
    const { multiplexer, sockets, timers, settle, fire } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], null)
    await settle()
    sockets[0]?.closes(4200)
    expect(timers[0]?.ms).toBeLessThan(200)
    await fire()
    const pauses: number[] = []
    for (let i = 1; i < 5; i++) {
      sockets[i]?.closes(1006)
      pauses.push(timers[0]?.ms ?? 0)
      await fire()
    }
    expect(pauses).toEqual([500, 900, 1_700, 2_600])
  })

  test('is dialled a bounded number of times; then the client is closed with 4101', async () => {
    const { multiplexer, calls, sockets, timers, settle, fire } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], null)
    await settle()
    for (let i = 0; i < 8; i++) {
      sockets[i]?.closes(1006)
      await fire()
    }
    expect(sockets).toHaveLength(8)
    expect(calls).toEqual([['lost', 'BTC-USD', 4101]])
    expect(timers).toEqual([])
  })

  test('starts again with the first pause after a connection that lasted', async () => {
    const { multiplexer, sockets, timers, settle, fire, pass } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], null)
    await settle()
    for (let i = 0; i < 20; i++) {
      pass(10_000)
      sockets[i]?.closes(1006)
      expect(timers[0]?.ms).toBe(300)
      await fire()
    }
  })

  test('D4 with a code that sends stop closes the client with that code', async () => {
    const { multiplexer, calls, sockets, timers, settle } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], null)
    await settle()
    sockets[0]?.closes(4001)
    expect(calls).toEqual([['lost', 'BTC-USD', 4001]])
    expect(timers).toEqual([])
  })
})

describe('a refusal', () => {
  test('of the socket that is final reaches the client with the req_id of its subscribe', async () => {
    const { multiplexer, calls, timers, settle } = stage(() => new CodedError('too_many_sockets', 'no'))
    multiplexer.subscribe('BTC-USD', [BTC], null, 'mine')
    await settle()
    expect(calls).toEqual([['refused', 'BTC-USD', 'too_many_sockets', 'mine']])
    expect(timers).toEqual([])
  })

  test('that may pass is tried again', async () => {
    let failures = 2
    const { multiplexer, calls, sockets, settle, fire } = stage(() =>
      failures-- > 0 ? new CodedError('unavailable', 'no') : null,
    )
    multiplexer.subscribe('BTC-USD', [BTC], null, 'mine')
    await settle()
    await fire()
    await fire()
    expect(calls).toEqual([])
    expect(sockets[0]?.sent[0]).toMatchObject({ op: 'subscribe', channels: [BTC] })
    sockets[0]?.answers('b-0', false)
    expect(calls).toEqual([['subscribed', 'BTC-USD', 'BTC-USD:b-0', false, 'mine']])
  })

  test('of a subscribe reaches the client with its req_id', async () => {
    const { multiplexer, calls, sockets, settle } = stage()
    multiplexer.subscribe('BTC-USD', [BTC], null, 'mine')
    await settle()
    sockets[0]?.sends(errorFrame('unknown_channel', 'no', 'channels/0', sockets[0].sent[0]?.req_id))
    expect(calls).toEqual([['refused', 'BTC-USD', 'unknown_channel', 'mine']])
  })
})
