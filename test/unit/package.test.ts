import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
const app = mkdtempSync(join(tmpdir(), 'kerb-package-'))
const kerb = join(app, 'node_modules', 'kerb')

/** An application that has the packed package, and the packages that it names. */
beforeAll(() => {
  mkdirSync(kerb, { recursive: true })
  execFileSync('npm', ['pack', '--silent', '--pack-destination', app], { cwd: ROOT })
  const [tarball = ''] = readdirSync(app).filter((name) => name.endsWith('.tgz'))
  execFileSync('tar', ['xzf', join(app, tarball), '-C', kerb, '--strip-components=1'])
  for (const name of ['big.js', 'zod', 'react', '@types', 'ws'])
    symlinkSync(join(ROOT, 'node_modules', name), join(app, 'node_modules', name))
  writeFileSync(join(app, 'package.json'), '{"type":"module"}')
})

afterAll(() => rmSync(app, { recursive: true }))

test('it has the clients, the hook, their types and nothing of the server', () => {
  const files = readdirSync(kerb, { recursive: true, encoding: 'utf8' })
  expect(readdirSync(kerb).sort()).toEqual(['LICENSE', 'README.md', 'dist', 'package.json'])
  expect(files.filter((name) => /(durable|workers|api|db|auth)/.test(name))).toEqual([])
})

const PROGRAM = `
import { WebSocket, WebSocketServer } from 'ws'
import { browserDeps, connectCandles, connectPortfolio, connectQuotes, socketsOf } from 'kerb'
import * as client from 'kerb/client'
import { usePortfolioWithUpdates } from 'kerb/react'

const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
server.on('connection', (socket) =>
  socket.on('message', (data) => {
    const { op, channels, req_id } = JSON.parse(data)
    if (op !== 'subscribe') return
    socket.send(JSON.stringify({ type: 'subscribed', channels, position: 'q-1', recovered: false, req_id }))
    socket.send('{"type":"snapshot","position":"q-1","quotes":[{"symbol":"AAPL","price":189.5}]}')
  }),
)
server.once('listening', () => {
  const url = 'http://127.0.0.1:' + server.address().port
  const onQuotes = ([{ price }]) => {
    const functions = [connectCandles, connectPortfolio, client.connectQuotes, usePortfolioWithUpdates]
    console.log(price, client.connectQuotes === connectQuotes, ...functions.map((one) => typeof one))
    stream.close()
    server.close()
  }
  const stream = connectQuotes({ url, symbols: ['AAPL'], onQuotes }, { ...browserDeps, connect: socketsOf(WebSocket) })
})
`

test('plain Node imports it, and follows quotes with it over a socket', () => {
  writeFileSync(join(app, 'follow.js'), PROGRAM)
  const { stdout, stderr } = spawnSync(process.execPath, ['follow.js'], { cwd: app, encoding: 'utf8', timeout: 20_000 })
  expect(stderr).toBe('')
  expect(stdout).toBe('189.5 true function function function function\n')
})

const USE = `
import { connectCandles, connectPortfolio, connectQuotes, type Position } from 'kerb'
import { usePortfolioWithUpdates } from 'kerb/react'

export const cmpOf = (position: Position): string | null => position.cmp
export const portfolio = connectPortfolio({ onChange: ({ positions }) => positions.map(cmpOf) })
export const candles = connectCandles({
  products: ['BTC-USD'],
  granularities: ['ONE_MINUTE'],
  onCandles: (some) => some.map(({ close, timestamp }): [string, number] => [close, timestamp]),
  onSnapshot() {},
})
// @ts-expect-error: an amount is no number
export const quotes = connectQuotes({ symbols: ['AAPL'], onQuotes: (some) => some.map(({ price }): number => price) })
export const useTotal = () => usePortfolioWithUpdates({ mode: 'poll' }).portfolio?.present_value.slice(1)
`

test('its types say what comes', () => {
  writeFileSync(join(app, 'use.ts'), USE)
  const flags = ['--strict', '--noEmit', '--target', 'es2022', '--lib', 'es2022,dom', '--types', 'react']
  const tsc = join(ROOT, 'node_modules', '.bin', 'tsc')
  const { stdout } = spawnSync(tsc, [...flags, '--module', 'nodenext', 'use.ts'], { cwd: app, encoding: 'utf8' })
  expect(stdout).toBe('')
})
