import { join } from 'node:path'
import { runner } from 'node-pg-migrate'
import { checkServer, runningPostgres, startPostgres } from './postgres.ts'
import { ROOT, readVariables, stateFolder } from './variables.ts'

const MIGRATIONS = join(ROOT, 'migrations')

/**
 * Applies the migrations that a database does not have yet, each file in its own transaction, and returns their
 * names. Two calls at once are fine: the second waits.
 * @throws Error when the server is older than 15, cannot be reached, or refuses a migration, which then changed nothing.
 */
export async function migrate(url: string): Promise<string[]> {
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
  return applied.map(({ name }) => name)
}

async function migrateFromCommandLine(): Promise<void> {
  const env = readVariables()
  const dir = join(stateFolder(env), 'postgres')
  const given = env.DATABASE_URL ?? runningPostgres(dir)
  const own = given ? null : await startPostgres({ dir, log: console.log })
  try {
    const names = await migrate(given ?? own!.url)
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
