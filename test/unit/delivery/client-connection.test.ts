import { expect, test } from 'vitest'
import { toStreamSocket } from '../../../src/delivery/client-connection.ts'

/** A platform's socket that a test drives by events. */
function fakePlatformSocket() {
  const sent: string[] = []
  const closes: unknown[][] = []
  const socket = Object.assign(new EventTarget(), {
    readyState: 0,
    send: (text: string) => void sent.push(text),
    close: (...args: unknown[]) => void closes.push(args),
  })
  const emit = (type: string, fields: object = {}) => socket.dispatchEvent(Object.assign(new Event(type), fields))
  const wrapped = toStreamSocket(socket as never)
  const received: string[] = []
  const ends: [number, string][] = []
  wrapped.onmessage = (text) => received.push(text)
  wrapped.onclose = (code, reason) => ends.push([code, reason])
  return { socket, wrapped, sent, closes, emit, received, ends }
}

test('a socket sends only while it is open', () => {
  const { socket, wrapped, sent } = fakePlatformSocket()
  for (const state of [0, 1, 2, 3]) {
    socket.readyState = state
    wrapped.send(`in state ${state}`)
  }
  expect(sent).toEqual(['in state 1'])
})

test('D4 a socket passes text on and ignores binary messages', () => {
  const { emit, received } = fakePlatformSocket()
  emit('message', { data: new ArrayBuffer(8) })
  emit('message', { data: '{}' })
  expect(received).toEqual(['{}'])
})

test('a socket reports its close code, and an error as an abnormal closure', () => {
  const closed = fakePlatformSocket()
  closed.emit('close', { code: 4101, reason: 'later' })
  expect(closed.ends).toEqual([[4101, 'later']])
  const failed = fakePlatformSocket()
  failed.emit('error')
  expect(failed.ends).toEqual([[1006, '']])
  failed.wrapped.close(1000, 'bye')
  expect(failed.closes).toEqual([[1000, 'bye']])
})
