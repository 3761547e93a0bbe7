import type { StreamDeps } from '../../src/client/sdk/stream.ts'
import type { StreamSocket } from '../../src/delivery/client-connection.ts'

/** A fake socket, controlled by a test. `sent` has the messages to the server. */
export type FakeSocket = StreamSocket & { url: string; sent: Record<string, unknown>[]; closed: boolean }

/** Fake dependencies of a client: sockets and a clock that the test controls, and a fixed random number. */
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
    /** The number of pending timers and of listeners for a restored network. */
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
