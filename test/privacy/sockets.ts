import WebSocket from 'ws'
import { forgedTokens } from './forged.ts'
import type { RequestKind } from './own-requests.ts'
import { cookieHeader, learnCanaries, type Person, remember } from './person.ts'
import { countResponse, jsonBody, type RunContext, send, type Turn } from './send.ts'

/** The most open sockets of one user. */
const MAX_SOCKETS = 4
/** Timeouts of a handshake, and of the last frames at the end. */
const HANDSHAKE_TIMEOUT_MS = 20_000
const DRAIN_TIMEOUT_MS = 10_000

type OpenSocket = { of: Person; path: string; socket: WebSocket; sent: string; frames: number }

export type Sockets = { open: OpenSocket[]; frames: number; handshakes: number }

export const emptySockets = (): Sockets => ({ open: [], frames: 0, handshakes: 0 })

/** The types of frames that may echo what was sent: they name channels. */
const ECHO_TYPES = new Set(['error', 'subscribed', 'unsubscribed', 'pong'])

/** Checks a frame, which may hold data of the socket's user only. */
function receiveFrame(world: RunContext, sockets: Sockets, open: OpenSocket, text: string): void {
  sockets.frames++
  open.frames++
  const { of, path, sent } = open
  const message = JSON.parse(text) as { type: string }
  const where = `frame ${message.type} of ${path.split('?')[0]}`
  world.detector.check({ to: of.tag, where, text, sent, echoes: ECHO_TYPES.has(message.type) })
  if (!ECHO_TYPES.has(message.type)) learnCanaries(world.canaries, of, message)
}

/**
 * Opens a socket. Null if it was refused, or the run's requests are used up.
 * @param of the user of the socket; null if it must be refused
 */
function connect(
  world: RunContext,
  sockets: Sockets,
  of: Person | null,
  { what, path, headers }: { what: string; path: string; headers: Record<string, string> },
): Promise<OpenSocket | null> {
  if (world.requestsLeft <= 0) return Promise.resolve(null)
  world.requestsLeft--
  sockets.handshakes++
  const sent = `${path} ${JSON.stringify(headers)}`
  const check = (text: string) => world.detector.check({ to: of?.tag ?? null, where: what, text, sent, echoes: true })
  return new Promise((done) => {
    const socket = new WebSocket(world.environment.url.replace('http', 'ws') + path, {
      headers,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      perMessageDeflate: false,
    })
    socket.once('upgrade', (response) => check(response.rawHeaders.join('\n')))
    socket.once('unexpected-response', (_, response) => {
      let body = ''
      response.on('data', (part: Buffer) => {
        body += part.toString()
      })
      response.once('end', () => {
        countResponse(world, what, response.statusCode ?? 0)
        if ((response.statusCode ?? 0) >= 500) world.detector.fault(`${what}: ${response.statusCode} ${body}`)
        check(`${response.rawHeaders.join('\n')}\n\n${body}`)
        done(null)
      })
    })
    socket.once('open', () => {
      countResponse(world, what, 101)
      if (of === null) {
        world.detector.fault(`${what}: a socket was opened that must be refused`)
        socket.close()
        return done(null)
      }
      const open: OpenSocket = { of, path, socket, sent, frames: 0 }
      socket.on('message', (data) => receiveFrame(world, sockets, open, String(data)))
      socket.once('close', (code, reason) => {
        world.detector.check({ to: of.tag, where: `close ${code}`, text: String(reason), sent: '', echoes: false })
        const at = sockets.open.indexOf(open)
        if (at >= 0) sockets.open.splice(at, 1)
      })
      sockets.open.push(open)
      done(open)
    })
    socket.on('error', (error) => {
      if (socket.readyState !== WebSocket.OPEN && !error.message.startsWith('Unexpected server response'))
        world.detector.fault(`${what}: ${error.message}`)
      done(null)
    })
  })
}

function sendMessage(world: RunContext, open: OpenSocket, message: object | string): void {
  if (world.requestsLeft <= 0 || open.socket.readyState !== WebSocket.OPEN) return
  world.requestsLeft--
  countResponse(world, 'message', 200)
  const text = typeof message === 'string' ? message : JSON.stringify(message)
  open.sent += `\n${text}`
  open.socket.send(text)
}

/** Kinds of requests with sockets, for one set of them. */
export function socketRequests(sockets: Sockets): RequestKind[] {
  const socketOfUser = ({ me, random }: Turn): OpenSocket | undefined =>
    random.pick(sockets.open.filter(({ of }) => of === me))

  const ticketOf = async (world: RunContext, of: Person): Promise<string | null> => {
    const json = jsonBody(await send(world, { what: 'ticket', as: of, method: 'POST', path: '/api/v1/auth/ticket' }))
    if (typeof json?.ticket !== 'string') return null
    world.canaries.add(of.tag, json.ticket.split('.')[1] as string)
    return json.ticket
  }

  async function open(turn: Turn): Promise<void> {
    const { world, random, me } = turn
    const at = random.pick(['/ws/portfolio', '/ws'])
    const by = random.pick(['bearer', 'cookies', 'ticket'])
    const ticket = by === 'ticket' ? await ticketOf(world, me) : null
    if (by === 'ticket' && ticket === null) return
    const headers: Record<string, string> =
      by === 'bearer'
        ? { authorization: `Bearer ${me.token}` }
        : by === 'cookies'
          ? { cookie: cookieHeader(me), origin: world.environment.url }
          : {}
    const path = `${at}${ticket ? `?ticket=${ticket}` : ''}`
    const opened = await connect(world, sockets, me, { what: `${at} by ${by}`, path, headers })
    if (opened && ticket) remember(me, 'spent', ticket)
    if (opened) sendMessage(world, opened, { op: 'subscribe', channels: ['portfolio', 'asset.AAPL'], req_id: 1 })
    const many = sockets.open.filter(({ of }) => of === me)
    if (many.length > MAX_SOCKETS) many[0]?.socket.close(1000)
  }

  async function subscribe(turn: Turn): Promise<void> {
    const { world, random, me, other } = turn
    const to = socketOfUser(turn)
    if (!to) return open(turn)
    const their = random.pick(other.customAssets)?.symbol ?? 'ZZNOBODY'
    const own = random.pick(me.customAssets)?.symbol ?? 'MSFT'
    const joined = to.path.startsWith('/ws?') || to.path === '/ws'
    const since = random.pick([...other.things.positions.slice(-9), ...me.things.positions.slice(-3)])
    // Of `/ws` one names the portfolio's, on its own socket there is no other.
    const place = since && (joined ? (since.includes(':') ? since : `portfolio:${since}`) : since.replace(/^.*:/, ''))
    sendMessage(
      world,
      to,
      random.pick<object | string>([
        { op: 'subscribe', channels: ['portfolio'], since: place, req_id: 2 },
        { op: 'subscribe', channels: ['portfolio', `asset.${own}`], since: place, req_id: 3 },
        { op: 'subscribe', channels: [`asset.${their}`], req_id: 4 },
        { op: 'subscribe', channels: [`asset.${own}`, 'asset.AAPL', 'asset.BTC'], req_id: 5 },
        { op: 'subscribe', channels: [`portfolio.${other.id}`], req_id: 6 },
        { op: 'subscribe', channels: [joined ? `quotes.${their}` : `asset.${other.id}`], req_id: 7 },
        { op: 'unsubscribe', channels: ['portfolio', `asset.${their}`], req_id: 8 },
        { op: 'ack', position: place ?? 'x', req_id: 9 },
        { op: 'ping', req_id: 10 },
        { op: 'subscribe', channels: ['portfolio'], user_id: other.id, userId: other.id, req_id: 11 },
        `{"op":"subscribe","channels":["${other.id}`,
      ]),
    )
  }

  /** Tickets that are used, under another user's id, or truncated; and another user's ticket beside the sender's token. */
  async function tryTicket(turn: Turn): Promise<void> {
    const { world, random, me, other } = turn
    const at = random.pick(['/ws/portfolio', '/ws'])
    const to = (ticket: string) => `${at}?ticket=${ticket}`
    const ownToken = { authorization: `Bearer ${me.token}` }
    const how = random.pick([
      'used',
      'their name',
      'my name',
      'cut',
      'another site',
      'theirs, used',
      'theirs, my token',
    ])
    const what = `ticket, ${how}`
    if (how === 'theirs, used') {
      const spent = random.pick(other.things.spent)
      if (spent) await connect(world, sockets, null, { what, path: to(spent), headers: ownToken })
      return
    }
    const fresh = await ticketOf(world, how === 'theirs, my token' || how === 'my name' ? other : me)
    if (fresh === null) return
    const [id, secret] = fresh.split('.') as [string, string]
    if (how === 'theirs, my token') {
      // The socket belongs to the ticket's user, even with another user's token.
      const opened = await connect(world, sockets, other, { what, path: to(fresh), headers: ownToken })
      if (opened) sendMessage(world, opened, { op: 'subscribe', channels: ['portfolio'], req_id: 1 })
      return
    }
    if (how === 'used') await connect(world, sockets, me, { what: 'ticket', path: to(fresh), headers: {} })
    const changed = how === 'cut' ? `${id}.${secret.slice(0, -1)}` : `${how === 'my name' ? me.id : other.id}.${secret}`
    const ticket = how === 'used' || how === 'another site' ? fresh : changed
    const headers: Record<string, string> = how === 'another site' ? { origin: 'https://evil.example' } : {}
    await connect(world, sockets, null, { what, path: to(ticket), headers })
  }

  async function badToken({ world, random, me, other }: Turn): Promise<void> {
    const [how, token] = random.pick(await forgedTokens(world, me, other))
    const at = random.pick(['/ws/portfolio', '/ws'])
    const headers = { authorization: `Bearer ${token}` }
    await connect(world, sockets, null, { what: `socket, forged: ${how}`, path: at, headers })
    const address = `${at}?${random.pick(['token', 'access_token'])}=${me.token}`
    if (random.chance(0.2))
      await connect(world, sockets, null, { what: 'socket, token in address', path: address, headers: {} })
    const cookies = { cookie: cookieHeader(me), origin: 'https://evil.example' }
    if (random.chance(0.2))
      await connect(world, sockets, null, { what: 'socket, another site', path: '/ws/portfolio', headers: cookies })
  }

  async function close(turn: Turn): Promise<void> {
    socketOfUser(turn)?.socket.close(1000)
  }

  return [
    { weight: 5, run: open },
    { weight: 30, run: subscribe },
    { weight: 3, run: tryTicket },
    { weight: 4, run: badToken },
    { weight: 1, run: close },
  ]
}

/** Waits for the frames still in flight, and closes all sockets. */
export async function endSockets(sockets: Sockets): Promise<void> {
  const pings = [...sockets.open].map(
    ({ socket }) =>
      new Promise<void>((done) => {
        const timer = setTimeout(done, DRAIN_TIMEOUT_MS)
        const end = () => {
          clearTimeout(timer)
          done()
        }
        socket.once('close', end)
        socket.on('message', (data) => {
          if (String(data).includes('"the last"')) end()
        })
        if (socket.readyState === WebSocket.OPEN) socket.send('{"op":"ping","req_id":"the last"}')
        else end()
      }),
  )
  await Promise.all(pings)
  for (const { socket } of [...sockets.open]) socket.terminate()
}
