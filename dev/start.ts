import { mkdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { unstable_readConfig } from 'wrangler'
import { startExchange } from '../simulators/exchange/server.ts'
import { startProviders } from '../simulators/providers/server.ts'
import { coinbaseKey } from '../src/auth/coinbase-jwt.ts'
import { settings } from '../src/config.ts'
import { complaint, watchClient } from './build.ts'
import { startCron } from './cron.ts'
import { migrate } from './migrate.ts'
import { startPostgres } from './postgres.ts'
import { secretFiles } from './secrets.ts'
import { ROOT, stateFolder, type Variables, variables } from './variables.ts'
import { startWorker } from './wrangler.ts'

/** How long Coinbase may take to answer before it counts as out of reach. */
const PROBE_MS = 4_000

const say = (line: string) => console.log(line)
const warn = (line: string) => console.error(line)

/** What has been started, and how to end it: in reverse, so that nothing loses what it stands on. */
const started: (() => unknown)[] = []
let stopping: Promise<void> | null = null

async function stopAll(): Promise<void> {
  for (const stop of started.reverse()) {
    try {
      await stop()
    } catch (error) {
      warn(`stop: ${(error as Error).message}`)
    }
  }
}

async function end(code: number): Promise<never> {
  stopping ??= stopAll()
  await stopping
  process.exit(code)
}

/** Runs one step of the start; its failure names the step. */
async function step<T>(name: string, run: () => Promise<T>): Promise<T> {
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

type Choice = { exchange: 'coinbase' | 'simulated'; reason: string }

function givenExchange({ KERB_EXCHANGE: given }: Variables): Choice | null {
  if (given === undefined) return null
  if (given === 'coinbase' || given === 'simulated') return { exchange: given, reason: ' (KERB_EXCHANGE)' }
  throw new Error(`KERB_EXCHANGE: "${given}" is neither coinbase nor simulated`)
}

/** Coinbase if it answers, else the simulated one. */
async function probeCoinbase(rest: string): Promise<Choice> {
  try {
    const response = await fetch(`${rest}/api/v3/brokerage/market/products?limit=1`, {
      signal: AbortSignal.timeout(PROBE_MS),
    })
    if (response.ok) return { exchange: 'coinbase', reason: '' }
    return { exchange: 'simulated', reason: ` (Coinbase answers ${response.status})` }
  } catch {
    return { exchange: 'simulated', reason: ' (Coinbase cannot be reached)' }
  }
}

/**
 * The addresses that the Worker finds its exchange at, and those who tell quotes; the simulated ones are started here,
 * together: prices of the one must never stand beside those of the other's world.
 */
async function exchangeAddresses(exchange: Choice['exchange'], env: Variables): Promise<Record<string, string>> {
  if (exchange === 'coinbase') return {}
  const simulated = await startExchange({ seed: env.SEED })
  started.push(() => simulated.close())
  const providers = await startProviders({ seed: env.SEED })
  started.push(() => providers.close())
  return {
    COINBASE_WS_URL: simulated.wsUrl,
    COINBASE_REST_URL: simulated.url,
    COINBASE_EXCHANGE_URL: simulated.url,
    YAHOO_URL: providers.yahooUrl,
    BINANCE_URL: providers.binanceUrl,
    TWELVEDATA_URL: providers.twelvedataUrl,
    COINMARKETCAP_URL: providers.coinmarketcapUrl,
  }
}

async function start(): Promise<void> {
  const env = variables()
  const config = unstable_readConfig({ config: join(ROOT, 'wrangler.toml') })
  const known = settings({ ...config.vars, ...env, EXCHANGE: undefined })
  if (known.COINBASE_API_KEY !== undefined && known.COINBASE_PRIVATE_KEY !== undefined) {
    const key = await coinbaseKey(known.COINBASE_API_KEY, known.COINBASE_PRIVATE_KEY)
    if (!key.ok) warn(`keys: ${key.message}; market data comes without them`)
  }
  // Settings of this shell go to the Worker too; secrets only by .dev.vars, since arguments can be read by anyone.
  const own = Object.keys(known).filter((name) => process.env[name] && !/_(?:SECRET|KEY(?:_PREVIOUS)?)$/.test(name))
  const port = await freePort(env.PORT ?? '8787')
  // Once, for the whole run; the answer is awaited where it is needed.
  const choice = givenExchange(env) ?? probeCoinbase(known.COINBASE_REST_URL)
  const state = stateFolder(env)
  mkdirSync(state, { recursive: true })

  let databaseUrl = env.DATABASE_URL
  if (databaseUrl === undefined) {
    say('postgres: starting')
    const server = await step('postgres', () => startPostgres({ dir: join(state, 'postgres'), log: say }))
    started.push(() => server.stop())
    databaseUrl = server.url
  }
  const migrated = await step('migrate', () => migrate(databaseUrl))
  say(
    `postgres: ready at ${new URL(databaseUrl).host}${migrated.length > 0 ? `, migrated ${migrated.join(', ')}` : ''}`,
  )

  await step('build', async () => {
    try {
      started.push(await watchClient(warn))
    } catch (failure) {
      throw new Error(complaint(failure))
    }
  })
  say('build: done, watching')

  const { exchange, reason } = await choice
  const addresses = await step('exchange', () => exchangeAddresses(exchange, env))
  say(`exchange: ${exchange}${reason}`)
  if (addresses.YAHOO_URL) say(`providers: simulated, faults at ${new URL(addresses.YAHOO_URL).origin}/_faults`)

  const vars = { ...Object.fromEntries(own.map((name) => [name, process.env[name] as string])), ...addresses }
  const worker = await step('worker', () =>
    startWorker({
      port,
      vars: { MAIL_URL: known.MAIL_URL ?? 'console', ...vars, EXCHANGE: exchange },
      files: secretFiles(state),
      databaseUrl,
      // An object's state is its exchange's: what one market left must not be continued by the other.
      state: join(state, exchange),
      log: say,
    }),
  )
  started.push(() => worker.stop())
  void worker.exited.then(() => {
    if (stopping) return
    warn('worker: wrangler has ended by itself')
    void end(1)
  })
  const url = `http://127.0.0.1:${port}`
  started.push(startCron(url, config.triggers.crons ?? [], warn))
  say(`ready: ${url}`)
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void end(0))

start().catch((error: Error) => {
  // Ended by a signal meanwhile: then a step fails because what it needed is gone.
  if (!stopping) warn(error.message.replaceAll(/\s*\n\s*/g, ' '))
  void end(1)
})
