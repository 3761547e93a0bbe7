/** A comment line goes out this often: PROTOCOL promises one every 15 s, and a proxy may be late. */
const KEEP_ALIVE_INTERVAL_MS = 10_000
/** Chunks that wait for the reader before events begin to replace each other. */
const MAX_QUEUED_CHUNKS = 32
/** Events that wait for a reader which does not read, each the last of its key. Past it the stream ends: it comes back. */
const MAX_PENDING_EVENTS = 5_000
/** How long a browser waits before it comes back, in milliseconds; told once. */
const RECONNECT_DELAY_MS = 2_000

/** One event: `key` tells what it is the state of, `text` is its lines, each with its line end. */
export type StreamEvent = { key: string; text: string }

/** The sending end of one event stream. */
export type EventSink = {
  /**
   * Sends the events of one frame, or, if the reader is behind, keeps the last of each key until it reads again (D3).
   * `id` goes on the last one alone, so that a cut between them loses none.
   */
  push(events: readonly StreamEvent[], id?: string): void
  /** Whether the reader keeps up. */
  readonly hasRoom: boolean
  end(): void
}

export const EVENT_STREAM_HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache',
  // Proxies that gather a response before they pass it on would hold every event back.
  'x-accel-buffering': 'no',
}

/** What follows a stream: `caughtUp` when a reader that was behind has taken all, `ended` once, however it ends. */
export type StreamCallbacks = { onCaughtUp(): void; onEnd(): void }

/**
 * Answers with an event stream that `open` begins. A reader that takes nothing for `deadMs` while events wait for it is
 * let go: the stream ends, and it may come back.
 */
export function eventStream(open: (sink: EventSink) => StreamCallbacks, deadMs: number): Response {
  const encoder = new TextEncoder()
  const waiting = new Map<string, string>()
  let lastId: string | undefined
  let controller: ReadableStreamDefaultController<Uint8Array>
  let watch: StreamCallbacks | null = null
  let ended = false
  let behindSince: number | null = null

  const isBehind = () => (controller.desiredSize ?? 0) <= 0
  const comments = setInterval(() => {
    if (behindSince !== null && Date.now() - behindSince >= deadMs) sink.end()
    else if (!isBehind()) controller.enqueue(encoder.encode(':\n\n'))
  }, KEEP_ALIVE_INTERVAL_MS)

  const flush = () => {
    if (ended || waiting.size === 0) return
    if (isBehind()) {
      behindSince ??= Date.now()
      return
    }
    const id = lastId === undefined ? '' : `id: ${lastId}\n`
    const text = `${[...waiting.values()].join('\n')}${id}\n`
    // Before the queue has it: that may ask for more at once.
    waiting.clear()
    lastId = undefined
    controller.enqueue(encoder.encode(text))
    if (behindSince === null) return
    behindSince = null
    watch?.onCaughtUp()
  }
  const stop = () => {
    ended = true
    clearInterval(comments)
    waiting.clear()
    watch?.onEnd()
  }
  const sink: EventSink = {
    push(events, id) {
      if (ended) return
      for (const { key, text } of events) {
        waiting.delete(key)
        waiting.set(key, text)
      }
      lastId = id ?? lastId
      if (waiting.size > MAX_PENDING_EVENTS) sink.end()
      else flush()
    },
    get hasRoom() {
      return waiting.size === 0
    },
    end() {
      if (ended) return
      stop()
      controller.close()
    },
  }
  const body = new ReadableStream<Uint8Array>(
    {
      start(given) {
        controller = given
        controller.enqueue(encoder.encode(`retry: ${RECONNECT_DELAY_MS}\n\n`))
        watch = open(sink)
        if (ended) watch.onEnd()
      },
      pull: flush,
      cancel() {
        if (!ended) stop()
      },
    },
    { highWaterMark: MAX_QUEUED_CHUNKS },
  )
  return new Response(body, { headers: EVENT_STREAM_HEADERS })
}
