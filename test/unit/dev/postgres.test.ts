import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import postgres from 'postgres'
import { afterEach, expect, test } from 'vitest'
import { checkServer, type Postgres, runningPostgres, startPostgres } from '../../../dev/postgres.ts'

const dirs: string[] = []
const children: ChildProcess[] = []
let server: Postgres | null = null

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await server?.stop()
  server = null
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true })
})

function newDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'kerb-postgres-'))
  dirs.push(dir)
  // Below a folder that only its owner can enter, as temporary folders are.
  return join(dir, 'cluster')
}

const postmaster = (dir: string) => Number(readFileSync(join(dir, 'data', 'postmaster.pid'), 'utf8').split('\n')[0])

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch (error) {
    // Without /proc, a process that can be signalled counts as alive.
    return (error as NodeJS.ErrnoException).code === 'ENOENT' && process.platform !== 'linux'
  }
}

async function run<T>(url: string, use: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    return await use(sql)
  } finally {
    await sql.end()
  }
}

/** Another process that starts a server in `dir` and keeps it running; resolves with its URL. */
async function startElsewhere(dir: string): Promise<{ child: ChildProcess; url: string }> {
  const program = `import { startPostgres } from '${join(import.meta.dirname, '../../../dev/postgres.ts')}'
    const server = await startPostgres({ dir: '${dir}', fast: true })
    console.log(server.url)
    process.on('SIGTERM', () => process.exit())
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  const [url] = (await once(createInterface(child.stdout!), 'line')) as [string]
  return { child, url }
}

test('a server stops without a process left, and a second start finds its data', async () => {
  const dir = newDir()
  server = await startPostgres({ dir, fast: true })
  await run(server.url, (sql) => sql`CREATE TABLE kept AS SELECT 1 AS n`)
  const pid = postmaster(dir)
  await server.stop()
  expect(isAlive(pid)).toBe(false)
  server = await startPostgres({ dir, fast: true })
  expect(await run(server.url, (sql) => sql`SELECT n FROM kept`)).toEqual([{ n: 1 }])
})

test('a server in use by another process is reported and left alone, and ends with that process', async () => {
  const dir = newDir()
  const { child, url } = await startElsewhere(dir)
  expect(runningPostgres(dir)).toBe(url)
  await expect(startPostgres({ dir, fast: true })).rejects.toThrow(`in use by another Kerb (process ${child.pid})`)
  await checkServer(url)
  const pid = postmaster(dir)
  child.kill('SIGTERM')
  await expect.poll(() => isAlive(pid), { timeout: 20_000 }).toBe(false)
})

test('a server that a killed process left running is replaced, with its data', async () => {
  const dir = newDir()
  const { child, url } = await startElsewhere(dir)
  await run(url, (sql) => sql`CREATE TABLE kept AS SELECT 1 AS n`)
  const orphan = postmaster(dir)
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(isAlive(orphan)).toBe(true)
  expect(runningPostgres(dir)).toBeNull()
  server = await startPostgres({ dir, fast: true })
  expect(isAlive(orphan)).toBe(false)
  expect(await run(server.url, (sql) => sql`SELECT n FROM kept`)).toEqual([{ n: 1 }])
})

test('a server starts despite the files that a killed one has left', async () => {
  const dir = newDir()
  server = await startPostgres({ dir, fast: true })
  const pid = postmaster(dir)
  process.kill(pid, 'SIGKILL')
  await expect.poll(() => isAlive(pid), { timeout: 20_000 }).toBe(false)
  expect(postmaster(dir)).toBe(pid)
  await server.stop()
  server = await startPostgres({ dir, fast: true })
  await checkServer(server.url)
})

test('a server that does not respond is reported in one line', async () => {
  await expect(checkServer('postgres://kerb:kerb@127.0.0.1:1/kerb')).rejects.toThrow(
    /^Postgres at 127\.0\.0\.1:1 does not answer: .*ECONNREFUSED/,
  )
})
