import { createExecutionContext } from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import { app } from '../../../workers/app.ts'

/** How long a test waits for what must come, in milliseconds. */
const WAIT_TIMEOUT_MS = 10_000

export const get = (path: string, init?: RequestInit): Promise<Response> =>
  exports.default.fetch(`http://kerb.test${path}`, init)

/** The same request to a Worker of other settings or bindings. */
export const getWithEnv = async (other: Env, path: string, init?: RequestInit): Promise<Response> =>
  app.fetch(new Request(`http://kerb.test${path}`, init), other, createExecutionContext())

/** Adds a trade to a manual product of the file's exchange, which sends it at once. */
export async function sendTrade(product: string, price: string, size = '1'): Promise<void> {
  const response = await fetch(`${env.COINBASE_REST_URL}/_trades`, {
    method: 'POST',
    body: JSON.stringify({ product, price, size }),
  })
  if (!response.ok) throw new Error(await response.text())
}

const openHandles: (() => unknown)[] = []

/** Closes every socket and stream that a test has opened, however it went: they would be viewers in the next one. */
export async function closeAll(): Promise<void> {
  await Promise.all(openHandles.splice(0).map((close) => close()))
}

/** Cuts the file's database off, or lets it back in. */
export const setDatabaseOpen = (open: boolean): Promise<Response> =>
  fetch(env.DATABASE_SWITCH_URL, { method: 'POST', body: JSON.stringify({ open }) })

/** Asks again until `check` gives something. @throws Error after a bounded time */
export async function waitFor<T>(
  what: string,
  check: () => T | null | undefined | Promise<T | null | undefined>,
): Promise<T> {
  const end = Date.now() + WAIT_TIMEOUT_MS
  for (;;) {
    const found = await check()
    if (found !== null && found !== undefined) return found
    if (Date.now() > end) throw new Error(`in vain: ${what}`)
    await scheduler.wait(10)
  }
}

export type Message = { type: string; position: string; [key: string]: unknown }

/** Opens a socket of the Worker; keeps what it gets, as text and read. */
export async function openSocket(path: string, other: Env = env, headers: Record<string, string> = {}) {
  const init = { headers: { ...headers, upgrade: 'websocket' } }
  const response = await (other === env ? get(path, init) : getWithEnv(other, path, init))
  const socket = response.webSocket
  if (!socket) throw new Error(`no socket at ${path}: ${response.status} ${await response.text()}`)
  const texts: string[] = []
  let closed: { code: number; reason: string } | null = null
  socket.addEventListener('message', ({ data }) => {
    texts.push(data as string)
  })
  socket.addEventListener('close', ({ code, reason }) => {
    closed = { code, reason }
  })
  socket.accept()
  openHandles.push(() => socket.close(1000))
  let seen = 0
  return {
    socket,
    texts,
    closed: () => closed,
    send: (message: unknown) => socket.send(typeof message === 'string' ? message : JSON.stringify(message)),
    /** The next message of this type that was not given out yet; what comes before it is passed over. */
    next: (type: string, fits: (message: Message) => boolean = () => true): Promise<Message> =>
      waitFor(`${type} among ${texts.slice(seen).join('\n')}`, () => {
        for (let i = seen; i < texts.length; i++) {
          const message = JSON.parse(texts[i] as string) as Message
          if (message.type !== type || !fits(message)) continue
          seen = i + 1
          return message
        }
        return null
      }),
    close: () => socket.close(1000),
  }
}

export type ServerSentEvent = { event: string | null; id: string | null; data: string; raw: string }

/** Opens an event stream; keeps its events as they come. */
export async function openEventStream(path: string, headers: Record<string, string> = {}) {
  const response = await get(path, { headers })
  if (!response.ok || !response.body)
    throw new Error(`no stream at ${path}: ${response.status} ${await response.text()}`)
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  const events: ServerSentEvent[] = []
  const lines: string[] = []
  let rest = ''
  const read = async () => {
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      const blocks = (rest + value).split('\n\n')
      rest = blocks.pop() as string
      for (const raw of blocks) {
        lines.push(...raw.split('\n'))
        const fields = raw.split('\n').map((line) => [line.split(':')[0], line.slice(line.indexOf(':') + 2)])
        const field = (name: string) => fields.filter(([key]) => key === name).map(([, value]) => value)
        if (field('data').length === 0) continue
        const [event, id] = [field('event')[0] ?? null, field('id')[0] ?? null]
        events.push({ event, id, data: field('data').join('\n'), raw })
      }
    }
  }
  void read().catch(() => {})
  openHandles.push(() => reader.cancel())
  let seen = 0
  return {
    response,
    events,
    lines,
    /** The next event of this name that was not given out yet. */
    next: (name: string, fits: (event: ServerSentEvent) => boolean = () => true): Promise<ServerSentEvent> =>
      waitFor(`event ${name} among ${events.map(({ raw }) => raw).join('\n')}`, () => {
        for (let i = seen; i < events.length; i++) {
          const event = events[i] as ServerSentEvent
          if (event.event !== name || !fits(event)) continue
          seen = i + 1
          return event
        }
        return null
      }),
    close: () => reader.cancel(),
  }
}
