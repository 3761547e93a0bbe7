import { ProductCandles as RealProductCandles } from '../../durable-objects/candles/product-candles.ts'
import { productCandles } from '../../src/objects.ts'
import { type Candle, formatCandle } from '../../src/protocol/candle.ts'
import { GRANULARITIES } from '../../src/protocol/granularity.ts'
import type { ProductStatus } from '../../src/protocol/product.ts'

export { FeedSlots } from '../../durable-objects/candles/feed-slots.ts'

/** A recording's clock: where it stands, and when the object wants to be woken. Unix milliseconds. */
type Clock = { now: number; due: number }

/** By object id: the base class asks for the time before a field of the subclass exists. */
const clocks = new Map<string, Clock>()

function clockOf(ctx: DurableObjectState): Clock {
  const id = ctx.id.toString()
  const clock = clocks.get(id) ?? { now: 0, due: Number.POSITIVE_INFINITY }
  clocks.set(id, clock)
  return clock
}

/** The exchange's first word on a connection: what it sends to this product from then on goes there. */
const GREETING = 'hello'

/** Longest wait for frames that are under way. Milliseconds. */
const FRAMES_TIMEOUT_MS = 20_000

const candleKey = (candle: Candle): string => `${candle.granularity}/${candle.timestamp}`

/**
 * The very object, on a recording's clock: time stands still until a line's time comes, and every alarm due by then
 * runs first. Its way to Postgres ends in a map.
 */
export class ProductCandles extends RealProductCandles {
  readonly #written = new Map<string, Candle>()
  #steps: Promise<unknown> = Promise.resolve()
  /** Frames that have come, and who waits for how many. */
  #frames = 0
  #waiter: { frames: number; resolve: () => void } | null = null
  /** When the connection was made that has been greeted, by the recording's clock. */
  #greetedSince = -1

  protected override now(): number {
    return clockOf(this.ctx).now
  }

  protected override wakeAt(at: number): void {
    clockOf(this.ctx).due = at
  }

  protected override async write(candles: Candle[]): Promise<void> {
    for (const candle of candles) this.#written.set(candleKey(candle), candle)
  }

  /** A frame with its time in front, unix seconds, divided by a line end. */
  protected override onFeedMessage(text: string): void {
    if (text === GREETING) {
      void this.status().then(({ feed }) => {
        this.#greetedSince = feed.since
      })
      return
    }
    const end = text.indexOf('\n')
    this.#frames++
    void this.#step(async () => {
      await this.#runTo(Number(text.slice(0, end)) * 1000)
      super.onFeedMessage(text.slice(end + 1))
      await this.#settle()
    })
    if (this.#waiter !== null && this.#frames >= this.#waiter.frames) this.#waiter.resolve()
  }

  /**
   * Lets time pass until `to`, unix seconds, once the first `frames` frames have come.
   * @returns whether there is a connection then.
   */
  async advance(to: number, frames: number): Promise<boolean> {
    if (this.#frames < frames) {
      const came = new Promise<true>((resolve) => {
        this.#waiter = { frames, resolve: () => resolve(true) }
      })
      const abort = new AbortController()
      const arrived = await Promise.race([came, scheduler.wait(FRAMES_TIMEOUT_MS, { signal: abort.signal })])
      abort.abort()
      if (arrived !== true) throw new Error(`${this.#frames} of ${frames} frames came`)
    }
    this.#waiter = null
    await this.#step(() => this.#runTo(to * 1000))
    return this.isFeedLive
  }

  /**
   * Connects at `at`, unix seconds: the recorder was connected then.
   * @returns whether there is a connection.
   */
  async connectAt(at: number): Promise<boolean> {
    await this.#step(async () => {
      await this.#runTo(at * 1000)
      if (!this.isFeedLive) this.#greetedSince = -1
      this.reconnectFeed()
      await this.#settle()
    })
    return this.isFeedLive
  }

  async live(): Promise<boolean> {
    return this.isFeedLive
  }

  /** Every candle there has been, in its last state: a line each, by granularity and time. */
  async all(): Promise<{ candles: string[]; status: ProductStatus }> {
    const now = Math.floor(this.now() / 1000)
    const { since } = await this.candles({ granularity: 'ONE_MINUTE', start: now, limit: 1 })
    for (const granularity of GRANULARITIES) {
      // From the object's own record on: before it the exchange would be asked for history.
      const { candles } = await this.candles({ granularity, start: since ?? now, limit: Number.MAX_SAFE_INTEGER })
      for (const candle of candles) this.#written.set(candleKey(candle), candle)
    }
    const sorted = [...this.#written.values()].sort(
      (a, b) =>
        GRANULARITIES.indexOf(a.granularity) - GRANULARITIES.indexOf(b.granularity) || a.timestamp - b.timestamp,
    )
    return { candles: sorted.map(formatCandle), status: await this.status() }
  }

  #step<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#steps.then(step)
    this.#steps = done.catch((error: unknown) =>
      console.error(JSON.stringify({ event: 'replay_failed', error: `${error}` })),
    )
    return done
  }

  async #runTo(to: number): Promise<void> {
    const clock = clockOf(this.ctx)
    // Before the first line there is no time that could pass.
    if (clock.now === 0) clock.now = to
    for (;;) {
      await this.#settle()
      if (clock.due > to) break
      clock.now = Math.max(clock.now, clock.due)
      clock.due = Number.POSITIVE_INFINITY
      this.alarm()
    }
    clock.now = Math.max(clock.now, to)
  }

  /** Waits for the work under way, and for a new connection until it is greeted or gone. */
  async #settle(): Promise<void> {
    for (;;) {
      while (this.work.size > 0) await Promise.all(this.work)
      const { feed } = await this.status()
      if (feed.state !== 'live' || feed.since === this.#greetedSince) return
      await scheduler.wait(1)
    }
  }
}

/** The driver's side: `POST /<product>/<advance|connect>?at=&frames=`, `GET /<product>/<live|candles>`. */
export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const url = new URL(request.url)
    const [, product = '', action] = url.pathname.split('/')
    const object = productCandles(env, decodeURIComponent(product)) as unknown as ProductCandles
    const at = Number(url.searchParams.get('at'))
    if (action === 'advance') return Response.json(await object.advance(at, Number(url.searchParams.get('frames'))))
    if (action === 'connect') return Response.json(await object.connectAt(at))
    if (action === 'live') return Response.json(await object.live())
    return Response.json(await object.all())
  },
} satisfies ExportedHandler<Env>
