import { describe, expect, test } from 'vitest'
import { createMultiplexer, type MultiplexerDeps, type ObjectSocket } from '../../../../src/api/streams/multiplexer.ts'
import { CLOSE_CODES, CodedError } from '../../../../src/protocol/errors.ts'
import {
  candleSnapshotFrame,
  candleUpdateFrame,
  errorFrame,
  feedFrame,
  PING_TEXT,
  quoteSnapshotFrame,
  quoteUpdateFrame,
  subscribedFrame,
} from '../../../../src/protocol/messages.ts'

type Listeners = {
  message: (event: { data: unknown }) => void
  close: (event: { code: number; reason: string }) => void
}

/** The Worker's end of a socket, and what the object behind it sees and does. */
function fakeSocket(product: string) {
  const listeners: Partial<Listeners> = {}
  const sent: { op: string; channels?: string[]; since?: string; req_id?: number; position?: string }[] = []
  const socket = {
    send: (text: string) => sent.push(JSON.parse(text)),
    close: (code: number) => {
      self.closed = code
    },
    addEventListener: (type: keyof Listeners, listener: never) => {
      listeners[type] = listener
    },
  }
  const self = {
    product,
    sent,
    closed: null as number | null,
    socket: socket as unknown as ObjectSocket,
    says: (text: string) => listeners.message?.({ data: text }),
    dies: (code: number, reason = '') => listeners.close?.({ code, reason }),
    /** Answers the subscribe it got last. */
    answers: (position: string, recovered: boolean) => {
      const asked = sent.filter(({ op }) => op === 'subscribe').at(-1)
      self.says(subscribedFrame(asked?.channels ?? [], position, recovered, asked?.req_id))
    },
  }
  return self
}

function stage(connectFails: (product: string) => Error | null = () => null) {
  const told: unknown[][] = []
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
    setTimeout: (run, ms) => timers.push({ run, ms }),
  }
  const join = createMultiplexer(
    {
      onSubscribed: ({ key, position, recovered, req_id }) =>
        told.push(['subscribed', key, position, recovered, req_id]),
      onFrame: (text, key) => told.push(['frame', key, text]),
      onFeed: (_text, key) => told.push(['feed', key]),
      onRefused: ({ key, code, req_id }) => told.push(['refused', key, code, req_id]),
      onLost: (key, code) => told.push(['lost', key, code]),
    },
    deps,
  )
  const settle = () => new Promise<void>((done) => setImmediate(done))
  return {
    join,
    told,
    sockets,
    timers,
    settle,
    pass: (ms: number) => {
      now += ms
    },
    /** Runs the one timer that is due next and lets what it began come to rest. */
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

describe('P7 a user’s own object among others', () => {
  const text = (type: string, position: string) => JSON.stringify({ type, position, positions: [] })

  test('its updates carry joined positions, and each channel has a snapshot to come', async () => {
    const { join, told, sockets, settle, fire } = stage()
    join.subscribe('portfolio', ['portfolio', 'asset.AAPL'], null, 7)
    await settle()
    sockets[0]?.answers('p-1', false)
    sockets[0]?.says(text('snapshot', 'p-1'))
    // Cut off before the second one: all is asked for anew.
    sockets[0]?.dies(CLOSE_CODES.restarting)
    await fire()
    expect(sockets[1]?.sent).toEqual([{ op: 'subscribe', channels: ['portfolio', 'asset.AAPL'], req_id: 3 }])
    sockets[1]?.answers('p-1', false)
    for (const type of ['snapshot', 'snapshot', 'price_update', 'position_update', 'lot_update'])
      sockets[1]?.says(text(type, 'p-2'))
    const frames = told.filter(([what]) => what === 'frame').map(([, , frame]) => frame)
    expect(frames.slice(-3)).toEqual(
      ['price_update', 'position_update', 'lot_update'].map((type) => text(type, 'portfolio:p-2')),
    )
    // Both are here: from now on it goes on from where it stands.
    sockets[1]?.dies(CLOSE_CODES.restarting)
    await fire()
    expect(sockets[2]?.sent).toMatchObject([{ channels: ['portfolio', 'asset.AAPL'], since: 'p-2' }])
  })

  test('who is signed out keeps what is for everybody', async () => {
    const { join, told, sockets, settle } = stage()
    join.subscribe('BTC-USD', [BTC], null)
    join.subscribe('portfolio', ['portfolio'], null)
    await settle()
    sockets[1]?.dies(CLOSE_CODES.signed_out)
    expect(told).toEqual([['refused', 'portfolio', 'unauthorized', undefined]])
    expect([sockets[0]?.closed, sockets.length]).toEqual([null, 2])
  })
})

describe('D2 joined positions', () => {
  test('a position names every object whose snapshot or update the reader has, and no other', async () => {
    const { join, told, sockets, settle } = stage()
    join.subscribe('BTC-USD', [BTC], null, 7)
    join.subscribe('ETH-USD', [ETH], null, 7)
    await settle()
    const [btc, eth] = sockets
    btc?.answers('b-5', false)
    btc?.says(candleSnapshotFrame('b-5', [], []))
    eth?.answers('e-9', false)
    // ETH's snapshot is not here yet: who comes back with this position must get it.
    btc?.says(candleUpdateFrame('b-6', ['{}']))
    eth?.says(candleSnapshotFrame('e-9', [], []))
    expect(told).toEqual([
      ['subscribed', 'BTC-USD', 'BTC-USD:b-5', false, 7],
      ['frame', 'BTC-USD', candleSnapshotFrame('BTC-USD:b-5', [], [])],
      ['subscribed', 'ETH-USD', 'BTC-USD:b-5,ETH-USD:e-9', false, 7],
      ['frame', 'BTC-USD', candleUpdateFrame('BTC-USD:b-6', ['{}'])],
      ['frame', 'ETH-USD', candleSnapshotFrame('BTC-USD:b-6,ETH-USD:e-9', [], [])],
    ])
  })

  test('each object is asked from its own part, and a recovered one is at once part of the position', async () => {
    const { join, told, sockets, settle } = stage()
    join.subscribe('BTC-USD', [BTC], 'b-5')
    join.subscribe('ETH-USD', [ETH], 'e-9')
    await settle()
    expect(sockets.map(({ sent }) => sent[0]?.since)).toEqual(['b-5', 'e-9'])
    sockets[0]?.answers('b-5', true)
    sockets[1]?.answers('e-9', true)
    sockets[0]?.says(candleUpdateFrame('b-6', []))
    expect(told.at(-1)).toEqual(['frame', 'BTC-USD', candleUpdateFrame('BTC-USD:b-6,ETH-USD:e-9', [])])
  })

  test('an object that has not answered yet stays in the position with what the reader came with', async () => {
    const { join, told, sockets, settle } = stage()
    join.subscribe('BTC-USD', [BTC], 'b-5')
    join.subscribe('ETH-USD', [ETH], 'e-9')
    await settle()
    sockets[0]?.answers('b-5', true)
    sockets[0]?.says(candleUpdateFrame('b-6', []))
    expect(told.at(-1)).toEqual(['frame', 'BTC-USD', candleUpdateFrame('BTC-USD:b-6,ETH-USD:e-9', [])])
  })

  test('one object goes on and another cannot: the reader is told which, and the position holds both', async () => {
    const { join, told, sockets, settle } = stage()
    join.subscribe('BTC-USD', [BTC], 'b-5', 1)
    join.subscribe('ETH-USD', [ETH], 'old-9', 1)
    await settle()
    sockets[0]?.answers('b-5', true)
    sockets[1]?.answers('new-2', false)
    sockets[0]?.says(candleUpdateFrame('b-6', []))
    sockets[1]?.says(candleSnapshotFrame('new-2', [], []))
    expect(told).toEqual([
      ['subscribed', 'BTC-USD', 'BTC-USD:b-5,ETH-USD:old-9', true, 1],
      ['subscribed', 'ETH-USD', 'BTC-USD:b-5,ETH-USD:new-2', false, 1],
      // Who is cut off here must get ETH's snapshot: its old position still stands.
      ['frame', 'BTC-USD', candleUpdateFrame('BTC-USD:b-6,ETH-USD:old-9', [])],
      ['frame', 'ETH-USD', candleSnapshotFrame('BTC-USD:b-6,ETH-USD:new-2', [], [])],
    ])
  })

  test('an object that could not keep the updates says so unasked, and so does the joined stream', async () => {
    const { join, told, sockets, settle } = stage()
    join.subscribe('BTC-USD', [BTC], 'b-5', 1)
    await settle()
    sockets[0]?.answers('b-5', true)
    sockets[0]?.says(subscribedFrame([BTC], 'b-900', false, undefined))
    sockets[0]?.says(candleSnapshotFrame('b-900', [], []))
    expect(told.slice(1)).toEqual([
      ['subscribed', 'BTC-USD', 'BTC-USD:b-900', false, undefined],
      ['frame', 'BTC-USD', candleSnapshotFrame('BTC-USD:b-900', [], [])],
    ])
  })

  test('boards of quotes and products stand in one position, and each goes on from its own part', async () => {
    const { join, told, sockets, settle, fire } = stage()
    join.subscribe('quotes', ['quotes.AAPL'], null, 1)
    join.subscribe('quotes.3', ['quotes.LDO.MI'], 'd-4', 1)
    join.subscribe('BTC-USD', [BTC], 'b-5', 1)
    await settle()
    const [first, third, btc] = sockets
    expect(third?.sent[0]).toMatchObject({ channels: ['quotes.LDO.MI'], since: 'd-4' })
    first?.answers('a-1', false)
    first?.says(quoteSnapshotFrame('a-1', ['{"asset_id":1}']))
    third?.answers('d-4', true)
    btc?.answers('b-5', true)
    third?.says(quoteUpdateFrame('d-6', ['{"asset_id":2}']))
    const joined = 'quotes:a-1,quotes.3:d-6,BTC-USD:b-5'
    expect(told.at(-1)).toEqual(['frame', 'quotes.3', quoteUpdateFrame(joined, ['{"asset_id":2}'])])
    first?.dies(1006)
    await fire()
    expect(sockets[3]?.sent[0]).toMatchObject({ channels: ['quotes.AAPL'], since: 'a-1' })
  })

  test('an ack reaches each object as its own, once', async () => {
    const { join, sockets, settle } = stage()
    join.subscribe('BTC-USD', [BTC], null)
    await settle()
    const positions = new Map([
      ['BTC-USD', 'b-6'],
      ['NO-USD', 'x-1'],
    ])
    join.ack(positions)
    join.ack(positions)
    expect(sockets[0]?.sent.slice(1)).toEqual([{ op: 'ack', position: 'b-6' }])
  })
})

describe('D3 what an object learns of its reader', () => {
  test('that frames were taken: at once on a new socket, then from time to time, and all when it has caught up', async () => {
    const { join, sockets, settle, fire } = stage()
    const acks = (n: number) => sockets[n]?.sent.filter(({ op }) => op === 'ack').map(({ position }) => position)
    join.subscribe('BTC-USD', [BTC], null)
    await settle()
    join.ackReceived()
    expect(acks(0)).toEqual([])
    sockets[0]?.answers('b-0', false)
    sockets[0]?.says(candleSnapshotFrame('b-0', [], []))
    join.ackReceived('BTC-USD')
    for (let i = 1; i <= 40; i++) {
      sockets[0]?.says(candleUpdateFrame(`b-${i}`, []))
      join.ackReceived('BTC-USD')
    }
    expect(acks(0)).toEqual(['b-0', 'b-16', 'b-32'])
    join.ackReceived()
    join.ackReceived()
    expect(acks(0)).toEqual(['b-0', 'b-16', 'b-32', 'b-40'])
    sockets[0]?.dies(1006)
    await fire()
    sockets[1]?.answers('b-40', true)
    join.ackReceived('BTC-USD')
    expect(acks(1)).toEqual(['b-40'])
  })

  test('that it is there, even if it never acks, seldom and in the text that wakes nobody', async () => {
    const { join, sockets, settle, pass } = stage()
    join.subscribe('BTC-USD', [BTC], null)
    await settle()
    for (let i = 0; i < 100; i++) join.ping()
    pass(10_000)
    join.ping()
    expect(sockets[0]?.sent.slice(1)).toEqual([{ op: 'ping' }, { op: 'ping' }])
    expect(PING_TEXT).toBe('{"op":"ping"}')
  })

  test.each([CLOSE_CODES.slow_reader, CLOSE_CODES.silent_reader])(
    'close code %i is the reader’s own: no other socket is opened for it',
    async (code) => {
      const { join, told, sockets, timers, settle } = stage()
      join.subscribe('BTC-USD', [BTC], null)
      await settle()
      sockets[0]?.dies(code)
      expect(told).toEqual([['lost', 'BTC-USD', code]])
      expect(timers).toEqual([])
    },
  )
})

describe('one socket per product', () => {
  test('is shared by its channels and closed with the last of them', async () => {
    const { join, sockets, settle } = stage()
    join.subscribe('BTC-USD', [BTC], null)
    await settle()
    join.subscribe('BTC-USD', ['candles.BTC-USD.ONE_DAY'], null)
    await settle()
    expect(sockets).toHaveLength(1)
    join.unsubscribe('BTC-USD', [BTC])
    expect(sockets[0]?.closed).toBeNull()
    expect(sockets[0]?.sent.at(-1)).toEqual({ op: 'unsubscribe', channels: [BTC] })
    join.unsubscribe('BTC-USD', ['candles.BTC-USD.ONE_DAY'])
    expect(sockets[0]?.closed).toBe(1000)
  })

  test('that was still opening when its reader left is closed as soon as it is open', async () => {
    const { join, sockets, settle } = stage()
    join.subscribe('BTC-USD', [BTC], null)
    join.close()
    await settle()
    expect(sockets[0]?.closed).toBe(1000)
  })

  test('what an object says of its feed is passed on', async () => {
    const { join, told, sockets, settle } = stage()
    join.subscribe('BTC-USD', [BTC], null)
    await settle()
    sockets[0]?.says(FEED)
    expect(told).toEqual([['feed', 'BTC-USD']])
  })
})

describe('an object whose socket drops', () => {
  test('D2 is asked again from where the reader stands, and the reader hears nothing of it if that can be had', async () => {
    const { join, told, sockets, settle, fire } = stage()
    join.subscribe('BTC-USD', [BTC], null)
    await settle()
    sockets[0]?.answers('b-5', false)
    sockets[0]?.says(candleSnapshotFrame('b-5', [], []))
    sockets[0]?.dies(1006)
    await fire()
    expect(sockets[1]?.sent).toEqual([{ op: 'subscribe', channels: [BTC], since: 'b-5', req_id: expect.any(Number) }])
    const before = told.length
    sockets[1]?.answers('b-5', true)
    sockets[1]?.says(candleUpdateFrame('b-6', []))
    expect(told.slice(before)).toEqual([['frame', 'BTC-USD', candleUpdateFrame('BTC-USD:b-6', [])]])
  })

  test('D2 says so if that cannot be had, before the snapshot', async () => {
    const { join, told, sockets, settle, fire } = stage()
    join.subscribe('BTC-USD', [BTC], null, 1)
    await settle()
    sockets[0]?.answers('b-5', false)
    sockets[0]?.says(candleSnapshotFrame('b-5', [], []))
    sockets[0]?.dies(1006)
    await fire()
    sockets[1]?.answers('n-0', false)
    sockets[1]?.says(candleSnapshotFrame('n-0', [], []))
    expect(told.slice(-2)).toEqual([
      ['subscribed', 'BTC-USD', 'BTC-USD:n-0', false, undefined],
      ['frame', 'BTC-USD', candleSnapshotFrame('BTC-USD:n-0', [], [])],
    ])
  })

  test('D2 between an answer and its snapshot, gives the new channel its snapshot all the same', async () => {
    const { join, sockets, settle, fire } = stage()
    join.subscribe('BTC-USD', [BTC], null, 1)
    await settle()
    sockets[0]?.answers('b-5', false)
    sockets[0]?.says(candleSnapshotFrame('b-5', [], []))
    join.subscribe('BTC-USD', ['candles.BTC-USD.ONE_DAY'], null, 2)
    sockets[0]?.answers('b-6', false)
    sockets[0]?.dies(1006)
    await fire()
    expect(sockets[1]?.sent.map(({ channels, since }) => [channels, since])).toEqual([
      [[BTC], 'b-5'],
      [['candles.BTC-USD.ONE_DAY'], undefined],
    ])
  })

  test('that said "at once" is taken at its word, others are met after a pause that doubles', async () => {
    const { join, sockets, timers, settle, fire } = stage()
    join.subscribe('BTC-USD', [BTC], null)
    await settle()
    sockets[0]?.dies(4200)
    expect(timers[0]?.ms).toBeLessThan(200)
    await fire()
    const pauses: number[] = []
    for (let i = 1; i < 5; i++) {
      sockets[i]?.dies(1006)
      pauses.push(timers[0]?.ms ?? 0)
      await fire()
    }
    expect(pauses).toEqual([500, 900, 1_700, 2_600])
  })

  test('a bounded number of times: then the reader is told to come back later', async () => {
    const { join, told, sockets, timers, settle, fire } = stage()
    join.subscribe('BTC-USD', [BTC], null)
    await settle()
    for (let i = 0; i < 8; i++) {
      sockets[i]?.dies(1006)
      await fire()
    }
    expect(sockets).toHaveLength(8)
    expect(told).toEqual([['lost', 'BTC-USD', 4101]])
    expect(timers).toEqual([])
  })

  test('after it held for a while, begins with the first pause again', async () => {
    const { join, sockets, timers, settle, fire, pass } = stage()
    join.subscribe('BTC-USD', [BTC], null)
    await settle()
    for (let i = 0; i < 20; i++) {
      pass(10_000)
      sockets[i]?.dies(1006)
      expect(timers[0]?.ms).toBe(300)
      await fire()
    }
  })

  test('D4 with a code that says stop, ends the reader with that code', async () => {
    const { join, told, sockets, timers, settle } = stage()
    join.subscribe('BTC-USD', [BTC], null)
    await settle()
    sockets[0]?.dies(4001)
    expect(told).toEqual([['lost', 'BTC-USD', 4001]])
    expect(timers).toEqual([])
  })
})

describe('a refusal', () => {
  test('of the socket that asking again cannot change reaches the reader with the number of its subscribe', async () => {
    const { join, told, timers, settle } = stage(() => new CodedError('too_many_sockets', 'no'))
    join.subscribe('BTC-USD', [BTC], null, 'mine')
    await settle()
    expect(told).toEqual([['refused', 'BTC-USD', 'too_many_sockets', 'mine']])
    expect(timers).toEqual([])
  })

  test('that passes is tried again', async () => {
    let failures = 2
    const { join, told, sockets, settle, fire } = stage(() =>
      failures-- > 0 ? new CodedError('unavailable', 'no') : null,
    )
    join.subscribe('BTC-USD', [BTC], null, 'mine')
    await settle()
    await fire()
    await fire()
    expect(told).toEqual([])
    expect(sockets[0]?.sent[0]).toMatchObject({ op: 'subscribe', channels: [BTC] })
    sockets[0]?.answers('b-0', false)
    expect(told).toEqual([['subscribed', 'BTC-USD', 'BTC-USD:b-0', false, 'mine']])
  })

  test('of a subscribe reaches the reader with its own number', async () => {
    const { join, told, sockets, settle } = stage()
    join.subscribe('BTC-USD', [BTC], null, 'mine')
    await settle()
    sockets[0]?.says(errorFrame('unknown_channel', 'no', 'channels/0', sockets[0].sent[0]?.req_id))
    expect(told).toEqual([['refused', 'BTC-USD', 'unknown_channel', 'mine']])
  })
})
