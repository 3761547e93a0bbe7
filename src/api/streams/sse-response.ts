/** A comment line is sent this often. The protocol promises one every 15 s; a proxy may add some delay. */
const KEEP_ALIVE_INTERVAL_MS = 10_000
/** Chunks queued for the client before events begin to replace each other. */
const MAX_QUEUED_CHUNKS = 32
/** Events pending for a client that does not read, each the last of its key. With more, the stream ends. */
const MAX_PENDING_EVENTS = 5_000
/** How long a browser waits before it reconnects, sent once in `retry:`. */
const RECONNECT_DELAY_MS = 2_000

/** One event: `key` names whose state it is, `text` is its lines, each with its line end. */
export type StreamEvent = { key: string; text: string }

/** The sending end of one event stream. */
export type EventSink = {
  /**
   * Sends the events of one frame. If the client is behind, the last event of each key waits until it reads again (D3).
   * `id` is written on the last event alone, so that a cut between them loses none.
   */
  push(events: readonly StreamEvent[], id?: string): void
  /** True while no event waits for the client. */
  readonly hasRoom: boolean
  end(): void
}

export const EVENT_STREAM_HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache',
  // A proxy that buffers responses would hold every event back.
  'x-accel-buffering': 'no',
}

/** `onCaughtUp` is called when a client that was behind has taken all events, `onEnd` once, however the stream ends. */
export type StreamCallbacks = { onCaughtUp(): void; onEnd(): void }

/**
 * Returns a response with an event stream that `open` begins. The stream ends when the client takes nothing for `deadMs`
 * while events wait for it.
 */
export function eventStream(open: (sink: EventSink) => StreamCallbacks, deadMs: number): Response {
  const encoder = new TextEncoder()
  const pending = new Map<string, string>()
  let lastId: string | undefined
  let controller: ReadableStreamDefaultController<Uint8Array>
  let callbacks: StreamCallbacks | null = null
  let ended = false
  let behindSince: number | null = null

  const isBehind = () => (controller.desiredSize ?? 0) <= 0
  const comments = setInterval(() => {
    if (behindSince !== null && Date.now() - behindSince >= deadMs) sink.end()
    else if (!isBehind()) controller.enqueue(encoder.encode(':\n\n'))
  }, KEEP_ALIVE_INTERVAL_MS)

  const flush = () => {
    if (ended || pending.size === 0) return
    if (isBehind()) {
      behindSince ??= Date.now()
      return
    }
    const id = lastId === undefined ? '' : `id: ${lastId}\n`
    const text = `${[...pending.values()].join('\n')}${id}\n`
    // Before `enqueue`, which may call `pull`, and so this function, at once.
    pending.clear()
    lastId = undefined
    controller.enqueue(encoder.encode(text))
    if (behindSince === null) return
    behindSince = null
    callbacks?.onCaughtUp()
  }
  const stop = () => {
    ended = true
    clearInterval(comments)
    pending.clear()
    callbacks?.onEnd()
  }
  const sink: EventSink = {
    push(events, id) {
      if (ended) return
      for (const { key, text } of events) {
        pending.delete(key)
        pending.set(key, text)
      }
      lastId = id ?? lastId
      if (pending.size > MAX_PENDING_EVENTS) sink.end()
      else flush()
    },
    get hasRoom() {
      return pending.size === 0
    },
    end() {
      if (ended) return
      stop()
      controller.close()
    },
  }
  const body = new ReadableStream<Uint8Array>(
    {
      start(own) {
        controller = own
        controller.enqueue(encoder.encode(`retry: ${RECONNECT_DELAY_MS}\n\n`))
        callbacks = open(sink)
        if (ended) callbacks.onEnd()
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
