import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { reset } from '../../simulators/reset.ts'

/** A door on loopback in front of a TCP server: shut, it drops who is inside and turns away who comes. */
export type TcpProxy = { port: number; setOpen(open: boolean): void; close(): Promise<void> }

/** Opens a proxy to a port of this machine. */
export async function openTcpProxy(target: number): Promise<TcpProxy> {
  const inside = new Set<Socket>()
  let open = true
  const server = createServer((client) => {
    if (!open) return reset(client)
    const backend = connect(target, '127.0.0.1')
    for (const [from, to] of [
      [client, backend],
      [backend, client],
    ] as const) {
      inside.add(from)
      from.on('error', () => to.destroy())
      from.on('close', () => {
        inside.delete(from)
        to.destroy()
      })
      from.pipe(to)
    }
  })
  await new Promise<void>((done, fail) => server.once('error', fail).listen(0, '127.0.0.1', done))
  const drop = () => {
    for (const socket of inside) reset(socket)
  }
  return {
    port: (server.address() as AddressInfo).port,
    setOpen(value) {
      open = value
      if (!open) drop()
    },
    close: () =>
      new Promise((done) => {
        server.close(() => done())
        drop()
      }),
  }
}
