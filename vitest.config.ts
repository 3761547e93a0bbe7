import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    // One Postgres and one simulated exchange for the whole run.
    globalSetup: ['test/support/global-setup.ts'],
    maxWorkers: 2,
    projects: [
      {
        test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 30_000, sequence: { groupOrder: 0 } },
      },
      {
        plugins: [
          cloudflareTest(({ inject }) => {
            const exchange = inject('exchange')
            // Wrangler reads a local Hyperdrive's address from here alone.
            for (const binding of ['HYPERDRIVE', 'HYPERDRIVE_CACHED'])
              process.env[`CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_${binding}`] = inject('databaseUrl')
            return {
              wrangler: { configPath: './wrangler.toml' },
              miniflare: {
                bindings: {
                  EXCHANGE: 'simulated',
                  COINBASE_WS_URL: exchange.ws,
                  COINBASE_REST_URL: exchange.rest,
                  COINBASE_EXCHANGE_URL: exchange.exchange,
                },
              },
            }
          }),
        ],
        test: {
          name: 'workers',
          include: ['test/workers/**/*.test.ts'],
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
          // After the others and one file at a time: a browser, a server and a database share the machine.
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
