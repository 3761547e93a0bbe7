import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'

/** A plain Node `ws` server in its own process: sends every text from its parent to every socket. */
export type WsRequest = { id: number } & ({ do: 'listen' } | { do: 'send'; texts: string[] })

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })

process.on('message', (request: WsRequest) => {
  if (request.do === 'send')
    for (const text of request.texts) {
      // Encoded once, not once a socket: what a server that cares would do.
      const bytes = Buffer.from(text)
      for (const socket of server.clients) socket.send(bytes, { binary: false })
    }
  const result = request.do === 'listen' ? (server.address() as AddressInfo).port : null
  process.send?.({ id: request.id, result })
})
process.on('disconnect', () => process.exit())
