import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const folder = resolve(import.meta.dirname, '../../../durable-objects')
const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => ({ path, text: readFileSync(join(folder, path), 'utf8') }))

const STREAM_OR_TIMER = /new (?:Readable|Transform)Stream\b|text\/event-stream|\bset(?:Timeout|Interval)\(/
/** A socket that is accepted by itself does not hibernate. The one to the exchange, which is dialled, cannot. */
const isAwake = (text: string): boolean => /\.accept\(\)/.test(text) && !text.includes("Upgrade: 'websocket'")

const found = (wrong: (text: string) => boolean) => sources.filter(({ text }) => wrong(text)).map(({ path }) => path)

// Read off the code: that something never happens, no run of it can show.
test('D5 a Durable Object holds its clients by hibernating sockets alone: it answers with no stream and sets no timer', () => {
  expect(found((text) => text.includes('.acceptWebSocket('))).not.toEqual([])
  expect(found((text) => STREAM_OR_TIMER.test(text))).toEqual([])
  expect(found(isAwake)).toEqual([])
})

test.each([
  "new Response(new ReadableStream(), { headers: { 'content-type': 'text/plain' } })",
  "c.header('content-type', 'text/event-stream')",
  'setTimeout(() => this.flush(), 1_000)',
])('D5 what would keep an object awake is found: %s', (text) => {
  expect(text).toMatch(STREAM_OR_TIMER)
})

test('D5 a socket that does not hibernate is found, unless it is one that the object dials', () => {
  expect(isAwake('const [ours, theirs] = pair\ntheirs.accept()')).toBe(true)
  expect(isAwake("fetch(url, { headers: { Upgrade: 'websocket' } })\nsocket.accept()")).toBe(false)
})
