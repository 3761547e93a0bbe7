import { once } from 'node:events'
import { type AddressInfo, connect, createServer, Socket } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { type Gate, openGate } from '../support/gate.ts'

const ending: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end()
})

/** A gate in front of a server that sends back what it gets. */
async function gateToEcho(): Promise<Gate> {
  const server = createServer((socket) => socket.on('error', () => {}).pipe(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  ending.push(() => server.close())
  const gate = await openGate((server.address() as AddressInfo).port)
  ending.push(() => gate.close())
  return gate
}

/** A connection to a port, which may be reset. */
const dial = (port: number): Socket => connect(port, '127.0.0.1').on('error', () => {})

const closed = (socket: Socket) => new Promise((done) => socket.on('close', done))

async function enter(gate: Gate): Promise<Socket> {
  const socket = dial(gate.port)
  socket.write('hello')
  expect(String((await once(socket, 'data'))[0])).toBe('hello')
  return socket
}

test('a shut gate drops who is inside and turns away who comes; an open one lets in again', async () => {
  const gate = await gateToEcho()
  const inside = await enter(gate)
  const dropped = closed(inside)
  gate.set(false)
  await dropped
  await closed(dial(gate.port))
  gate.set(true)
  ;(await enter(gate)).destroy()
})

test('a gate that is shut in the moment in which a connection ends leaves no socket behind', async () => {
  const sockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
  const noneLeft = () => vi.waitUntil(() => sockets() === 0, { timeout: 10_000 })
  await noneLeft()
  const gate = await gateToEcho()
  const inside = await enter(gate)
  const { end } = Socket.prototype
  const dropped = closed(inside)
  inside.end()
  // The gate passes the end on to the server: as soon as it has, it is shut.
  const passed = vi.spyOn(Socket.prototype, 'end').mockImplementation(function (this: Socket, ...given) {
    const result = end.apply(this, given as [string])
    gate.set(false)
    return result
  })
  await dropped
  passed.mockRestore()
  await noneLeft()
})
