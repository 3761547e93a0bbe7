import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import postgres from 'postgres'
import { migrate, workerDatabaseUrl } from '../../dev/migrate.ts'
import { type Postgres, startPostgres } from '../../dev/postgres.ts'
import { bundleWorker, serveWorkerd, type Workerd } from '../../dev/workerd.ts'
import type { Exchange } from '../../simulators/exchange/exchange.ts'
import { startExchange } from '../../simulators/exchange/server.ts'
import type { Plan } from './plan.ts'

/** Market milliseconds per millisecond, on an idle machine and on the busiest one. */
const MAX_SPEED = 120
const MIN_SPEED = 12
/** The share of a processor that a thread must get for the market to run at full speed. */
const FULL_SPEED_SHARE = 0.5

/** The owner of the tables: no superuser, but it may create roles, which migrations do. */
const OWNER_ROLE = 'kerb_faults_owner'

/**
 * The market speed that this machine can sustain now. The Worker's timeouts run by the market's clock and its work by the
 * machine's: on a busy machine a slower market leaves as much processor time to each of its minutes.
 */
async function chooseSpeed(): Promise<number> {
  const [share] = (await once(new Worker(new URL('./spin.ts', import.meta.url)), 'message')) as [number]
  return Math.round(Math.min(MAX_SPEED, Math.max(MIN_SPEED, (MAX_SPEED * share) / FULL_SPEED_SHARE)))
}

/** Market time. A timeout that races against this machine is longer than in production: 10 ms here are a second there. */
const WORKER_SETTINGS = {
  CLOSE_GRACE_MS: 12_000,
  FEED_SILENCE_TIMEOUT_MS: 45_000,
  FEED_CONNECT_TIMEOUT_MS: 600_000,
  CONNECTION_IDLE_TIMEOUT_MS: 3_600_000,
  ACK_TIMEOUT_MS: 600_000,
  FLUSH_CLOSED_MS: 1_000,
  FLUSH_FORMING_MS: 30_000,
  CHECKPOINT_INTERVAL_MS: 20_000,
}

/** A Postgres for several runs in a row. */
export type Lane = {
  server: Postgres
  /** As superuser. */
  admin: postgres.Sql
  /** A fresh, migrated database. */
  database(): Promise<Database>
  /** The Worker, bundled. */
  code: string
  stop(): Promise<void>
}

/** `url` as the Worker has it; `admin` is a superuser's client of it. */
type Database = { name: string; url: string; admin: postgres.Sql; drop(): Promise<void> }

const withPath = (url: string, path: string): URL => Object.assign(new URL(url), { pathname: `/${path}` })
const QUIET_OPTIONS = { fetch_types: false, onnotice: () => {} }

export async function openLane(): Promise<Lane> {
  const dir = mkdtempSync(join(tmpdir(), 'kerb-faults-'))
  const server = await startPostgres({ dir, fast: true })
  const admin = postgres(withPath(server.url, 'postgres').href, { ...QUIET_OPTIONS, max: 1 })
  const stop = async () => {
    await admin.end({ timeout: 1 })
    await server.stop()
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    const password = randomBytes(12).toString('hex')
    await admin.unsafe(`CREATE ROLE ${OWNER_ROLE} LOGIN CREATEROLE PASSWORD '${password}'`)
    await admin.unsafe(`CREATE DATABASE template_faults OWNER ${OWNER_ROLE}`)
    const template = Object.assign(withPath(server.url, 'template_faults'), { username: OWNER_ROLE, password })
    await migrate(template.href, password)
    const code = await bundleWorker('dev/worker/faults.ts')
    let databases = 0
    return {
      code,
      server,
      admin,
      stop,
      async database() {
        const name = `faults_${++databases}`
        await admin.unsafe(`CREATE DATABASE ${name} TEMPLATE template_faults OWNER ${OWNER_ROLE}`)
        const own = postgres(withPath(server.url, name).href, { ...QUIET_OPTIONS, max: 2 })
        return {
          name,
          url: workerDatabaseUrl(withPath(server.url, name).href, password),
          admin: own,
          drop: async () => {
            await own.end({ timeout: 1 })
            await admin.unsafe(`DROP DATABASE ${name} WITH (FORCE)`)
          },
        }
      },
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** The environment of one run. */
export type TestEnvironment = {
  lane: Lane
  database: Database
  exchange: Exchange
  worker: Workerd
  /** Market milliseconds per millisecond. */
  speed: number
  /** Runs tasks in turn, so that two faults never start the same server at once. */
  runExclusive<T>(work: () => Promise<T>): Promise<T>
  /** Sleeps until so many market milliseconds after the start; ends early when the run is aborted. */
  until(at: number): Promise<void>
  /** Calls the Worker's paths for this suite. @throws Error when it is unreachable or responds with an error */
  call(path: string): Promise<Response>
  stop(): Promise<void>
}

/** The timeout of a request to the Worker, real milliseconds. */
const CALL_TIMEOUT_MS = 60_000

/** Real milliseconds between the starts of the exchange and of the plan. */
const LEAD_MS = 2_500

/** Starts exchange, database and Worker on a clock that starts at the plan's time. */
export async function startEnvironment(
  plan: Plan,
  lane: Lane,
  broken?: 'flush' | 'backfill',
): Promise<TestEnvironment> {
  const stops: (() => Promise<unknown>)[] = []
  const stop = async () => {
    for (const end of stops.splice(0).reverse()) await end()
  }
  try {
    const database = await lane.database()
    stops.push(() => database.drop())
    const speed = await chooseSpeed()
    // The market already runs while the Worker starts: its anchor is now, the plan starts a little later.
    const anchor = plan.start - LEAD_MS * speed
    const shift = anchor - Date.now()
    const exchange = await startExchange({
      seed: `faults ${plan.seed}`,
      products: plan.products,
      now: () => Date.now() + shift,
      anchor,
      speed,
    })
    stops.push(() => exchange.close())
    const ids = plan.products.map(({ id }) => id).join(',')
    const numbers = Object.entries(WORKER_SETTINGS).map(([name, value]) => [name, String(value)])
    const worker = await serveWorkerd({
      code: lane.code,
      log: 'file',
      vars: {
        ...Object.fromEntries(numbers),
        EXCHANGE: 'simulated',
        PRODUCTS: ids,
        COINBASE_WS_URL: exchange.wsUrl,
        COINBASE_REST_URL: exchange.url,
        COINBASE_EXCHANGE_URL: exchange.url,
        CLOCK_SPEED: String(speed),
        CLOCK_ANCHOR: String(anchor),
        CLOCK_SHIFT: String(shift),
        ...(plan.faults.includes('rest-refused') ? { RECORD: 'yes' } : {}),
        ...(broken ? { BREAK: broken } : {}),
      },
      databaseUrl: database.url,
    })
    stops.push(() => worker.stop())
    let turn: Promise<unknown> = Promise.resolve()
    const began = anchor - shift + LEAD_MS
    return {
      lane,
      database,
      exchange,
      worker,
      speed,
      runExclusive: (work) => {
        const done = turn.then(work)
        turn = done.catch(() => {})
        return done
      },
      until: (at) => {
        const wait = began + at / speed - Date.now()
        return new Promise((done) => setTimeout(done, Math.max(0, wait)))
      },
      call: async (path) => {
        const signal = AbortSignal.timeout(CALL_TIMEOUT_MS)
        const response = await fetch(`${worker.url}/_faults/${path}`, { signal }).catch((cause: Error) => {
          throw new Error(`${path} was not answered: ${cause.message}`, { cause })
        })
        if (!response.ok) throw new Error(`${path} answered ${response.status}`)
        return response
      },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}
