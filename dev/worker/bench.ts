import { Hono } from 'hono'
import { QuoteBoard as RealQuoteBoard } from '../../durable-objects/quotes/quote-board.ts'
import type { QuoteRemotes } from '../../durable-objects/quotes/remotes.ts'
import { withLiveDatabase } from '../../src/db/client.ts'
import { type QuoteOutcome, quoteBoard } from '../../src/objects.ts'
import { app } from '../../workers/app.ts'
import worker from '../../workers/index.ts'

export * from '../../workers/index.ts'

/** A price of an asset, by its number and its name at Yahoo. */
type BenchPrice = { asset_id: number; provider_id: string; price: string }

/** The deployed object; a price set by hand reaches it like a provider's response, without a request to a provider. */
export class QuoteBoard extends RealQuoteBoard {
  #price: BenchPrice | null = null

  /** Does nothing: measures the way here and back. */
  async touch(): Promise<void> {}

  async take(price: BenchPrice): Promise<void> {
    this.#price = price
    const { failed } = await this.refresh([`YAHOO:${price.provider_id}`])
    this.#price = null
    if (failed > 0) throw new Error(`${price.provider_id} could not be refreshed`)
  }

  protected override remotes(): QuoteRemotes {
    const remotes = super.remotes()
    return { ...remotes, gate: () => this.#gate(remotes.gate()) }
  }

  #gate(gate: ReturnType<QuoteRemotes['gate']>): ReturnType<QuoteRemotes['gate']> {
    const given = this.#price
    if (given === null) return gate
    const as_of = new Date().toISOString()
    const quote = {
      id: given.provider_id,
      price: given.price,
      currency: 'USD',
      previous_close: '100',
      change24h: null,
      market_state: 'open' as const,
      market: 'us_market',
      open: null,
      high: null,
      low: null,
      volume: null,
      eps: null,
      pe_ratio: null,
      as_of,
    }
    return {
      find: (name) => gate.find(name),
      quotes: async (requests): Promise<QuoteOutcome[]> =>
        requests.map(({ asset_id }) => ({ asset_id, ok: true, provider: 'yahoo', quote })),
    }
  }
}

const CONSTANT_BODY = { price: 93500, change24h: 2.5, updatedAt: '2025-12-04T00:00:00Z', source: 'cache' }

// Behind the same limits and logs as every route.
app.get('/constant', (c) => c.json(CONSTANT_BODY))

/** The platform's types of a stub know the deployed class alone. */
const quoteBoardStub = (env: Env) => quoteBoard(env, 0) as unknown as Pick<QuoteBoard, 'take' | 'touch'>

/** Routes for comparison and set-up of benches; everything else is the Worker as deployed. */
const bench = new Hono<{ Bindings: Env }>()
  .get('/_bench/bare', (c) => c.json(CONSTANT_BODY))
  .get('/_bench/key', async (c) => {
    const rows = await withLiveDatabase(c.env, (sql) => sql`SELECT * FROM assets WHERE asset_id = 1`)
    return c.json(rows[0] ?? null)
  })
  // So many bare round trips to the database one after the other, over one connection that is open.
  .get('/_bench/round-trips', async (c) => {
    const count = Number(c.req.query('count'))
    await withLiveDatabase(c.env, async (sql) => {
      for (let n = 0; n < count; n++) await sql`SELECT 1`
    })
    return c.body(null, 204)
  })
  .post('/_bench/touch', async (c) => {
    await c.req.json<BenchPrice>()
    await quoteBoardStub(c.env).touch()
    return c.body(null, 204)
  })
  .post('/_bench/price', async (c) => {
    await quoteBoardStub(c.env).take(await c.req.json<BenchPrice>())
    return c.body(null, 204)
  })
  .post('/_bench/cron', async (c) => {
    await worker.scheduled({ cron: '* * * * *', scheduledTime: Date.now(), noRetry: () => {} }, c.env)
    return c.body(null, 204)
  })

/** The Worker, and beside it the addresses of benches. */
export default {
  fetch: (request: Request, env: Env, ctx: ExecutionContext) =>
    new URL(request.url).pathname.startsWith('/_bench/')
      ? bench.fetch(request, env, ctx)
      : worker.fetch(request, env, ctx),
}
