import type { StreamDeps } from '../../src/client/sdk/stream.ts'
import type { StreamSocket } from '../../src/delivery/client-connection.ts'

/** A socket that a test answers for: what was sent to the server is in `sent`. */
export type FakeSocket = StreamSocket & { url: string; sent: Record<string, unknown>[]; closed: boolean }

/** The world of a client in a test: sockets that the test answers for, a clock that it moves, and a fixed die. */
export function fakeClientDeps(random = 0.5) {
  let now = 0
  let timers: { at: number; run: () => void }[] = []
  const sockets: FakeSocket[] = []
  const returning = new Set<() => void>()
  const deps: StreamDeps = {
    connect(url) {
      const socket: FakeSocket = {
        url,
        sent: [],
        closed: false,
        send: (text) => void socket.sent.push(JSON.parse(text)),
        close: () => {
          socket.closed = true
        },
        onopen: null,
        onmessage: null,
        onclose: null,
      }
      sockets.push(socket)
      return socket
    },
    now: () => now,
    later(run, ms) {
      const timer = { at: now + ms, run }
      timers.push(timer)
      return () => {
        timers = timers.filter((other) => other !== timer)
      }
    },
    random: () => random,
    returned(run) {
      returning.add(run)
      return () => returning.delete(run)
    },
  }
  const socket = (): FakeSocket => sockets.at(-1)!
  return {
    deps,
    sockets,
    socket,
    /** Timers that would still fire, and listeners for a network that is back. */
    pendingCount: () => timers.length + returning.size,
    receive: (message: unknown) => socket().onmessage?.(JSON.stringify(message)),
    /** The network is back. */
    restoreNetwork() {
      for (const run of returning) run()
    },
    advance(ms: number) {
      const end = now + ms
      for (;;) {
        const next = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0]
        if (!next) break
        timers = timers.filter((timer) => timer !== next)
        now = next.at
        next.run()
      }
      now = end
    },
  }
}
