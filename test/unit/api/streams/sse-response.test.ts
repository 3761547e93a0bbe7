import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type EventSink, eventStream } from '../../../../src/api/streams/sse-response.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const DEAD_MS = 60_000

/** A stream whose sink the test holds, and a reader that reads only when it is told to. */
function open() {
  let sink: EventSink | undefined
  const ended = vi.fn()
  const caughtUp = vi.fn()
  const response = eventStream((given) => {
    sink = given
    return { onEnd: ended, onCaughtUp: caughtUp }
  }, DEAD_MS)
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  const decoder = new TextDecoder()
  const read = async () => {
    const { value, done } = await reader.read()
    return done ? null : decoder.decode(value)
  }
  return { sink: sink as EventSink, ended, caughtUp, read, reader, response }
}

const event = (key: string, text = key) => ({ key, text: `event: e\ndata: ${text}\n` })

describe('an event stream', () => {
  test('begins with `retry`, and sends a frame at once with the id on its last event alone', async () => {
    const { sink, read, response } = open()
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    expect(await read()).toBe('retry: 2000\n\n')
    sink.push([event('a'), event('b')], 'x-1')
    sink.push([event('c')])
    expect(await read()).toBe('event: e\ndata: a\n\nevent: e\ndata: b\nid: x-1\n\n')
    expect(await read()).toBe('event: e\ndata: c\n\n')
  })

  test('sends a comment at least every 15 s', async () => {
    const { read } = open()
    await read()
    const next = read()
    await vi.advanceTimersByTimeAsync(15_000)
    expect(await next).toBe(':\n\n')
  })

  test('D3 sends a client that was behind the last event of each key, in the order of change, and the newest id', async () => {
    const { sink, read } = open()
    for (let i = 0; i < 1_000; i++) sink.push([event(`${i % 3}`, `${i}`)], `x-${i}`)
    const chunks: string[] = []
    for (let text = await read(); text !== null; text = await read()) {
      chunks.push(text)
      if (text.includes('x-999')) break
    }
    // Those that waited in the queue, then one state of each key.
    expect(chunks.length).toBeLessThan(50)
    expect(chunks.at(-1)).toBe('event: e\ndata: 997\n\nevent: e\ndata: 998\n\nevent: e\ndata: 999\nid: x-999\n\n')
    const sent = chunks.join('').match(/data: (\d+)/g) ?? []
    expect(new Set(sent).size).toBe(sent.length)
  })

  test('D3 has no room while events wait, and calls back once when they are sent', async () => {
    const { sink, read, caughtUp } = open()
    let pushed = 0
    while (sink.hasRoom) sink.push([event('a', `${pushed++}`)])
    for (let i = 0; i < 10; i++) sink.push([event('a', `${pushed++}`)])
    expect(caughtUp).not.toHaveBeenCalled()
    for (let text = await read(); !text?.includes(`data: ${pushed - 1}\n`); ) text = await read()
    expect(caughtUp).toHaveBeenCalledTimes(1)
    expect(sink.hasRoom).toBe(true)
  })

  test('D3 ends when its client reads nothing for too long, and not while it reads slowly', async () => {
    const { sink, read, ended } = open()
    for (let i = 0; i < 100; i++) sink.push([event('a', `${i}`)])
    await vi.advanceTimersByTimeAsync(DEAD_MS - 1)
    expect(ended).not.toHaveBeenCalled()
    // One chunk makes room for all that waits: it is one frame.
    await read()
    expect(sink.hasRoom).toBe(true)
    while (sink.hasRoom) sink.push([event('a')])
    await vi.advanceTimersByTimeAsync(DEAD_MS - 10_000)
    expect(ended).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(20_000)
    expect(ended).toHaveBeenCalledTimes(1)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('D3 ends when too many events wait', () => {
    const { sink, ended } = open()
    for (let i = 0; i < 6_000; i++) sink.push([event(`${i}`)])
    expect(ended).toHaveBeenCalledTimes(1)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('ends once, with its timer, when its client cancels it', async () => {
    const { sink, ended, reader } = open()
    await reader.cancel()
    sink.push([event('a')])
    sink.end()
    expect(ended).toHaveBeenCalledTimes(1)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('closes after the events that it has sent when the server ends it', async () => {
    const { sink, ended, read } = open()
    sink.push([event('a')])
    sink.end()
    expect([await read(), await read(), await read()]).toEqual(['retry: 2000\n\n', 'event: e\ndata: a\n\n', null])
    expect(ended).toHaveBeenCalledTimes(1)
  })
})
