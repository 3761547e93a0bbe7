import type { Socket } from 'node:net'

/**
 * Resets a connection, so that its other side reads an error instead of an end. A socket that has been ended is only
 * closed: Node.js loses one that is reset before its end has gone out, and then spins forever instead of exiting.
 */
export function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}
