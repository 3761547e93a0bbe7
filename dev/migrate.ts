import { join } from 'node:path'
import { runner } from 'node-pg-migrate'
import postgres from 'postgres'
import { checkServer, runningPostgres, startPostgres } from './postgres.ts'
import { ROOT, readVariables, stateFolder } from './variables.ts'

const MIGRATIONS = join(ROOT, 'migrations')

/** The URL of the same database for the Worker, whose role owns nothing. */
export const workerDatabaseUrl = (url: string, workerPassword: string): string =>
  Object.assign(new URL(url), { username: 'kerb_worker', password: workerPassword }).href

/** Lets the Worker's role log in with this password. */
async function enableWorkerLogin(url: string, workerPassword: string): Promise<void> {
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => {} })
  try {
    const [row] = await sql<{ statement: string }[]>`
      SELECT format('ALTER ROLE kerb_worker LOGIN PASSWORD %L', ${workerPassword}::text) AS statement`
    await sql.unsafe(row!.statement)
  } finally {
    await sql.end({ timeout: 1 })
  }
}

/**
 * Applies the migrations that a database does not have yet, each file in its own transaction, and returns their names.
 * Two concurrent calls are fine: the second waits. With `workerPassword`, the Worker's role may log in with it afterwards.
 * @throws Error when the server is older than 15, cannot be reached, or refuses a migration, which then changed nothing.
 */
export async function migrate(url: string, workerPassword?: string): Promise<string[]> {
  await checkServer(url)
  const applied = await runner({
    databaseUrl: url,
    dir: MIGRATIONS,
    direction: 'up',
    migrationsTable: 'pgmigrations',
    singleTransaction: false,
    advisoryLockMode: 'wait',
    logger: { info: () => {}, warn: () => {}, error: () => {} },
  })
  if (workerPassword !== undefined) await enableWorkerLogin(url, workerPassword)
  return applied.map(({ name }) => name)
}

async function migrateFromCommandLine(): Promise<void> {
  const env = readVariables()
  const dir = join(stateFolder(env), 'postgres')
  const given = env.DATABASE_URL ?? runningPostgres(dir)
  const own = given ? null : await startPostgres({ dir, log: console.log })
  try {
    const names = await migrate(given ?? own!.url, env.WORKER_PASSWORD)
    console.log(names.length === 0 ? 'nothing to migrate' : `migrated: ${names.join(', ')}`)
  } finally {
    await own?.stop()
  }
}

if (import.meta.main)
  migrateFromCommandLine().catch((error: Error) => {
    console.error(`migrate: ${error.message}`)
    process.exitCode = 1
  })
