import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const folder = resolve(import.meta.dirname, '../../../durable-objects')
const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => ({ path, text: readFileSync(join(folder, path), 'utf8') }))

const STREAM_OR_TIMER = /new (?:Readable|Transform)Stream\b|text\/event-stream|\bset(?:Timeout|Interval)\(/
/** A socket accepted with `accept()` does not hibernate. The outgoing one to the exchange cannot. */
const isAwake = (text: string): boolean => /\.accept\(\)/.test(text) && !text.includes("Upgrade: 'websocket'")

const pathsWhere = (matches: (text: string) => boolean) =>
  sources.filter(({ text }) => matches(text)).map(({ path }) => path)

// Checked on the source: no run can prove that something never happens.
test('D5 Durable Objects hold clients by hibernating sockets only: they return no streams and set no timers', () => {
  expect(pathsWhere((text) => text.includes('.acceptWebSocket('))).not.toEqual([])
  expect(pathsWhere((text) => STREAM_OR_TIMER.test(text))).toEqual([])
  expect(pathsWhere(isAwake)).toEqual([])
})

test.each([
  "new Response(new ReadableStream(), { headers: { 'content-type': 'text/plain' } })",
  "c.header('content-type', 'text/event-stream')",
  'setTimeout(() => this.flush(), 1_000)',
])('D5 the check finds code that prevents hibernation: %s', (text) => {
  expect(text).toMatch(STREAM_OR_TIMER)
})

test('D5 the check finds a socket that does not hibernate, except outgoing ones', () => {
  expect(isAwake('const [ours, theirs] = pair\ntheirs.accept()')).toBe(true)
  expect(isAwake("fetch(url, { headers: { Upgrade: 'websocket' } })\nsocket.accept()")).toBe(false)
})
