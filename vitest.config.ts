import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { defineConfig } from 'vitest/config'
import type { Stage } from './test/support/global-setup.ts'
import { workerPackages } from './test/support/packages.ts'

/** Asked once for each test file: its own database, exchange and providers. */
async function openStage(stagesUrl: string): Promise<Stage> {
  const response = await fetch(stagesUrl, { method: 'POST' })
  if (!response.ok) throw new Error(`no stage for a test file: ${await response.text()}`)
  return (await response.json()) as Stage
}

// Wrangler wants an address for every Hyperdrive before it looks at what Miniflare is given: it is never dialled.
for (const binding of ['HYPERDRIVE', 'HYPERDRIVE_CACHED'])
  process.env[`CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_${binding}`] = 'postgres://none:none@127.0.0.1:1/none'

export default defineConfig({
  test: {
    maxWorkers: 2,
    // The Worker logs each request: what a test that passes has logged tells nothing.
    silent: 'passed-only',
    // When a connection is lost, the driver's socket for Workers leaves promises of streams that it never looks at
    // (`writer.ready`, `raw.opened`) rejected. The loss itself reaches the query that runs, and is told there. Some of
    // them the runtime rejects without a stack, in its own words.
    onUnhandledError: (error) =>
      !error.stack?.includes('/postgres/cf/polyfills.js') && error.message !== 'Network connection lost.',
    projects: [
      {
        test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 30_000, sequence: { groupOrder: 0 } },
      },
      {
        plugins: [
          cloudflareTest(async ({ inject }) => {
            const stage = await openStage(inject('stagesUrl'))
            return {
              wrangler: { configPath: './wrangler.toml' },
              miniflare: {
                hyperdrives: { HYPERDRIVE: stage.databaseUrl, HYPERDRIVE_CACHED: stage.databaseUrl },
                bindings: {
                  EXCHANGE: 'simulated',
                  COINBASE_WS_URL: stage.exchangeWsUrl,
                  COINBASE_REST_URL: stage.exchangeUrl,
                  COINBASE_EXCHANGE_URL: stage.exchangeUrl,
                  YAHOO_URL: stage.yahooUrl,
                  BINANCE_URL: stage.binanceUrl,
                  TWELVEDATA_URL: stage.twelvedataUrl,
                  COINMARKETCAP_URL: stage.coinmarketcapUrl,
                  PROVIDERS_URL: stage.providersUrl,
                  PRODUCTS: 'BTC-USD,ETH-USD,BTC-EUR,NU-USD,DAI-USD,ONE-USD,TWO-USD,THREE-USD,FOUR-USD',
                  ALWAYS_ON: 'FOUR-USD',
                  // Cron loads more of it where that is what is tested.
                  HISTORY_PER_MINUTE: '1',
                  GATE_URL: stage.gateUrl,
                  AUTH_SECRET: 'a secret of tests alone, which opens nothing',
                  MAIL_URL: stage.mailUrl,
                  TEST_SUPABASE_URL: stage.supabaseUrl,
                  TEST_SUPABASE_ANON_KEY: stage.supabaseAnonKey,
                },
              },
            }
          }),
        ],
        test: {
          name: 'workers',
          include: ['test/workers/**/*.test.ts'],
          setupFiles: ['test/workers/setup.ts'],
          // One Postgres, and the stages on it.
          globalSetup: ['test/support/global-setup.ts'],
          // Each file starts a runtime and loads all the Worker: its packages come in a few modules, bundled once, as
          // they do when it is deployed. The driver's errors are told by where they were thrown (above).
          deps: {
            optimizer: {
              ssr: {
                enabled: true,
                include: workerPackages(['postgres']),
                rolldownOptions: { external: [/^node:/, /^cloudflare:/] },
              },
            },
          },
          testTimeout: 30_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          globalSetup: ['test/support/client-build.ts'],
          // After the others, which leave no core free: here each file has a browser, a server and a database, and two
          // of them mostly wait.
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
