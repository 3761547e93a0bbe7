import { mkdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { unstable_readConfig } from 'wrangler'
import { startExchange } from '../simulators/exchange/server.ts'
import { startProviders } from '../simulators/providers/server.ts'
import { simulatedUrls } from '../simulators/urls.ts'
import { readCoinbaseKey } from '../src/auth/coinbase-jwt.ts'
import { readSettings } from '../src/config.ts'
import { formatBuildError, watchClient } from './build.ts'
import { startCron } from './cron.ts'
import { migrate, workerDatabaseUrl } from './migrate.ts'
import { startPostgres } from './postgres.ts'
import { secretFiles } from './secrets.ts'
import { ROOT, readVariables, stateFolder, type Variables } from './variables.ts'
import { startWorker } from './wrangler.ts'

/** How long Coinbase may take to answer before it counts as out of reach. */
const PROBE_TIMEOUT_MS = 4_000

const print = (line: string) => console.log(line)
const warn = (line: string) => console.error(line)

/** The started parts and how to end them: in reverse order, so that each ends before those it depends on. */
const stopHooks: (() => unknown)[] = []
let stopping: Promise<void> | null = null

async function stopAll(): Promise<void> {
  for (const stop of stopHooks.reverse()) {
    try {
      await stop()
    } catch (error) {
      warn(`stop: ${(error as Error).message}`)
    }
  }
}

async function exitWith(code: number): Promise<never> {
  stopping ??= stopAll()
  await stopping
  process.exit(code)
}

/** Runs one step of the start; its failure names the step. */
async function runStep<T>(name: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw new Error(`${name}: ${(error as Error).message}`, { cause: error })
  }
}

/** The port asked for, if nothing listens there; 0 takes any that is free. */
async function freePort(wanted: string): Promise<number> {
  const port = Number(wanted)
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new Error(`"${wanted}" is no port`)
  const server = createServer()
  await new Promise<void>((done, fail) => server.once('error', fail).listen(port, '127.0.0.1', done)).catch((error) => {
    throw error.code === 'EADDRINUSE' ? new Error(`port ${port} is taken; PORT chooses another`) : error
  })
  const address = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  return address.port
}

type ExchangeChoice = { exchange: 'coinbase' | 'simulated'; reason: string }

function configuredExchange({ KERB_EXCHANGE: given }: Variables): ExchangeChoice | null {
  if (given === undefined) return null
  if (given === 'coinbase' || given === 'simulated') return { exchange: given, reason: ' (KERB_EXCHANGE)' }
  throw new Error(`KERB_EXCHANGE: "${given}" is neither coinbase nor simulated`)
}

/** Coinbase if it answers, else the simulated one. */
async function probeCoinbase(rest: string): Promise<ExchangeChoice> {
  try {
    const response = await fetch(`${rest}/api/v3/brokerage/market/products?limit=1`, {
      signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
    })
    if (response.ok) return { exchange: 'coinbase', reason: '' }
    return { exchange: 'simulated', reason: ` (Coinbase answers ${response.status})` }
  } catch {
    return { exchange: 'simulated', reason: ' (Coinbase cannot be reached)' }
  }
}

/**
 * The addresses of the exchange and of the providers for the Worker; the simulated ones are started here,
 * together: prices of the one must never stand beside those of the other's world.
 */
async function exchangeAddresses(
  exchange: ExchangeChoice['exchange'],
  env: Variables,
): Promise<Record<string, string>> {
  if (exchange === 'coinbase') return {}
  const simulatedExchange = await startExchange({ seed: env.SEED })
  stopHooks.push(() => simulatedExchange.close())
  const providers = await startProviders({ seed: env.SEED })
  stopHooks.push(() => providers.close())
  return simulatedUrls(simulatedExchange, providers)
}

async function start(): Promise<void> {
  const env = readVariables()
  const config = unstable_readConfig({ config: join(ROOT, 'wrangler.toml') })
  const known = readSettings({ ...config.vars, ...env, EXCHANGE: undefined })
  if (known.COINBASE_API_KEY !== undefined && known.COINBASE_PRIVATE_KEY !== undefined) {
    const key = await readCoinbaseKey(known.COINBASE_API_KEY, known.COINBASE_PRIVATE_KEY)
    if (!key.ok) warn(`keys: ${key.message}; market data comes without them`)
  }
  // Settings of this shell go to the Worker too; secrets only by .dev.vars, since arguments can be read by anyone.
  const own = Object.keys(known).filter((name) => process.env[name] && !/_(?:SECRET|KEY(?:_PREVIOUS)?)$/.test(name))
  const port = await freePort(env.PORT ?? '8787')
  // Once, for the whole run; the answer is awaited where it is needed.
  const choice = configuredExchange(env) ?? probeCoinbase(known.COINBASE_REST_URL)
  const state = stateFolder(env)
  mkdirSync(state, { recursive: true })

  let databaseUrl = env.DATABASE_URL
  let workerPassword = env.WORKER_PASSWORD
  if (databaseUrl === undefined) {
    print('postgres: starting')
    const server = await runStep('postgres', () => startPostgres({ dir: join(state, 'postgres'), log: print }))
    stopHooks.push(() => server.stop())
    databaseUrl = server.url
    workerPassword ??= new URL(server.url).password
  }
  const migrated = await runStep('migrate', () => migrate(databaseUrl, workerPassword))
  print(
    `postgres: ready at ${new URL(databaseUrl).host}${migrated.length > 0 ? `, migrated ${migrated.join(', ')}` : ''}`,
  )

  await runStep('build', async () => {
    try {
      stopHooks.push(await watchClient(warn))
    } catch (failure) {
      throw new Error(formatBuildError(failure))
    }
  })
  print('build: done, watching')

  const { exchange, reason } = await choice
  const addresses = await runStep('exchange', () => exchangeAddresses(exchange, env))
  print(`exchange: ${exchange}${reason}`)
  if (addresses.YAHOO_URL) print(`providers: simulated, faults at ${new URL(addresses.YAHOO_URL).origin}/_faults`)

  const vars = { ...Object.fromEntries(own.map((name) => [name, process.env[name] as string])), ...addresses }
  const worker = await runStep('worker', () =>
    startWorker({
      port,
      vars: { MAIL_URL: known.MAIL_URL ?? 'console', ...vars, EXCHANGE: exchange },
      files: secretFiles(state),
      databaseUrl: workerPassword === undefined ? databaseUrl : workerDatabaseUrl(databaseUrl, workerPassword),
      // An object's state is its exchange's: what one market left must not be continued by the other.
      state: join(state, exchange),
      log: print,
    }),
  )
  stopHooks.push(() => worker.stop())
  void worker.exited.then(() => {
    if (stopping) return
    warn('worker: wrangler has ended by itself')
    void exitWith(1)
  })
  const url = `http://127.0.0.1:${port}`
  stopHooks.push(startCron(url, config.triggers.crons ?? [], warn))
  print(`ready: ${url}`)
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void exitWith(0))

start().catch((error: Error) => {
  // Ended by a signal meanwhile: then a step fails because what it needed is gone.
  if (!stopping) warn(error.message.replaceAll(/\s*\n\s*/g, ' '))
  void exitWith(1)
})
