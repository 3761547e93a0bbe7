import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import postgres from 'postgres'
import { type Exchange, startExchange } from '../exchange/server.ts'
import { migrate } from '../migrate.ts'
import { type Postgres, startPostgres } from '../postgres.ts'
import { bundleWorker, serveWorkerd, type Workerd } from '../workerd.ts'
import type { Plan } from './plan.ts'

/** Market milliseconds per millisecond on a machine with a processor to spare, and on the busiest one. */
const FASTEST = 120
const SLOWEST = 12
/** From this part of a processor on, the market is as fast as it gets. */
const ENOUGH = 0.5

/** Who the Worker is to Postgres: not its superuser, so that limits hold for it. It migrates, too, and that makes a role. */
const USER = 'kerb_faults'

/**
 * How fast the market can be: on a busy machine it is slower, so that what its time limits race against, the Worker and
 * the exchange on this machine, has as much of a processor for each of its minutes.
 */
async function measureSpeed(): Promise<number> {
  const [share] = (await once(new Worker(new URL('./spin.ts', import.meta.url)), 'message')) as [number]
  return Math.round(Math.min(FASTEST, Math.max(SLOWEST, (FASTEST * share) / ENOUGH)))
}

/**
 * Times are the market's. What is a race against this machine is given more time than on the exchange's own clock: a
 * hundredth of a second here is more than a second there.
 */
const SETTINGS = {
  CLOSE_GRACE_MS: 12_000,
  FEED_SILENCE_MS: 45_000,
  FEED_DIAL_MS: 600_000,
  READER_SILENCE_MS: 3_600_000,
  READER_DEAD_MS: 600_000,
  FLUSH_CLOSED_MS: 1_000,
  FLUSH_FORMING_MS: 30_000,
  CHECKPOINT_MS: 20_000,
}

/** A Postgres of its own for the runs that follow each other on it. */
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
export type Database = { name: string; url: string; admin: postgres.Sql; drop(): Promise<void> }

const withPath = (url: string, path: string): URL => Object.assign(new URL(url), { pathname: `/${path}` })
const quietly = { fetch_types: false, onnotice: () => {} }

export async function openLane(): Promise<Lane> {
  const dir = mkdtempSync(join(tmpdir(), 'kerb-faults-'))
  const server = await startPostgres({ dir, fast: true })
  const admin = postgres(withPath(server.url, 'postgres').href, { ...quietly, max: 1 })
  const stop = async () => {
    await admin.end({ timeout: 1 })
    await server.stop()
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    const password = randomBytes(12).toString('hex')
    await admin.unsafe(`CREATE ROLE ${USER} LOGIN CREATEROLE PASSWORD '${password}'`)
    await admin.unsafe(`CREATE DATABASE template_faults OWNER ${USER}`)
    const asWorker = (name: string) => Object.assign(withPath(server.url, name), { username: USER, password }).href
    await migrate(asWorker('template_faults'))
    const code = await bundleWorker('dev/worker/faults.ts')
    let databases = 0
    return {
      code,
      server,
      admin,
      stop,
      async database() {
        const name = `faults_${++databases}`
        await admin.unsafe(`CREATE DATABASE ${name} TEMPLATE template_faults OWNER ${USER}`)
        const own = postgres(withPath(server.url, name).href, { ...quietly, max: 2 })
        return {
          name,
          url: asWorker(name),
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

/** What one run stands on. */
export type Stage = {
  lane: Lane
  database: Database
  exchange: Exchange
  worker: Workerd
  /** Market milliseconds per millisecond. */
  speed: number
  /** One after the other: two faults do not start the same server at once. */
  inTurn<T>(work: () => Promise<T>): Promise<T>
  /** Sleeps until so many market milliseconds after the start; ends early when the run is broken off. */
  until(at: number): Promise<void>
  /** A call to the Worker's own paths for the suite. @throws Error when it cannot be reached or answers with an error */
  call(path: string): Promise<Response>
  stop(): Promise<void>
}

/** Real milliseconds that an answer of the Worker may take. */
const CALL_MS = 60_000

/** Real milliseconds between the start of the exchange and that of the plan. */
const LEAD_MS = 2_500

/** Brings up exchange, database and Worker on a clock that starts at the plan's time. */
export async function openStage(plan: Plan, lane: Lane, broken?: 'flush' | 'backfill'): Promise<Stage> {
  const stops: (() => Promise<unknown>)[] = []
  const stop = async () => {
    for (const end of stops.splice(0).reverse()) await end()
  }
  try {
    const database = await lane.database()
    stops.push(() => database.drop())
    const speed = await measureSpeed()
    // The market runs already while the Worker comes up: its anchor is now, the plan starts a little later.
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
    const numbers = Object.entries(SETTINGS).map(([name, value]) => [name, String(value)])
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
      inTurn: (work) => {
        const done = turn.then(work)
        turn = done.catch(() => {})
        return done
      },
      until: (at) => {
        const wait = began + at / speed - Date.now()
        return new Promise((done) => setTimeout(done, Math.max(0, wait)))
      },
      call: async (path) => {
        const signal = AbortSignal.timeout(CALL_MS)
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
