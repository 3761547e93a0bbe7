import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import postgres from 'postgres'
import { accessibleDir, createCluster, type OsUser, serverBinaries, serverUser } from './postgres-home.ts'

/** The oldest server that the migrations and queries run on (150000 is 15.0). */
const MIN_SERVER_VERSION = 150_000
const DATABASE = 'kerb'
/** How long the server may take: to come up after a crash, and to go before it is killed. */
const START_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 5_000

export type PostgresOptions = {
  /** Contains the cluster, its password and the id of its process; created if missing, and stays when the server stops. */
  dir: string
  /** A free one when left out. */
  port?: number
  /** Trades durability for speed: for tests, whose data is thrown away. */
  fast?: boolean
  /** Lines worth telling, such as that the data had to go elsewhere. */
  log?: (line: string) => void
}

export type Postgres = {
  /** Of the database `kerb`, with its password; on loopback. */
  url: string
  /** Stops the server and returns when its process is gone. */
  stop(): Promise<void>
  /** Starts it again on the same port and data, after `stop`. */
  start(): Promise<void>
}

/** The command line of a running process; null when there is none of that id. */
function commandOf(pid: number): string | null {
  try {
    if (existsSync('/proc/self/cmdline'))
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
    return execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' }).trim()
  } catch {
    return null
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done, fail) => server.once('error', fail).listen(0, '127.0.0.1', done))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  return port
}

/** Waits until no process of that id is left, at most `limit` ms. */
async function waitForExit(pid: number, limit: number): Promise<boolean> {
  for (const end = Date.now() + limit; Date.now() < end; ) {
    if (commandOf(pid) === null || commandOf(pid) === '') return true
    await new Promise((done) => setTimeout(done, 20))
  }
  return false
}

/** Ends a server: what is open is cut off and written down; one that does not go in time is ended the hard way. */
async function endServer(pid: number): Promise<void> {
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    try {
      process.kill(pid, signal)
    } catch (error) {
      // The process ended just before the signal.
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return
      throw error
    }
    if (await waitForExit(pid, STOP_TIMEOUT_MS)) return
  }
}

/**
 * The server that left `postmaster.pid` here: running, orphaned by a killed parent, or none at all (then the file is
 * left over, and its number may by now be another program's).
 */
function previousServer(dir: string): { pid: number; port: number; owner: number | null } | null {
  const pidFile = join(dir, 'data', 'postmaster.pid')
  if (!existsSync(pidFile)) return null
  const [pid, , , port] = readFileSync(pidFile, 'utf8').split('\n').map(Number)
  if (!pid || !port || !commandOf(pid)?.includes(join(dir, 'data'))) return null
  const owner = existsSync(join(dir, 'owner.json'))
    ? (JSON.parse(readFileSync(join(dir, 'owner.json'), 'utf8')) as { pid: number; command: string })
    : null
  return { pid, port, owner: owner && commandOf(owner.pid) === owner.command ? owner.pid : null }
}

function urlOf(dir: string, port: number): string {
  const password = readFileSync(join(dir, 'password'), 'utf8').trim()
  return `postgres://postgres:${password}@127.0.0.1:${port}/${DATABASE}`
}

async function launch(
  bin: string,
  dir: string,
  port: number,
  user: OsUser | null,
  fast: boolean,
): Promise<ChildProcess> {
  const settings = [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'timezone=UTC',
    'shared_buffers=32MB',
    'max_connections=200',
    ...(fast ? ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off'] : []),
  ]
  const child = spawn(
    join(bin, 'postgres'),
    ['-D', join(dir, 'data'), '-p', String(port), ...settings.flatMap((setting) => ['-c', setting])],
    // In its own process group: Ctrl-C is passed on after everything that uses the database has ended.
    { ...user, cwd: '/', detached: true, stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, LC_ALL: 'C' } },
  )
  let said = ''
  await new Promise<void>((ready, fail) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      fail(new Error(`Postgres was not ready after ${START_TIMEOUT_MS / 1000} s: ${said.trim()}`))
    }, START_TIMEOUT_MS)
    child.stderr!.on('data', (chunk) => {
      if (said.length < 10_000) said += chunk
      if (!said.includes('database system is ready to accept connections')) return
      clearTimeout(timer)
      ready()
    })
    child.once('error', fail)
    child.once('exit', () => {
      clearTimeout(timer)
      fail(new Error(`Postgres did not start: ${said.trim()}`))
    })
  })
  child.unref()
  return child
}

async function createDatabase(url: string): Promise<void> {
  const sql = postgres(url.replace(/[^/]*$/, 'postgres'), { max: 1, fetch_types: false, onnotice: () => {} })
  try {
    const [known] = await sql`SELECT FROM pg_database WHERE datname = ${DATABASE}`
    if (!known) await sql.unsafe(`CREATE DATABASE ${DATABASE}`)
  } finally {
    await sql.end({ timeout: 1 })
  }
}

/**
 * Starts a real Postgres on loopback, its cluster in `dir`. A server that a killed run left behind is ended first.
 * @throws Error in plain words: another run uses `dir`, or the server could not be set up or started.
 */
export async function startPostgres(options: PostgresOptions): Promise<Postgres> {
  const dir = accessibleDir(options.dir, options.log ?? (() => {}))
  const previous = previousServer(dir)
  if (previous?.owner) throw new Error(`${dir} is in use by another Kerb (process ${previous.owner}): stop that first`)
  if (previous) await endServer(previous.pid)
  const fast = options.fast ?? false
  const data = join(dir, 'data')
  const user = serverUser(data)
  const bin = await serverBinaries(user)
  if (!existsSync(data)) await createCluster(bin, dir, user, fast)
  // Left over, as nothing answers to it; Postgres itself would be misled by another program of the same number.
  rmSync(join(data, 'postmaster.pid'), { force: true })

  const port = options.port ?? (await freePort())
  const url = urlOf(dir, port)
  let child: ChildProcess | null = null
  const endAtExit = () => child?.kill('SIGINT')
  process.on('exit', endAtExit)

  const start = async () => {
    child = await launch(bin, dir, port, user, fast)
    writeFileSync(join(dir, 'owner.json'), JSON.stringify({ pid: process.pid, command: commandOf(process.pid) }))
  }
  const stop = async () => {
    const running = child
    child = null
    if (running?.pid === undefined || running.exitCode !== null || running.signalCode !== null) return
    const exited = new Promise((done) => running.once('exit', done))
    running.ref()
    await endServer(running.pid)
    await exited
  }
  try {
    await start()
    await createDatabase(url)
  } catch (error) {
    await stop()
    process.off('exit', endAtExit)
    throw error
  }
  return {
    url,
    start,
    stop: async () => {
      await stop()
      rmSync(join(dir, 'owner.json'), { force: true })
    },
  }
}

/** The address of the server that another process runs in `dir`; null when none does. */
export function runningPostgres(dir: string): string | null {
  const real = accessibleDir(dir, () => {})
  const previous = previousServer(real)
  return previous?.owner ? urlOf(real, previous.port) : null
}

/** Asks a server for its version. @throws Error in plain words when it cannot be reached or is older than 15. */
export async function checkServer(url: string): Promise<void> {
  const { host } = new URL(url)
  const sql = postgres(url, { max: 1, fetch_types: false, connect_timeout: 5 })
  try {
    const [row] = await sql<{ server_version_num: string }[]>`SHOW server_version_num`
    const version = Number(row?.server_version_num)
    if (version < MIN_SERVER_VERSION)
      throw new Error(`Postgres at ${host} is version ${Math.floor(version / 10_000)}: 15 or newer is needed`)
  } catch (error) {
    if (error instanceof Error && error.message.includes('or newer')) throw error
    throw new Error(
      `Postgres at ${host} does not answer: ${(error as Error).message || (error as { code?: string }).code}`,
    )
  } finally {
    await sql.end({ timeout: 1 })
  }
}
