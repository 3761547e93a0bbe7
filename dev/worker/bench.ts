import { Hono } from 'hono'
import { withLiveDatabase } from '../../src/db/client.ts'
import worker from '../../workers/index.ts'

export * from '../../workers/index.ts'

/** What benches compare with, and what they need to begin; everything else is the Worker as deployed. */
const bench = new Hono<{ Bindings: Env }>()
  .get('/_bench/constant', (c) => c.json({ price: 93500, change24h: 2.5, source: 'cache' }))
  .get('/_bench/key', async (c) => {
    const rows = await withLiveDatabase(c.env, (sql) => sql`SELECT * FROM assets WHERE asset_id = 1`)
    return c.json(rows[0] ?? null)
  })
  .post('/_bench/cron', async (c) => {
    const cron = c.req.query('cron') ?? '* * * * *'
    await worker.scheduled({ cron, scheduledTime: Date.now(), noRetry: () => {}, type: 'scheduled' } as never, c.env)
    return c.body(null, 204)
  })

export default {
  fetch: (request, env, ctx) =>
    new URL(request.url).pathname.startsWith('/_bench/')
      ? bench.fetch(request, env, ctx)
      : worker.fetch(request, env, ctx),
} satisfies ExportedHandler<Env>
