import { seededRandom } from '../../simulators/exchange/random.ts'

/** A trade as it really was. `us` is its time in unix microseconds. */
export type GeneratedTrade = { product: string; id: number; price: string; size: string; us: number; time: string }

/** The events of a connection, in the order of the recorder's clock. Times are unix milliseconds. */
export type GeneratedEvent =
  | { kind: 'open' | 'close'; at: number }
  /** A valid message: when it came, when it was sent, its number, and the trades in it. */
  | { kind: 'frame'; at: number; sent: number; sequence: number; trades: GeneratedTrade[] }

export type GeneratedRecording = {
  /** The envelopes, a line each. */
  lines: string[]
  /** Every trade there was, also before the first connection, ascending by id. */
  trades: Map<string, GeneratedTrade[]>
  /** The events of each product's connection. */
  events: Map<string, GeneratedEvent[]>
  /** Of the first and of the last line, unix milliseconds. */
  began: number
  ended: number
}

/** The options of a generated recording. Times are milliseconds; each kind of fault is off unless set. */
export type RecordingOptions = {
  products: string[]
  /** One connection for all products, or one each. */
  shared: boolean
  start: number
  lengthMs: number
  /** Mean time between two trades. */
  meanIntervalMs: number
  /** How many trades each product had before. */
  priorTrades: number
  faults: boolean
  /** Cuts, and the longest of them. */
  cuts: number
  longestCutMs: number
}

/** Options drawn by a seed: quiet and busy markets, a day's change, one or two products, few or many faults. */
export function drawOptions(seed: number): RecordingOptions {
  const draw = seededRandom(seed * 7919 + 1)
  const pick = <T>(values: readonly T[]): T => values[Math.floor(draw() * values.length)] as T
  const midnight = Date.UTC(2026, pick([0, 1, 5, 11]), 1 + Math.floor(draw() * 28))
  return {
    products: draw() < 0.6 ? ['AAA-USD'] : ['AAA-USD', 'BB-EUR'],
    shared: draw() < 0.5,
    start: midnight + Math.floor(pick([draw() * 86_400_000, -draw() * 3_600_000])),
    lengthMs: pick([600_000, 2_400_000, 7_200_000, 18_000_000]),
    meanIntervalMs: pick([700, 3_000, 15_000, 90_000]),
    priorTrades: pick([0, 3, 60, 250]),
    faults: draw() < 0.9,
    cuts: pick([0, 1, 2, 4]),
    longestCutMs: pick([4_000, 120_000, 1_800_000, 9_000_000]),
  }
}

type SentFrame = {
  sent: number
  at: number
  sequence: number
  products: string[]
  trades: GeneratedTrade[]
  text: string
  lost: boolean
}

/** Trades with times that never go back, prices that walk and sizes of every length. */
function generateTrades(
  product: string,
  from: number,
  to: number,
  options: RecordingOptions,
  draw: () => number,
): GeneratedTrade[] {
  const trades: GeneratedTrade[] = []
  const first = draw() < 0.2 ? 1 : 1 + Math.floor(draw() * 1e9)
  let price = 1 + Math.floor(draw() * 1e7)
  let us = (from - options.priorTrades * options.meanIntervalMs) * 1000
  while (us < to * 1000) {
    // Many trades share one moment, as when one order meets several.
    if (draw() > 0.15) us += Math.ceil(-Math.log(1 - draw()) * options.meanIntervalMs * 1000)
    price = Math.max(1, price + Math.floor((draw() - 0.5) * 20))
    const places = Math.floor(draw() * (draw() < 0.05 ? 30 : 9))
    const digits = Array.from({ length: places }, () => Math.floor(draw() * 10)).join('')
    const size = trimZeros(`${draw() < 0.7 ? 0 : Math.floor(draw() * 10 ** Math.floor(draw() * 9))}.${digits}`)
    const plain = /[1-9]/.test(size) ? size : '0.00000001'
    const id = first + trades.length
    trades.push({
      product,
      id,
      price: trimZeros(`${Math.floor(price / 1000)}.${String(price % 1000).padStart(3, '0')}`),
      size: plain,
      us,
      time: rfc3339(us),
    })
  }
  return trades
}

const trimZeros = (text: string): string => text.replace(/\.?0*$/, '')

/** Coinbase trims zeros at the end of a second's fraction, and the point with them. */
function rfc3339(us: number): string {
  const second = new Date(Math.floor(us / 1_000_000) * 1000).toISOString().slice(0, 19)
  const fraction = String(us % 1_000_000)
    .padStart(6, '0')
    .replace(/0+$/, '')
  return `${second}${fraction && `.${fraction}`}Z`
}

const toWireTrade = ({ product, id, price, size, time }: GeneratedTrade) => ({
  product_id: product,
  trade_id: String(id),
  price,
  size,
  time,
  side: id % 3 === 0 ? 'BUY' : 'SELL',
})

/** The text of a trades file: what the exchange's REST would answer, of trades from `from` (unix ms) on. */
export const tradesFile = (recording: GeneratedRecording, from = 0): string =>
  [...recording.trades.values()]
    .flat()
    .filter((trade) => trade.us >= from * 1000)
    .map((trade) => `${JSON.stringify(toWireTrade(trade))}\n`)
    .join('')

/** A recording by seed and options. */
export function generateRecording(seed: number, options: RecordingOptions): GeneratedRecording {
  const draw = seededRandom(seed)
  const { start, lengthMs: length } = options
  const end = start + length
  const trades = new Map(options.products.map((id) => [id, generateTrades(id, start, end, options, draw)]))
  const groups = options.shared ? [options.products] : options.products.map((product) => [product])
  const lines: { at: number; text: string }[] = []
  const events = new Map<string, GeneratedEvent[]>()
  for (const [number, group] of groups.entries()) {
    const received: GeneratedEvent[] = []
    for (const product of group) events.set(product, received)
    for (const [index, session] of planSessions(options, draw).entries()) {
      const conn = `MADE.${number}.${index}`
      const put = (at: number, t: string, data?: string) =>
        lines.push({ at, text: JSON.stringify({ t, conn, ts: Math.round(at * 1000) / 1e6, data }) })
      put(session.from, 'connect')
      for (const channel of ['market_trades', 'heartbeats'])
        put(session.from, 'send', JSON.stringify({ type: 'subscribe', product_ids: group, channel }))
      received.push({ kind: 'open', at: session.from })
      const frames = sendFrames(group, trades, session, draw)
      if (options.faults) injectFaults(frames, session, draw)
      const arriving = frames.filter((frame) => !frame.lost && frame.at < session.to).sort((a, b) => a.at - b.at)
      for (const frame of arriving) {
        put(frame.at, 'recv', frame.text)
        if (frame.sequence >= 0)
          received.push({
            kind: 'frame',
            at: frame.at,
            sent: frame.sent,
            sequence: frame.sequence,
            trades: frame.trades,
          })
      }
      if (session.closes) {
        put(session.to, 'close')
        received.push({ kind: 'close', at: session.to })
      }
    }
  }
  lines.sort((a, b) => a.at - b.at)
  const header = JSON.stringify({ t: 'header', format: 2, exchange: 'COINBASE' })
  const last = (lines.at(-1) as { at: number }).at
  return {
    lines: [header, ...lines.map(({ text }) => text)],
    trades,
    events,
    began: start,
    ended: Math.round(last * 1000) / 1000,
  }
}

type Session = { from: number; to: number; closes: boolean }

function planSessions(options: RecordingOptions, draw: () => number): Session[] {
  const end = options.start + options.lengthMs
  const list: Session[] = []
  let from = options.start
  for (let cut = 0; cut < options.cuts; cut++) {
    const to = from + Math.floor((draw() * (end - from)) / 2) + 2_000
    const next = to + 500 + Math.floor(draw() * options.longestCutMs)
    if (next + 5_000 > end) break
    list.push({ from, to, closes: draw() < 0.9 })
    from = next
  }
  list.push({ from, to: end, closes: draw() < 0.1 })
  return list
}

/** The exchange's frames of one connection, each with its time. */
function sendFrames(
  products: string[],
  trades: Map<string, GeneratedTrade[]>,
  session: Session,
  draw: () => number,
): SentFrame[] {
  const frames: SentFrame[] = []
  const put = (sent: number, channel: string, included: GeneratedTrade[], content: unknown[]) => {
    const sequence = frames.length
    const text = JSON.stringify({
      channel,
      timestamp: `${rfc3339(Math.floor(sent * 1000)).slice(0, -1)}Z`,
      sequence_num: sequence,
      events: content,
    })
    frames.push({ sent, at: sent + 5 + draw() * 20, sequence, products, trades: included, text, lost: false })
  }
  const opened = session.from + 90
  /** How many trades of each product have been sent so far. */
  const next = new Map<string, number>()
  const snapshot = products.map((product) => {
    const all = trades.get(product) as GeneratedTrade[]
    const past = all.filter((trade) => trade.us <= opened * 1000)
    next.set(product, past.length)
    return past.slice(-100)
  })
  put(
    opened,
    'market_trades',
    snapshot.flat(),
    snapshot.map((part) => ({ type: 'snapshot', trades: part.map(toWireTrade).reverse() })),
  )
  put(opened + 20, 'subscriptions', [], [{ subscriptions: { market_trades: products, heartbeats: ['heartbeats'] } }])
  let heartbeat = 0
  for (let at = opened + 100; at < session.to; at += 100) {
    for (const product of products) {
      const all = trades.get(product) as GeneratedTrade[]
      const from = next.get(product) as number
      let to = from
      // A message has the trades up to 60 ms ago, newest first.
      while (to < all.length && (all[to] as GeneratedTrade).us <= (at - 60) * 1000) to++
      if (to === from) continue
      next.set(product, to)
      const part = all.slice(from, to)
      put(at, 'market_trades', part, [{ type: 'update', trades: part.map(toWireTrade).reverse() }])
    }
    if (at - opened >= (heartbeat + 1) * 1000) {
      heartbeat++
      put(
        at + 1,
        'heartbeats',
        [],
        [{ current_time: '2026-08-09 21:05:48 +0000 UTC m=+1', heartbeat_counter: heartbeat }],
      )
    }
    if (draw() < 0.001) put(at + 2, 'status', [], [{ type: 'update', products: [] }])
  }
  return frames
}

/** Loses, repeats, disorders and delays frames, adds texts that are not valid, and falls silent. */
function injectFaults(frames: SentFrame[], session: Session, draw: () => number): void {
  const extra: SentFrame[] = []
  const many = draw() < 0.3 ? 0.02 : 0.002
  for (let i = 0; i < frames.length; i++) {
    const frame = frames[i] as SentFrame
    const kind = draw()
    if (kind < many) {
      const run = 1 + Math.floor(draw() * 12)
      for (const lost of frames.slice(i, i + run)) lost.lost = true
    } else if (kind < many * 2) extra.push({ ...frame, at: frame.at + 1 + draw() * 3_000 })
    else if (kind < many * 3) frame.at += 100 + draw() * 1_500
    else if (kind < many * 3.3) frame.at += draw() * 400_000
    else if (kind < many * 4)
      extra.push({ ...frame, at: frame.at + 0.5, sequence: -1, trades: [], text: corruptFrame(frame, draw) })
  }
  const silences = draw() < 0.5 ? 1 : 0
  for (let n = 0; n < silences; n++) {
    const from = session.from + draw() * (session.to - session.from)
    const to = from + [3_000, 12_000, 100_000, 2_000_000][Math.floor(draw() * 4)]!
    const stalled = draw() < 0.3
    for (const frame of [...frames, ...extra]) {
      if (frame.at < from || frame.at >= to) continue
      if (stalled) frame.at = to + (frame.at - from) / 1e6
      else frame.lost = true
    }
  }
  frames.push(...extra)
}

/** A frame's text, made invalid; some with a number far off. */
function corruptFrame(frame: SentFrame, draw: () => number): string {
  // The parser checks only the envelope of other channels: a message corrupted inside them is still valid.
  if (!/"(?:market_trades|heartbeats)"/.test(frame.text)) return 'slow down'
  const wild = frame.text.replace(/"sequence_num":\d+/, `"sequence_num":${Math.floor(draw() * 1e9)}`)
  const texts = [
    frame.text.slice(0, Math.floor(draw() * (frame.text.length - 1))),
    wild.replace('"events":[', '"events":[null,'),
    wild.replace('"events":[', '"events":[7,'),
    wild.replace(/"price":"[^"]*"/, '"price":"NaN"').replace(/"events":\[/, '"events":[{"type":"odd"},'),
    wild.replace(/"timestamp":"[^"]*"/, '"timestamp":"2026-02-30T00:00:00Z"'),
    wild.replace(/"sequence_num":\d+/, '"sequence_num":"9"'),
    '[]',
    'null',
    '',
    'slow down',
    '{"type":"error","message":"slow down"}',
    '{"channel":"no_such","sequence_num":5,"timestamp":"2026-08-09T21:05:48Z","events":[]}',
  ]
  return texts[Math.floor(draw() * texts.length)] as string
}
