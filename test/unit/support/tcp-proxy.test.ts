import { once } from 'node:events'
import { type AddressInfo, connect, createServer, Socket } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { openTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts'

const ending: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end()
})

/** A proxy in front of a server that sends back what it gets. */
async function proxyToEcho(): Promise<TcpProxy> {
  const server = createServer((socket) => socket.on('error', () => {}).pipe(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  ending.push(() => server.close())
  const proxy = await openTcpProxy((server.address() as AddressInfo).port)
  ending.push(() => proxy.close())
  return proxy
}

/** A connection to a port, which may be reset. */
const dial = (port: number): Socket => connect(port, '127.0.0.1').on('error', () => {})

const closed = (socket: Socket) => new Promise((done) => socket.on('close', done))

async function enter(proxy: TcpProxy): Promise<Socket> {
  const socket = dial(proxy.port)
  socket.write('hello')
  expect(String((await once(socket, 'data'))[0])).toBe('hello')
  return socket
}

test('a closed proxy drops its connections and refuses new ones; an open one accepts them again', async () => {
  const proxy = await proxyToEcho()
  const inside = await enter(proxy)
  const dropped = closed(inside)
  proxy.setOpen(false)
  await dropped
  await closed(dial(proxy.port))
  proxy.setOpen(true)
  ;(await enter(proxy)).destroy()
})

test('a proxy that is shut in the moment in which a connection ends leaves no socket behind', async () => {
  const sockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
  const noneLeft = () => vi.waitUntil(() => sockets() === 0, { timeout: 10_000 })
  await noneLeft()
  const proxy = await proxyToEcho()
  const inside = await enter(proxy)
  const { end } = Socket.prototype
  const dropped = closed(inside)
  inside.end()
  // The proxy passes the end on to the server: as soon as it has, it is shut.
  const passed = vi.spyOn(Socket.prototype, 'end').mockImplementation(function (this: Socket, ...given) {
    const result = end.apply(this, given as [string])
    proxy.setOpen(false)
    return result
  })
  await dropped
  passed.mockRestore()
  await noneLeft()
})
