import { WebSocket } from 'ws'

/**
 * The receiving end, in its own process: opens sockets and counts every candle that each of them receives. Driven by
 * messages of the parent, each answered by one.
 */

/** Frames to one ack, as in our own page. */
const ACK_FRAMES = 16

/**
 * Opens `count` sockets in a group; `subscribe` is the text that each sends first, null for none: who subscribes acks
 * as our own page does, so that it gets every update, unless `acks` is false. The time of each arrival is recorded if `timed`: the clock and the
 * list cost the receiver more than the counting.
 */
type Open = {
  do: 'open'
  group: string
  url: string
  count: number
  subscribe: string | null
  acks?: boolean
  timed?: boolean
}
/** Answers when every candle that a tick of price `close` changed is there: `candles` for each socket of the group. */
type Await = { do: 'await'; group: string; close: string; candles: number }
/** Gives the counts since the last time. */
type Take = { do: 'take'; group: string }
/** Reads nothing more from the sockets of the group: what comes stays in buffers, here and at the server. */
type Pause = { do: 'pause'; group: string }
/** Ends the sockets of the group. */
type End = { do: 'end'; group: string }
export type ViewerRequest = { id: number } & (Open | Await | Take | Pause | End)

/** The received data of a group: messages with candles, the candles in them, their texts without repeats, and the arrivals (ns). */
export type ReceivedCounts = {
  messages: number
  candles: number
  texts: string[]
  arrivals: [close: string, at: string][]
}

type Candle = { close: number; is_complete: boolean }
type ParsedMessage = { bytes: Buffer; candles: Candle[]; position: string | null }
type Group = {
  sockets: WebSocket[]
  timed: boolean
  /** The last few different texts, and the candles in each: equal bytes are parsed once. */
  known: ParsedMessage[]
  ticks: Map<string, number>
  waiting: { close: string; candles: number; done: () => void } | null
  taken: ReceivedCounts
  lost: string | null
}

const groups = new Map<string, Group>()
/** Of update messages of one tick there are at most eight. */
const MAX_PARSED = 16

function parseMessage(text: string): { candles: Candle[]; position: string | null } {
  const message = JSON.parse(text) as { type?: string; candles?: Candle[]; position?: string } & Candle
  if (message.type === undefined) return { candles: [message], position: null }
  const candles = message.type === 'update' ? (message.candles as Candle[]) : []
  return { candles, position: message.position ?? null }
}

/** Counts one message; gives its position. */
function countMessage(group: Group, bytes: Buffer): string | null {
  const at = group.timed ? process.hrtime.bigint() : 0n
  let known = group.known.find((one) => one.bytes.equals(bytes))
  if (!known) {
    const text = bytes.toString()
    known = { bytes: Buffer.from(bytes), ...parseMessage(text) }
    group.known.unshift(known)
    group.known.length = Math.min(group.known.length, MAX_PARSED)
    if (known.candles.length > 0) group.taken.texts.push(text)
  }
  const { candles, position } = known
  const first = candles[0]
  if (first === undefined) return null
  group.taken.messages++
  group.taken.candles += candles.length
  const close = String(first.close)
  if (group.timed) group.taken.arrivals.push([close, String(at)])
  const seen = (group.ticks.get(close) ?? 0) + candles.length
  group.ticks.set(close, seen)
  const { waiting } = group
  if (waiting && waiting.close === close && seen >= waiting.candles * group.sockets.length) {
    group.waiting = null
    waiting.done()
  }
  return position
}

const emptyCounts = (): ReceivedCounts => ({ messages: 0, candles: 0, texts: [], arrivals: [] })

const ack = (position: string): string => JSON.stringify({ op: 'ack', position })

async function open({ group: name, url, count, subscribe, acks = true, timed = false }: Open): Promise<void> {
  const group: Group = {
    sockets: [],
    timed,
    known: [],
    ticks: new Map(),
    waiting: null,
    taken: emptyCounts(),
    lost: null,
  }
  groups.set(name, group)
  const connect = async () => {
    const socket = new WebSocket(url, { perMessageDeflate: false })
    group.sockets.push(socket)
    await new Promise<void>((done, fail) => {
      socket.once('error', fail)
      socket.once('open', () => {
        if (subscribe === null) return done()
        socket.send(subscribe)
        socket.on('message', function first(data) {
          if (!String(data).startsWith('{"type":"snapshot"')) return
          socket.off('message', first)
          if (acks) socket.send(ack(parseMessage(String(data)).position as string))
          done()
        })
      })
    })
    let unacked = 0
    socket.on('message', (data) => {
      const position = countMessage(group, data as Buffer)
      if (subscribe === null || !acks || position === null || ++unacked < ACK_FRAMES) return
      unacked = 0
      socket.send(ack(position))
    })
    socket.on('close', (code) => {
      group.lost = `a socket of ${name} was closed with ${code}`
    })
  }
  for (let opened = 0; opened < count; opened += 50)
    await Promise.all(Array.from({ length: Math.min(50, count - opened) }, connect))
}

async function handleRequest(request: ViewerRequest): Promise<unknown> {
  if (request.do === 'open') return open(request)
  const group = groups.get(request.group)
  if (!group) throw new Error(`no group ${request.group}`)
  if (request.do === 'pause') {
    for (const socket of group.sockets) socket.pause()
    return
  }
  if (request.do === 'end') {
    groups.delete(request.group)
    for (const socket of group.sockets) socket.terminate()
    return
  }
  if (group.lost !== null) throw new Error(group.lost)
  if (request.do === 'take') {
    const { taken } = group
    group.taken = emptyCounts()
    return taken
  }
  const { close, candles } = request
  if ((group.ticks.get(close) ?? 0) >= candles * group.sockets.length) return
  await new Promise<void>((done) => {
    group.waiting = { close, candles, done }
  })
}

process.on('message', (request: ViewerRequest) => {
  handleRequest(request).then(
    (result) => process.send?.({ id: request.id, result }),
    (error: unknown) => process.send?.({ id: request.id, error: String(error) }),
  )
})
// The parent is gone, however that came.
process.on('disconnect', () => process.exit())
