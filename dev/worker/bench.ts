import { Hono } from 'hono'
import { app } from '../../src/api/app.ts'
import { withLiveDatabase } from '../../src/db/client.ts'
import worker from '../../workers/index.ts'

export * from '../../workers/index.ts'

const constant = { price: 93500, change24h: 2.5, updatedAt: '2025-12-04T00:00:00Z', source: 'cache' }

// Behind the same limits and logs as every route.
app.get('/constant', (c) => c.json(constant))

/** What benches compare with, and what they need to begin; everything else is the Worker as deployed. */
const bench = new Hono<{ Bindings: Env }>()
  .get('/_bench/bare', (c) => c.json(constant))
  .get('/_bench/key', async (c) => {
    const rows = await withLiveDatabase(c.env, (sql) => sql`SELECT * FROM assets WHERE asset_id = 1`)
    return c.json(rows[0] ?? null)
  })
  .post('/_bench/cron', async (c) => {
    await worker.scheduled({ cron: '* * * * *', scheduledTime: Date.now(), noRetry: () => {} }, c.env)
    return c.body(null, 204)
  })

/** The Worker, and beside it the addresses of benches. */
export const benched = {
  fetch: (request: Request, env: Env, ctx: ExecutionContext) =>
    new URL(request.url).pathname.startsWith('/_bench/')
      ? bench.fetch(request, env, ctx)
      : worker.fetch(request, env, ctx),
}

export default benched
