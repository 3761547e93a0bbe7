import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { migrate, workerDatabaseUrl } from '../../dev/migrate.ts'
import { startPostgres } from '../../dev/postgres.ts'
import { serveWorkerd } from '../../dev/workerd.ts'
import { PRODUCTS } from '../../simulators/exchange/products.ts'
import { startExchange } from '../../simulators/exchange/server.ts'
import { startProviders } from '../../simulators/providers/server.ts'
import { simulatedUrls } from '../../simulators/urls.ts'
import { startPooler } from './pooler.ts'

/** The service key of the Worker of this run. */
export const SERVICE_KEY = 'the service key of a run'.replaceAll(' ', '-')

/** Deliberate leaks that the suite must detect: see `dev/worker/privacy.ts`; `rows` disables row level security. */
export const PLANTS = ['cache', 'identity', 'error', 'rows'] as const
export type Plant = (typeof PLANTS)[number]

/** The only product of the exchange: the smallest possible market. */
const PRODUCT = 'BTC-USD'

/** The owner of the tables: no superuser, but it may create roles, which migrations do. */
const OWNER_ROLE = 'kerb_privacy_owner'

export type TestEnvironment = {
  url: string
  databaseUrl: string
  /** As superuser. */
  admin: postgres.Sql
  /** Sets the price of an asset, by its Yahoo id. */
  setPrice(id: string, price: number): void
  stop(): Promise<void>
}

/** Starts database, exchange, providers and Worker, on loopback and in a temporary folder. */
export async function startEnvironment(plant: Plant | null): Promise<TestEnvironment> {
  const dir = mkdtempSync(join(tmpdir(), 'kerb-privacy-'))
  const stops: (() => unknown)[] = [() => rmSync(dir, { recursive: true, force: true })]
  const stop = async () => {
    for (const end of stops.splice(0).reverse()) await end()
  }
  try {
    const exchange = await startExchange({ products: PRODUCTS.filter(({ id }) => id === PRODUCT) })
    stops.push(() => exchange.close())
    const providers = await startProviders({ seed: 'privacy' })
    stops.push(() => providers.close())
    const database = await startPostgres({ dir: join(dir, 'postgres'), fast: true })
    stops.push(() => database.stop())
    const admin = postgres(database.url, { max: 1, fetch_types: false, onnotice: () => {} })
    stops.push(() => admin.end({ timeout: 1 }))
    const password = randomBytes(12).toString('hex')
    await admin.unsafe(`CREATE ROLE ${OWNER_ROLE} LOGIN CREATEROLE PASSWORD '${password}'`)
    await admin.unsafe(`ALTER DATABASE kerb OWNER TO ${OWNER_ROLE}`)
    await admin.unsafe(`ALTER SCHEMA public OWNER TO ${OWNER_ROLE}`)
    const ownerUrl = Object.assign(new URL(database.url), { username: OWNER_ROLE, password }).href
    await migrate(ownerUrl, password)
    const databaseUrl = workerDatabaseUrl(database.url, password)
    const pooler = await startPooler(databaseUrl)
    stops.push(() => pooler.close())
    const worker = await serveWorkerd({
      entry: 'dev/worker/privacy.ts',
      databaseUrl: pooler.url,
      log: 'nothing',
      vars: {
        EXCHANGE: 'simulated',
        ...simulatedUrls(exchange, providers),
        PRODUCTS: PRODUCT,
        // A run sends a day's requests in a few minutes.
        YAHOO_PER_MINUTE: '100000',
        COINBASE_PER_MINUTE: '100000',
        BINANCE_WEIGHT_PER_MINUTE: '100000',
        NEW_ASSETS_PER_DAY: '100000',
        MAX_SOCKETS_PER_CLIENT: '100000',
        AUTH_SECRET: 'the secret that encrypts the signing keys of a run',
        SUPABASE_SERVICE_ROLE_KEY: SERVICE_KEY,
        ...(plant ? { PLANT: plant } : {}),
      },
    })
    stops.push(() => worker.stop())
    return {
      url: worker.url,
      databaseUrl,
      admin,
      setPrice: (id, price) => providers.setPrice({ provider: 'yahoo', id, price: `${price}` }),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}
