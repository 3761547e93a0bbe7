import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inject } from 'vitest'
import { migrate, workerDatabaseUrl } from '../../dev/migrate.ts'
import { startPostgres } from '../../dev/postgres.ts'
import { startWorker } from '../../dev/wrangler.ts'
import type { Exchange } from '../../simulators/exchange/exchange.ts'
import type { ProductSpec } from '../../simulators/exchange/products.ts'
import { startExchange } from '../../simulators/exchange/server.ts'
import type { Providers } from '../../simulators/providers/providers.ts'
import { startProviders } from '../../simulators/providers/server.ts'
import { simulatedUrls } from '../../simulators/urls.ts'
import { openTcpProxy, type TcpProxy } from './tcp-proxy.ts'

/** A market's clock that runs faster than the machine's: `speed` and `anchor` as in `ExchangeOptions`. */
export type MarketClock = { speed: number; anchor: number }

/** A complete Kerb for a browser: the Worker under `wrangler dev`, its exchange, providers and database. */
export type KerbServer = {
  /** The Worker's URL, through the proxy. */
  url: string
  /** When closed, it drops every connection between browsers and Worker, and refuses new ones. */
  proxy: TcpProxy
  exchange: Exchange
  providers: Providers
  databaseUrl: string
  stop(): Promise<void>
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done, fail) => server.once('error', fail).listen(0, '127.0.0.1', done))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  return port
}

/** All results. Waits for all even if one fails, so that everything started can be stopped. */
async function all<T extends unknown[]>(work: { [I in keyof T]: Promise<T[I]> }): Promise<T> {
  await Promise.allSettled(work)
  return (await Promise.all(work)) as T
}

/**
 * Builds the browser's code, and starts a database, an exchange with these products, fake providers of quotes, and a
 * Worker on all of them.
 * @param vars variables of the Worker beside those that name the exchange and the providers.
 * @param clock of the exchange and of the Worker's objects. The rest of the Worker stays on the machine's, and has no
 * cron: the products are known by the settings alone.
 * @throws when one of them does not start; nothing is left running then.
 */
export async function startServer(
  products: readonly ProductSpec[],
  vars: Record<string, string>,
  clock?: MarketClock,
): Promise<KerbServer> {
  const state = await mkdtemp(join(tmpdir(), 'kerb-server-'))
  const started: (() => unknown)[] = [() => rm(state, { recursive: true, force: true })]
  const stop = async () => {
    for (const end of started.splice(0).reverse()) await end()
  }
  try {
    const startMarket = async () => {
      const exchange = await startExchange({ seed: 'browser', products, ...clock })
      started.push(() => exchange.close())
      const providers = await startProviders({ seed: 'browser', now: exchange.now })
      started.push(() => providers.close())
      return { exchange, providers }
    }
    const hasClient = async () => {
      const built = await fetch(inject('clientBuildUrl'), { method: 'POST' })
      if (!built.ok) throw new Error(`build: ${await built.text()}`)
    }
    const startDatabase = async () => {
      const postgres = await startPostgres({ dir: join(state, 'postgres'), fast: true })
      started.push(() => postgres.stop())
      return postgres
    }
    const [{ exchange, providers }, postgres] = await all([startMarket(), startDatabase(), hasClient()])
    const port = await freePort()
    const running = startWorker({
      port,
      ...(clock && { entry: 'dev/worker/fast.ts' }),
      vars: {
        ...(clock && { CLOCK_SPEED: String(clock.speed), CLOCK_ANCHOR: String(clock.anchor) }),
        EXCHANGE: 'simulated',
        ...simulatedUrls(exchange, providers),
        ...vars,
      },
      databaseUrl: workerDatabaseUrl(postgres.url, 'worker'),
      state: join(state, 'worker'),
      log: () => {},
    })
    await all([running.then((worker) => started.push(() => worker.stop())), migrate(postgres.url, 'worker')])
    const proxy = await openTcpProxy(port)
    started.push(() => proxy.close())
    if (!clock) await fillProducts(port)
    return { url: `http://127.0.0.1:${proxy.port}`, proxy, exchange, providers, databaseUrl: postgres.url, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Cron fills the list of products; `wrangler dev` fires none by itself. */
async function fillProducts(port: number): Promise<void> {
  const fired = await fetch(`http://127.0.0.1:${port}/cdn-cgi/local/scheduled?cron=*+*+*+*+*`)
  if (!fired.ok) throw new Error(`cron: ${fired.status} ${await fired.text()}`)
}
