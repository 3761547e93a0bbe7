import { FeedSlots } from '../../durable-objects/candles/feed-slots.ts'
import { ProductCandles as RealProductCandles } from '../../durable-objects/candles/product-candles.ts'
import { Meter } from '../../durable-objects/meter.ts'
import { UserPortfolio } from '../../durable-objects/portfolio/user-portfolio.ts'
import { ProviderGate } from '../../durable-objects/providers/provider-gate.ts'
import { QuoteBoard } from '../../durable-objects/quotes/quote-board.ts'
import type { Revision } from '../../src/market/revision.ts'
import { parseObjectName, productCandles } from '../../src/objects.ts'
import type { Candle, Gap } from '../../src/protocol/candle.ts'
import { GRANULARITIES } from '../../src/protocol/granularity.ts'
import type { Step } from '../../test/faults/steps.ts'
import { app } from '../../workers/app.ts'

export { FeedSlots, Meter, ProviderGate, QuoteBoard, UserPortfolio }

/** The market's clock (see `ExchangeOptions`), and what this Worker is to do wrong for a test of the suite itself. */
type Variables = {
  CLOCK_SPEED: string
  CLOCK_ANCHOR: string
  CLOCK_SHIFT: string
  /** Set: the ids of the trades that the feed brings are noted. */
  RECORD?: string
  BREAK?: 'flush' | 'backfill'
}

const variablesOf = (env: Env): Variables => env as unknown as Variables

/** By product: the base class looks at the clock before a field of the subclass exists. */
const plannedKills = new Map<string, { step: Step; left: number }>()
/** By product: how often its object was killed. */
const deaths = new Map<string, number>()
/** By product: the ids of trades in the feed's messages. */
const receivedTradeIds = new Map<string, Set<number>>()

type Clock = { speed: number; anchor: number; shift: number }
/** Parsed once per process: every object has the same clock, and every event reads it. */
let clock: Clock | null = null

function clockOf(env: Env): Clock {
  if (clock === null) {
    const { CLOCK_SPEED, CLOCK_ANCHOR, CLOCK_SHIFT } = variablesOf(env)
    clock = { speed: Number(CLOCK_SPEED), anchor: Number(CLOCK_ANCHOR), shift: Number(CLOCK_SHIFT) }
  }
  return clock
}

const productOf = (ctx: DurableObjectState): string => parseObjectName(ctx)

/** Kills the object if this is the step at which it has to die. */
function reachStep(ctx: DurableObjectState, step: Step): void {
  if (plannedKills.size === 0) return
  const product = productOf(ctx)
  const doom = plannedKills.get(product)
  if (doom?.step !== step || --doom.left > 0) return
  plannedKills.delete(product)
  deaths.set(product, (deaths.get(product) ?? 0) + 1)
  ctx.abort(`killed at ${step}`)
}

/** Every transaction, and every send to a viewer, passes a step before and after. */
function instrumented(ctx: DurableObjectState): DurableObjectState {
  const transaction = ctx.storage.transactionSync.bind(ctx.storage)
  ctx.storage.transactionSync = <T>(run: () => T): T => {
    reachStep(ctx, 'sqlite-before')
    const result = transaction(run)
    reachStep(ctx, 'sqlite-after')
    return result
  }
  const accept = ctx.acceptWebSocket.bind(ctx)
  ctx.acceptWebSocket = (socket, tags) => {
    accept(socket, tags)
    const send = socket.send.bind(socket)
    socket.send = (message) => {
      reachStep(ctx, 'broadcast-before')
      send(message)
      reachStep(ctx, 'broadcast-after')
    }
  }
  return ctx
}

/** Records the trades of a message as sent, without the reader under test. */
function record(product: string, text: string): void {
  const ids = receivedTradeIds.get(product) ?? new Set()
  receivedTradeIds.set(product, ids)
  // Of messages that are not valid, none has an id above 7.
  for (const [, digits] of text.matchAll(/"trade_id":"(\d+)"/g)) ids.add(Number(digits))
}

/** The very object on a clock that runs faster, which can be killed at any of its steps. */
export class ProductCandles extends RealProductCandles {
  constructor(ctx: DurableObjectState, env: Env) {
    patchPlatform(variablesOf(env))
    super(instrumented(ctx), env)
  }

  protected override now(): number {
    reachStep(this.ctx, 'clock')
    const { speed, anchor, shift } = clockOf(this.env)
    return anchor + (Date.now() + shift - anchor) * speed
  }

  protected override wakeAt(at: number): void {
    const { speed, anchor, shift } = clockOf(this.env)
    super.wakeAt(Math.ceil(anchor - shift + (at - anchor) / speed))
  }

  protected override onFeedMessage(text: string): void {
    reachStep(this.ctx, 'received')
    if (variablesOf(this.env).RECORD) record(productOf(this.ctx), text)
    super.onFeedMessage(text)
    reachStep(this.ctx, 'received-after')
  }

  override alarm(): void {
    reachStep(this.ctx, 'alarm')
    super.alarm()
    reachStep(this.ctx, 'alarm-after')
  }

  protected override async write(
    candles: Candle[],
    gaps: { range: Gap; gaps: Gap[] } | null,
    revisions: Revision[],
  ): Promise<void> {
    reachStep(this.ctx, 'postgres-before')
    const broken = variablesOf(this.env).BREAK === 'flush'
    await super.write(broken ? candles.filter((candle) => candle.timestamp % 120 !== 0) : candles, gaps, revisions)
    reachStep(this.ctx, 'postgres-after')
  }

  /** Dies now. */
  async die(): Promise<void> {
    this.ctx.abort('killed')
  }

  /** The object's candles with starts from `start` on (unix seconds), and its ranges of missing trades. */
  async held(start: number): Promise<{ candles: Candle[]; gaps: Gap[] }> {
    const all: Candle[] = []
    let gaps: Gap[] = []
    for (const granularity of GRANULARITIES) {
      const held = await this.candles({ granularity, start, limit: 100_000 })
      all.push(...held.candles)
      gaps = held.gaps
    }
    return { candles: all, gaps }
  }
}

/** A platform timer that the object's clock does not reach: it is shortened as well, but not below what is sure. */
const timeout = AbortSignal.timeout.bind(AbortSignal)
const SHORTEST_TIMEOUT_MS = 2_000

let prepared = false

/** Replaces, once for each process, the functions that an object calls outside of its own methods. */
function patchPlatform({ CLOCK_SPEED, BREAK }: Variables): void {
  if (prepared) return
  prepared = true
  AbortSignal.timeout = (ms) => timeout(Math.max(SHORTEST_TIMEOUT_MS, ms / Number(CLOCK_SPEED)))
  if (BREAK !== 'backfill') return
  const real = globalThis.fetch
  globalThis.fetch = (async (input: RequestInfo, init?: RequestInit) =>
    String(input).includes('/trades') || String(input).includes('/candles')
      ? new Response(null, { status: 503 })
      : real(input, init)) as typeof fetch
}

/** The Worker as deployed, and beside it `/_faults/<product>/<action>` for the suite. */
export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    const url = new URL(request.url)
    const [, first, product = '', action] = url.pathname.split('/')
    if (first !== '_faults') return app.fetch(request, env, ctx)
    const object = productCandles(env, product) as unknown as ProductCandles
    if (action === 'held') return Response.json(await object.held(Number(url.searchParams.get('start'))))
    if (action === 'status') return Response.json(await object.status())
    if (action === 'deaths') return Response.json(deaths.get(product) ?? 0)
    if (action === 'brought') return Response.json([...(receivedTradeIds.get(product) ?? [])])
    if (action === 'doom')
      plannedKills.set(product, {
        step: url.searchParams.get('step') as Step,
        left: Number(url.searchParams.get('times')),
      })
    if (action === 'spare') plannedKills.delete(product)
    // The call fails because its object is gone: that is what was asked for.
    if (action === 'die') await object.die().catch(() => {})
    return new Response(null, { status: 204 })
  },
} satisfies ExportedHandler<Env>
