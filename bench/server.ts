import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { migrate, workerDatabaseUrl } from '../dev/migrate.ts'
import { startPostgres } from '../dev/postgres.ts'
import { serveWorkerd } from '../dev/workerd.ts'
import type { Exchange } from '../simulators/exchange/exchange.ts'
import { manualProduct, PRODUCTS } from '../simulators/exchange/products.ts'
import { startExchange } from '../simulators/exchange/server.ts'
import type { Providers } from '../simulators/providers/providers.ts'
import { startProviders } from '../simulators/providers/server.ts'
import { simulatedUrls } from '../simulators/urls.ts'

/** The one product of a bench: it has the trades that the bench sends, and no others. */
export const PRODUCT = 'BENCH-USD'

export type BenchServer = {
  /** Base of the HTTP API, and the product's own socket. */
  url: string
  socketUrl: string
  databaseUrl: string
  /** Of workerd. */
  pid: number
  exchange: Exchange
  providers: Providers
  stop(): Promise<void>
}

/** The differences from the Worker as deployed. `speed`: market milliseconds per millisecond (`dev/worker/fast.ts`). */
export type ServerOptions = { speed?: number; entry?: string; vars?: Record<string, string> }

/** The Worker under plain workerd, its database and its exchange, all on loopback and in a folder that goes with them. */
export async function startServer({
  speed = 1,
  entry = speed === 1 ? 'workers/index.ts' : 'dev/worker/fast.ts',
  vars = {},
}: ServerOptions = {}): Promise<BenchServer> {
  const anchor = Date.now()
  const dir = mkdtempSync(join(tmpdir(), 'kerb-bench-'))
  const stops: (() => unknown)[] = [() => rmSync(dir, { recursive: true, force: true })]
  const stop = async () => {
    for (const end of stops.splice(0).reverse()) await end()
  }
  try {
    const exchange = await startExchange({ products: [...PRODUCTS, manualProduct(PRODUCT)], speed, anchor })
    stops.push(() => exchange.close())
    const providers = await startProviders({ seed: 'bench', now: () => exchange.now() })
    stops.push(() => providers.close())
    const database = await startPostgres({ dir: join(dir, 'postgres'), fast: true })
    stops.push(() => database.stop())
    await migrate(database.url, 'worker')
    const worker = await serveWorkerd({
      entry,
      databaseUrl: workerDatabaseUrl(database.url, 'worker'),
      log: 'nothing',
      vars: {
        EXCHANGE: 'simulated',
        ...simulatedUrls(exchange, providers),
        PRODUCTS: PRODUCT,
        MAX_SOCKETS_PER_CLIENT: '100000',
        ...(speed === 1 ? {} : { CLOCK_SPEED: `${speed}`, CLOCK_ANCHOR: `${anchor}` }),
        ...vars,
      },
    })
    stops.push(() => worker.stop())
    const socketUrl = `${worker.url.replace('http', 'ws')}/ws/products/${PRODUCT}`
    return { url: worker.url, socketUrl, databaseUrl: database.url, pid: worker.pid, exchange, providers, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
