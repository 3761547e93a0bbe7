import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { build } from 'esbuild'
import { manualProduct } from '../dev/exchange/products.ts'
import { type Exchange, startExchange } from '../dev/exchange/server.ts'
import { migrate } from '../dev/migrate.ts'
import { startPostgres } from '../dev/postgres.ts'

const ROOT = join(import.meta.dirname, '..')
const START_MS = 30_000

/** The one product of a bench: it has the trades that the bench sends, and no others. */
export const PRODUCT = 'BENCH-USD'

export type Server = {
  /** The product's own socket. */
  url: string
  /** Of workerd. */
  pid: number
  exchange: Exchange
  stop(): Promise<void>
}

const quoted = (text: string): string => JSON.stringify(text)

/** What wrangler.toml says of the runtime: the bench runs on the same. */
function compatibility(): { date: string; flags: string } {
  const toml = readFileSync(join(ROOT, 'wrangler.toml'), 'utf8')
  const date = /^compatibility_date = "(.+)"$/m.exec(toml)?.[1]
  const flags = /^compatibility_flags = (\[.+\])$/m.exec(toml)?.[1]
  if (date === undefined || flags === undefined) throw new Error('wrangler.toml has no compatibility date or flags')
  return { date, flags }
}

/** workerd's own configuration: the Worker as deployed but for what must not brake a bench, the limits per client. */
function configuration(database: URL, exchange: Exchange, objects: string, more: Record<string, string>): string {
  const { date, flags } = compatibility()
  const variables = {
    EXCHANGE: 'simulated',
    COINBASE_WS_URL: exchange.wsUrl,
    COINBASE_REST_URL: exchange.url,
    COINBASE_EXCHANGE_URL: exchange.url,
    PRODUCTS: PRODUCT,
    MAX_SOCKETS_PER_CLIENT: '100000',
    ...more,
  }
  const texts = Object.entries(variables).map(([name, value]) => `(name = ${quoted(name)}, text = ${quoted(value)})`)
  const hyperdrive = (name: string) =>
    `(name = ${quoted(name)}, hyperdrive = (designator = "postgres", database = ${quoted(database.pathname.slice(1))},
      user = ${quoted(database.username)}, password = ${quoted(database.password)}, scheme = "postgresql"))`
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "kerb", worker = (
      modules = [(name = "worker", esModule = embed "worker.js")],
      compatibilityDate = ${quoted(date)},
      compatibilityFlags = ${flags},
      durableObjectNamespaces = [
        (className = "ProductCandles", uniqueKey = "ProductCandles", enableSql = true),
        (className = "FeedSlots", uniqueKey = "FeedSlots", enableSql = true),
      ],
      durableObjectStorage = (localDisk = "objects"),
      bindings = [
        ${texts.join(',\n        ')},
        ${hyperdrive('HYPERDRIVE')},
        ${hyperdrive('HYPERDRIVE_CACHED')},
        (name = "PRODUCT_CANDLES", durableObjectNamespace = "ProductCandles"),
        (name = "FEED_SLOTS", durableObjectNamespace = "FeedSlots"),
        (name = "REQUEST_LIMIT", service = "no-limit"),
        (name = "SOCKET_LIMIT", service = "no-limit"),
        (name = "ASSETS", service = "no-limit"),
      ],
    )),
    (name = "no-limit", worker = (
      modules = [(name = "worker", esModule = embed "no-limit.js")],
      compatibilityDate = ${quoted(date)},
    )),
    (name = "objects", disk = (path = ${quoted(objects)}, writable = true)),
    (name = "postgres", external = (address = ${quoted(database.host)}, tcp = ())),
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "kerb")],
);
`
}

const NO_LIMIT = `import { WorkerEntrypoint } from 'cloudflare:workers'
export default class extends WorkerEntrypoint {
  limit() { return { success: true } }
  fetch() { return new Response(null, { status: 404 }) }
}
`

/** Starts workerd on a configuration and waits until it says where it listens. */
async function startWorkerd(dir: string): Promise<{ pid: number; port: number; stop(): Promise<void> }> {
  const binary = join(createRequire(import.meta.url).resolve('workerd/package.json'), '../bin/workerd')
  const child = spawn(binary, ['serve', 'config.capnp', '--control-fd=3'], {
    cwd: dir,
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  })
  const killAtExit = () => child.kill('SIGKILL')
  process.on('exit', killAtExit)
  let said = ''
  child.stderr!.on('data', (chunk) => {
    if (said.length < 10_000) said += chunk
  })
  const port = await new Promise<number>((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`workerd did not start: ${said}`)), START_MS)
    child.once('error', fail)
    child.once('exit', () => fail(new Error(`workerd ended: ${said}`)))
    ;(child.stdio[3] as Readable).on('data', (chunk) => {
      const port = /"port":(\d+)/.exec(String(chunk))?.[1]
      if (port === undefined) return
      clearTimeout(timer)
      done(Number(port))
    })
  })
  return {
    pid: child.pid as number,
    port,
    async stop() {
      process.off('exit', killAtExit)
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      // Asked politely it would wait for the feed's socket, and what it keeps goes with its folder.
      child.kill('SIGKILL')
      await exited
    },
  }
}

/**
 * The Worker under plain workerd, its database and its exchange, all on loopback and in a folder that goes with them.
 * @param speed market milliseconds per millisecond: other than 1, the object's clock and the exchange's run faster
 */
export async function startServer(speed = 1): Promise<Server> {
  const anchor = Date.now()
  const dir = mkdtempSync(join(tmpdir(), 'kerb-bench-'))
  const stops: (() => unknown)[] = [() => rmSync(dir, { recursive: true, force: true })]
  const stop = async () => {
    for (const end of stops.splice(0).reverse()) await end()
  }
  try {
    const exchange = await startExchange({ products: [manualProduct(PRODUCT)], speed, anchor })
    stops.push(() => exchange.close())
    const database = await startPostgres({ dir: join(dir, 'postgres'), fast: true })
    stops.push(() => database.stop())
    await migrate(database.url)
    const objects = join(dir, 'objects')
    mkdirSync(objects)
    const clock: Record<string, string> = speed === 1 ? {} : { CLOCK_SPEED: `${speed}`, CLOCK_ANCHOR: `${anchor}` }
    writeFileSync(join(dir, 'config.capnp'), configuration(new URL(database.url), exchange, objects, clock))
    writeFileSync(join(dir, 'no-limit.js'), NO_LIMIT)
    await build({
      entryPoints: [join(ROOT, speed === 1 ? 'workers/index.ts' : 'dev/worker/fast.ts')],
      outfile: join(dir, 'worker.js'),
      bundle: true,
      format: 'esm',
      target: 'es2024',
      conditions: ['workerd', 'worker', 'browser'],
      external: ['cloudflare:*', 'node:*'],
      logLevel: 'error',
    })
    const workerd = await startWorkerd(dir)
    stops.push(() => workerd.stop())
    return { url: `ws://127.0.0.1:${workerd.port}/ws/products/${PRODUCT}`, pid: workerd.pid, exchange, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
