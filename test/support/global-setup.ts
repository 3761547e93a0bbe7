import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import type { TestProject } from 'vitest/node'
import { migrate, workerDatabaseUrl } from '../../dev/migrate.ts'
import { startPostgres } from '../../dev/postgres.ts'
import type { Exchange } from '../../simulators/exchange/exchange.ts'
import { manualProduct, PRODUCTS } from '../../simulators/exchange/products.ts'
import { startExchange } from '../../simulators/exchange/server.ts'
import type { Providers } from '../../simulators/providers/providers.ts'
import { startProviders } from '../../simulators/providers/server.ts'
import { startSupabase } from '../../simulators/supabase/server.ts'
import { simulatedUrls } from '../../simulators/urls.ts'
import { openTcpProxy, type TcpProxy } from './tcp-proxy.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** Where a test file gets its stage: POST here answers with a `Stage`. */
    stagesUrl: string
  }
}

/** The resources of one test file. */
export type Stage = {
  /** A migrated, empty database, behind a proxy. */
  databaseUrl: string
  /** The same database as its owner, for what the Worker may not do. */
  adminDatabaseUrl: string
  /** POST `{"open": false}` here cuts the database off, `{"open": true}` lets it back in. */
  databaseSwitchUrl: string
  /** The settings for its simulated exchange and providers. */
  simulatedUrls: Record<string, string>
  /** The base of the providers' control paths (`/_requests`, `/_faults`, `/_prices`). */
  providersUrl: string
  /** Accepts mails; GET returns those received, in order. */
  mailUrl: string
  /** A Supabase Auth that the accounts of every file share, and its key. */
  supabaseUrl: string
  supabaseAnonKey: string
}

/** Products of a stage's exchange that have only the trades a test sends. */
const MANUAL_PRODUCTS = ['ONE-USD', 'TWO-USD', 'THREE-USD', 'FOUR-USD'].map((id) => manualProduct(id))

/**
 * Starts the one Postgres of the run, and a server that sets up a stage for each test file: time and faults of one file
 * do not affect another. Runs in Node. Returns the teardown.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // wrangler.toml names the assets folder, which is built, so a fresh clone has none.
  mkdirSync(join(import.meta.dirname, '../../public'), { recursive: true })
  const dir = mkdtempSync(join(tmpdir(), 'kerb-test-'))
  const server = await startPostgres({ dir, fast: true })
  await migrate(server.url, 'worker')
  const admin = postgres(server.url.replace(/[^/]*$/, 'postgres'), { max: 1, fetch_types: false, onnotice: () => {} })
  const proxies: TcpProxy[] = []
  const exchanges: Exchange[] = []
  const fakes: Providers[] = []
  const mails: unknown[][] = []
  const supabase = await startSupabase()

  const openStage = async (): Promise<Stage> => {
    const name = `stage_${proxies.length}`
    const database = new URL(workerDatabaseUrl(server.url, 'worker'))
    const proxy = await openTcpProxy(Number(database.port))
    const number = proxies.push(proxy) - 1
    await admin.unsafe(`CREATE DATABASE ${name} TEMPLATE kerb`)
    database.port = String(proxy.port)
    database.pathname = `/${name}`
    const exchange = await startExchange({ seed: 'tests', products: [...PRODUCTS, ...MANUAL_PRODUCTS] })
    exchanges.push(exchange)
    const providers = await startProviders({ seed: 'tests' })
    fakes.push(providers)
    return {
      databaseUrl: database.href,
      adminDatabaseUrl: Object.assign(new URL(server.url), { port: database.port, pathname: database.pathname }).href,
      databaseSwitchUrl: `${stagesUrl}/${number}/proxy`,
      simulatedUrls: simulatedUrls(exchange, providers),
      providersUrl: providers.url,
      mailUrl: `${stagesUrl}/${number}/mail`,
      supabaseUrl: supabase.url,
      supabaseAnonKey: supabase.anonKey,
    }
  }

  const answer = async (path: string, body: string): Promise<unknown> => {
    const letterbox = /^\/(\d+)\/mail$/.exec(path)?.[1]
    if (letterbox !== undefined) {
      mails[Number(letterbox)] ??= []
      if (body !== '') mails[Number(letterbox)]?.push(JSON.parse(body))
      return mails[Number(letterbox)]
    }
    const number = /^\/(\d+)\/proxy$/.exec(path)?.[1]
    if (number === undefined) return openStage()
    const { open } = JSON.parse(body) as { open: boolean }
    proxies[Number(number)]?.setOpen(open)
    return { open }
  }

  const stages = createServer(async (request, response) => {
    try {
      let body = ''
      for await (const chunk of request) body += chunk
      response.end(JSON.stringify(await answer(request.url ?? '/', body)))
    } catch (error) {
      response.writeHead(500).end(String(error))
    }
  })
  await new Promise<void>((done) => stages.listen(0, '127.0.0.1', done))
  const stagesUrl = `http://127.0.0.1:${(stages.address() as AddressInfo).port}`
  project.provide('stagesUrl', stagesUrl)

  return async () => {
    stages.close()
    stages.closeAllConnections()
    await Promise.all([...exchanges, ...fakes, ...proxies, supabase].map((one) => one.close()))
    await admin.end({ timeout: 1 })
    await server.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}
