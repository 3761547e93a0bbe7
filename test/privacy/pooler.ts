import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import postgres from 'postgres'

/** Connections to the database: few, so that each serves several users. */
const POOL_SIZE = 8
/** Timeouts of getting a connection, and of the last messages of a returned one. */
const WAIT_TIMEOUT_MS = 20_000

const SSL_REQUEST = 80_877_103
const TERMINATE = 'X'.charCodeAt(0)
const READY_FOR_QUERY = 'Z'.charCodeAt(0)
const IDLE = 'I'.charCodeAt(0)

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.write(type, 0)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const parameter = (name: string, value: string): Buffer => message('S', Buffer.from(`${name}\0${value}\0`))

/** The server's response to a login. */
const AUTHENTICATED = Buffer.concat([
  message('R', Buffer.alloc(4)),
  parameter('client_encoding', 'UTF8'),
  parameter('standard_conforming_strings', 'on'),
  message('K', Buffer.alloc(8)),
  message('Z', Buffer.from('I')),
])

/** Resets only prepared statements: the Worker must not rely on a reset of other session state. */
const DEALLOCATE_ALL = message('Q', Buffer.from('DEALLOCATE ALL\0'))

/** Calls `take` with each complete message of a stream. */
function splitMessages(take: (type: number, whole: Buffer) => void): (part: Buffer) => void {
  let left: Buffer = Buffer.alloc(0)
  return (part) => {
    left = left.length === 0 ? part : Buffer.concat([left, part])
    while (left.length >= 5) {
      const size = left.readInt32BE(1) + 1
      if (left.length < size) return
      take(left[0] as number, left.subarray(0, size))
      left = left.subarray(size)
    }
  }
}

/** An authenticated connection, detached from the client library that opened it. */
async function openAuthenticated(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  const options = { socket: () => socket, max: 1, fetch_types: false, prepare: false, onnotice: () => {} }
  const sql = postgres(url, options as object)
  await sql`SELECT 1`
  socket.removeAllListeners()
  socket.on('error', () => socket.destroy())
  // Nagle's algorithm would delay each message until the response to the one before it.
  socket.setNoDelay(true)
  return socket
}

export type Pooler = { url: string; close(): Promise<void> }

/**
 * A pooler before a database, like Hyperdrive: clients reuse each other's connections, and nothing is
 * reset in between but prepared statements. It accepts every client.
 */
export async function startPooler(url: string): Promise<Pooler> {
  const idle: Socket[] = []
  const waiting: ((socket: Socket) => void)[] = []
  const clients = new Set<Socket>()
  const servers = new Set<Socket>()

  const give = (socket: Socket): void => {
    const next = waiting.shift()
    if (next) next(socket)
    else idle.push(socket)
  }
  const more = async (): Promise<void> => {
    const socket = await openAuthenticated(url)
    servers.add(socket)
    give(socket)
  }
  const take = (): Promise<Socket> => {
    const socket = idle.pop()
    if (socket) return Promise.resolve(socket)
    return new Promise((done, fail) => {
      const got = (given: Socket) => {
        clearTimeout(timer)
        done(given)
      }
      const timer = setTimeout(() => {
        waiting.splice(waiting.indexOf(got), 1)
        fail(new Error('no connection is free'))
      }, WAIT_TIMEOUT_MS)
      waiting.push(got)
    })
  }
  const drop = (socket: Socket): void => {
    servers.delete(socket)
    socket.removeAllListeners()
    socket.on('error', () => {})
    socket.destroy()
    // The connection of a client that left within a query or transaction cannot be reused.
    void more().catch(() => {})
  }
  const giveBack = (socket: Socket): void => {
    const timer = setTimeout(() => drop(socket), WAIT_TIMEOUT_MS)
    socket.removeAllListeners('data')
    socket.on(
      'data',
      splitMessages((type) => {
        if (type !== READY_FOR_QUERY) return
        clearTimeout(timer)
        socket.removeAllListeners('data')
        give(socket)
      }),
    )
    socket.write(DEALLOCATE_ALL)
  }

  const serve = async (client: Socket, first: Buffer): Promise<void> => {
    const server = await take()
    // True when the server has responded to every query and is in no transaction.
    let ready = true
    let open = true
    const leave = () => {
      if (!open) return
      open = false
      clients.delete(client)
      client.destroy()
      server.removeAllListeners('data')
      if (ready) giveBack(server)
      else drop(server)
    }
    server.on('data', (part: Buffer) => client.write(part))
    server.on(
      'data',
      splitMessages((type, whole) => {
        if (type === READY_FOR_QUERY) ready = whole[5] === IDLE
      }),
    )
    const onClientData = splitMessages((type, whole) => {
      if (type === TERMINATE) return leave()
      if (!open) return
      ready = false
      server.write(whole)
    })
    client.removeAllListeners('data')
    client.on('data', (part: Buffer) => {
      server.cork()
      onClientData(part)
      server.uncork()
    })
    client.once('close', leave)
    client.write(AUTHENTICATED)
    if (first.length > 0) onClientData(first)
  }

  const listener = createServer((client) => {
    clients.add(client)
    client.setNoDelay(true)
    client.on('error', () => client.destroy())
    client.once('close', () => clients.delete(client))
    let left: Buffer = Buffer.alloc(0)
    client.on('data', (part: Buffer) => {
      left = Buffer.concat([left, part])
      if (left.length < 8 || left.length < left.readInt32BE(0)) return
      const size = left.readInt32BE(0)
      const rest = left.subarray(size)
      const wantsSsl = left.readInt32BE(4) === SSL_REQUEST
      left = wantsSsl ? rest : Buffer.alloc(0)
      if (wantsSsl) client.write('N')
      else {
        client.removeAllListeners('data')
        serve(client, rest).catch(() => client.destroy())
      }
    })
  }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  await Promise.all(Array.from({ length: POOL_SIZE }, more))
  const { port } = listener.address() as { port: number }
  return {
    url: Object.assign(new URL(url), { host: `127.0.0.1:${port}` }).href,
    close: async () => {
      for (const socket of [...clients, ...servers]) socket.destroy()
      listener.close()
      await once(listener, 'close')
    },
  }
}
