import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, expect, test } from 'vitest'

const root = join(import.meta.dirname, '../../..')
const state = mkdtempSync(join(tmpdir(), 'kerb-start-'))
let child: ChildProcess | null = null
let output = ''

afterEach(async () => {
  if (child && child.exitCode === null && child.signalCode === null) {
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
})

afterAll(() => rmSync(state, { recursive: true, force: true }))

function start(variables: Record<string, string>): ChildProcess {
  output = ''
  child = spawn(process.execPath, ['dev/start.ts'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PORT: '0', DATABASE_URL: '', KERB_EXCHANGE: 'simulated', KERB_STATE: state, ...variables },
  })
  for (const stream of [child.stdout, child.stderr])
    stream!.on('data', (chunk) => {
      output += chunk
    })
  return child
}

/** The address that a start prints; fails with its output when it ends before. */
async function address(started: ChildProcess): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  started.stdout!.on('data', () => {
    const url = /^ready: (http:\S+)$/m.exec(output)?.[1]
    if (url) resolve(url)
  })
  started.once('exit', (code) => reject(new Error(`ended with code ${code}: ${output}`)))
  return promise
}

/** The living processes that descend from one, by /proc: their ids and command lines. */
function descendants(ancestor: number): Map<number, string> {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      const [status, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (status !== 'Z') parents.set(Number(name), Number(parent))
    } catch {
      // It ended while the list was read.
    }
  }
  const isBelow = (pid: number): boolean => {
    const parent = parents.get(pid)
    return parent !== undefined && (parent === ancestor || isBelow(parent))
  }
  const found = new Map<number, string>()
  for (const pid of parents.keys()) if (isBelow(pid)) found.set(pid, commandOf(pid))
  return found
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

async function end(started: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  const exited = once(started, 'exit')
  started.kill(signal)
  const [code] = (await exited) as [number | null]
  return code
}

/** Anybody on the machine can read the arguments of a process. */
const SECRETS = {
  SUPABASE_SERVICE_ROLE_KEY: 'told-to-nobody-first',
  SUPABASE_SERVICE_ROLE_KEY_PREVIOUS: 'told-to-nobody-second',
  STOCK_PROVIDER_API_KEY: 'told-to-nobody-third',
}

/** Checks that everything is up. Returns the child processes by id. */
async function expectUp(started: ChildProcess, url: string): Promise<Map<number, string>> {
  expect(output).toMatch(/^exchange: simulated/m)
  expect(output).toMatch(/^providers: simulated, faults at http:\/\/127\.0\.0\.1:\d+\/_faults$/m)
  const health = await fetch(`${url}/health`, { signal: AbortSignal.timeout(10_000) })
  expect(health.headers.get('content-type')).toContain('json')
  expect((await fetch(`${url}/app/list.js`)).status).toBe(200)

  const below = descendants(started.pid!)
  const commands = [...below.values()].join('\n')
  for (const program of ['postgres', 'wrangler', 'workerd', 'esbuild']) expect(commands).toContain(program)
  for (const provider of ['YAHOO', 'BINANCE', 'TWELVEDATA', 'COINMARKETCAP'])
    expect(commands).toMatch(new RegExp(`${provider}_URL:http://127\\.0\\.0\\.1:\\d+/${provider.toLowerCase()}`))
  for (const secret of Object.values(SECRETS)) expect(commands).not.toContain(secret)
  return below
}

/** The processes that still run, without those whose command contains `but`. */
const left = (below: Map<number, string>, but?: string) =>
  [...below].filter(([pid, command]) => !(but && command.includes(but)) && command !== '' && commandOf(pid) === command)

test.runIf(process.platform === 'linux')(
  'one command starts everything, stops everything it started, finds its data again, and replaces what a killed start left',
  { timeout: 120_000 },
  async () => {
    const first = start(SECRETS)
    const below = await expectUp(first, await address(first))
    expect(output).toContain('migrated 0001')
    expect(await end(first, 'SIGINT'), output).toBe(0)
    // A killed process may take a moment to be gone.
    await expect.poll(() => left(below), { timeout: 2000 }).toEqual([])

    const killed = start(SECRETS)
    const url = await address(killed)
    expect(output).not.toContain('migrated 0001')
    const orphans = await expectUp(killed, url)
    await end(killed, 'SIGKILL')
    await expect.poll(() => left(orphans, 'postgres'), { timeout: 5000 }).toEqual([])

    const next = start({ ...SECRETS, PORT: new URL(url).port })
    expect(await address(next)).toBe(url)
    expect(left(orphans)).toEqual([])
    expect(output).not.toContain('migrated 0001')
    const last = await expectUp(next, url)
    expect(await end(next, 'SIGTERM'), output).toBe(0)
    await expect.poll(() => left(last), { timeout: 2000 }).toEqual([])
  },
)

test('a port that is in use is reported in one line, and nothing is started', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as { port: number }
  const [code] = await once(start({ PORT: String(port) }), 'exit')
  other.close()
  expect(code).toBe(1)
  expect(output).toBe(`port ${port} is taken; PORT chooses another\n`)
})

test('a database that does not respond is reported in one line', async () => {
  const [code] = await once(start({ DATABASE_URL: 'postgres://kerb:kerb@127.0.0.1:1/kerb' }), 'exit')
  expect(code).toBe(1)
  expect(output).toMatch(/^migrate: Postgres at 127\.0\.0\.1:1 does not answer: .*\n$/)
})

test('a malformed variable is reported by name', async () => {
  const [code] = await once(start({ MAX_CHANNELS: 'many' }), 'exit')
  expect(code).toBe(1)
  expect(output).toMatch(/^MAX_CHANNELS: .*\n$/)
})
