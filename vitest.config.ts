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

/**
 * The driver imports the platform's sockets anew with each connection, and here each import is asked of the test runner: one
 * whose object dies meanwhile is never answered, and every later one waits for the same answer. So it is imported once.
 */
const driverSockets = {
  name: 'driver-sockets',
  transform(code: string, id: string) {
    if (!id.includes('/postgres/cf/polyfills.js')) return undefined
    const once = code.replace("await import('cloudflare:sockets')", 'sockets')
    if (once === code) throw new Error('the driver does not import its sockets where it did')
    return `import * as sockets from 'cloudflare:sockets'\n${once}`
  },
}

/**
 * Sends packages to each file's runtime without source maps, which would be two thirds of all that it gets. Vite ignores
 * the map of a transform that changes no code, so this one adds a line end.
 */
const packagesWithoutMaps = {
  name: 'packages-without-maps',
  enforce: 'post' as const,
  transform: (code: string, id: string) =>
    id.includes('/deps_ssr/') ? { code: `${code}\n`, map: { mappings: '' as const } } : null,
}

// Wrangler wants an address for every Hyperdrive before it looks at what Miniflare is given: it is never dialled.
for (const binding of ['HYPERDRIVE', 'HYPERDRIVE_CACHED'])
  process.env[`CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_${binding}`] = 'postgres://none:none@127.0.0.1:1/none'

/**
 * The files of one kind: in `--mode long` (`npm run test:long`) those that replay whole recordings, start everything, or break
 * one thing after the other; else all the rest.
 */
const filesOf = (folder: string, mode: string) =>
  mode === 'long'
    ? { include: [`test/${folder}/**/*.long.test.ts`] }
    : { include: [`test/${folder}/**/*.test.ts`], exclude: [`test/${folder}/**/*.long.test.ts`] }

/** Ends a test that hangs. No test proves anything by it, so that a busy machine has time enough. Milliseconds. */
const WATCHDOG = { testTimeout: 120_000, hookTimeout: 120_000 }

export default defineConfig(({ mode }) => ({
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
        test: { name: 'unit', ...filesOf('unit', mode), ...WATCHDOG, sequence: { groupOrder: 0 } },
      },
      {
        plugins: [
          driverSockets,
          packagesWithoutMaps,
          cloudflareTest(async ({ inject }) => {
            const stage = await openStage(inject('stagesUrl'))
            return {
              wrangler: { configPath: './wrangler.toml' },
              miniflare: {
                hyperdrives: { HYPERDRIVE: stage.databaseUrl, HYPERDRIVE_CACHED: stage.databaseUrl },
                bindings: {
                  EXCHANGE: 'simulated',
                  ...stage.simulatedUrls,
                  PROVIDERS_URL: stage.providersUrl,
                  PRODUCTS: 'BTC-USD,ETH-USD,BTC-EUR,NU-USD,DAI-USD,ONE-USD,TWO-USD,THREE-USD,FOUR-USD',
                  ALWAYS_ON: 'FOUR-USD',
                  // Cron loads more of it where that is what is tested.
                  HISTORY_PER_MINUTE: '1',
                  DATABASE_SWITCH_URL: stage.databaseSwitchUrl,
                  ADMIN_DATABASE_URL: stage.adminDatabaseUrl,
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
          ...filesOf('workers', mode),
          // One Postgres, and the stages on it.
          globalSetup: ['test/support/global-setup.ts'],
          // Each file starts a runtime and loads all the Worker: its packages come in a few modules, bundled once, as
          // they do when it is deployed. The driver's errors are told by where they were thrown (above).
          deps: {
            optimizer: {
              ssr: {
                enabled: true,
                include: workerPackages(['postgres']),
                rolldownOptions: {
                  external: [/^node:/, /^cloudflare:/],
                  output: { minify: { compress: false, mangle: false, codegen: true } },
                },
              },
            },
          },
          ...WATCHDOG,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'browser',
          ...filesOf('browser', mode),
          ...WATCHDOG,
          globalSetup: ['test/support/client-build.ts'],
          // After the others, which leave no core free, and all at once: here each file has a browser, a server and a
          // database of its own, and mostly waits.
          maxWorkers: 4,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
}))
