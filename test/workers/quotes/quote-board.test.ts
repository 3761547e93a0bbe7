import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { QuoteBoard } from '../../../durable-objects/quotes/quote-board.ts'
import type { QuoteDatabase, QuoteRemotes } from '../../../durable-objects/quotes/remotes.ts'
import { type FindOutcome, type QuoteOutcome, type QuoteRequest, quoteBoard } from '../../../src/objects.ts'
import { staleReason } from '../../../src/pricing/freshness.ts'
import type { ProviderQuote } from '../../../src/pricing/provider-quote.ts'
import type { CachedQuote } from '../../../src/pricing/quote.ts'
import {
  DEFAULT_REFRESH_SETTINGS,
  type PlannedAsset,
  type RefreshSettings,
} from '../../../src/pricing/refresh-settings.ts'
import { resolve } from '../../../src/pricing/symbol.ts'
import type { Asset, QuoteProviderName } from '../../../src/protocol/asset.ts'
import type { ProductStatus } from '../../../src/protocol/product.ts'
import type { WireQuote } from '../../../src/protocol/quote.ts'
import { waitFor } from '../support/wire.ts'

/** A beat of the grid. */
const START = 1_700_000_010_000
const BEAT = 15_000

type Told = Partial<ProviderQuote> & { provider?: QuoteProviderName }
type Fail = Extract<QuoteOutcome, { ok: false }>

/** What is outside of a board: time, providers, Postgres, feeds; and what is done to it there. */
function openWorld() {
  return {
    now: START,
    due: Number.POSITIVE_INFINITY,
    assets: [] as Asset[],
    /** By provider's id. */
    prices: new Map<string, Told | Omit<Fail, 'asset_id' | 'ok'>>(),
    listings: new Map<string, Extract<FindOutcome, { ok: true }>['found'] | 'down'>(),
    requests: [] as string[][],
    found: [] as string[],
    /** Names that the database was asked for, and numbers whose prices it was. */
    names: [] as string[][],
    reads: [] as number[][],
    stored: new Map<number, CachedQuote>(),
    writes: [] as CachedQuote[][],
    added: [] as Asset[],
    addedToday: 0,
    postgres: true,
    /** Held until released: a provider or a database that takes its time. */
    gate: null as Promise<void> | null,
    disk: null as Promise<void> | null,
    feeds: new Map<string, Partial<ProductStatus>>(),
    polls: [] as string[],
    /** Where the object dies: whatever it was about to do next does not happen any more. */
    dies: null as Step | null,
    deaths: 0,
    sockets: [] as WebSocket[],
  }
}
type World = ReturnType<typeof openWorld>
type Step = 'gate' | 'postgres' | 'written'

/** By object: the base class looks at the clock before a field of the subclass exists. */
let world: World = openWorld()

const never = new Promise<never>(() => {})

class Board extends QuoteBoard {
  readonly #world = world
  #isDead = false

  protected override now(): number {
    return world.now
  }

  protected override wakeAt(at: number): void {
    world.due = at
  }

  /** What is going on has come to its end. */
  async settled(): Promise<void> {
    while (this.work.size > 0) await Promise.race(this.work)
  }

  /** From now on nothing of it reaches the world. */
  die(): void {
    this.#isDead = true
  }

  async #pass(step: Step): Promise<void> {
    if (this.#world.dies === step) {
      this.#world.dies = null
      this.#world.deaths++
      this.die()
    }
    if (this.#isDead) await never
  }

  protected override remotes(): QuoteRemotes {
    return {
      gate: () => this.#gate(),
      database: () => this.#database(),
      slots: () => this.#slots(),
      product: (id) => this.#product(id),
    }
  }

  #gate(): ReturnType<QuoteRemotes['gate']> {
    const mine = this.#world
    return {
      quotes: async (requests: QuoteRequest[]): Promise<QuoteOutcome[]> => {
        mine.requests.push(requests.map(({ sources }) => sources[0]?.id ?? ''))
        const told = requests.map(({ asset_id, sources }): QuoteOutcome => {
          const [source] = sources
          const price = mine.prices.get(source?.id ?? '')
          if (source === undefined || price === undefined)
            return { asset_id, ok: false, reason: 'unknown', retryAt: null }
          if ('reason' in price) return { asset_id, ok: false, ...price }
          const { provider = source.provider, ...quote } = price
          return { asset_id, ok: true, provider, quote: { ...PLAIN, id: source.id, ...quote } }
        })
        await mine.gate
        await this.#pass('gate')
        return told
      },
      find: async (name: string): Promise<FindOutcome> => {
        mine.found.push(name)
        await mine.gate
        const found = mine.listings.get(name) ?? null
        return found === 'down' ? { ok: false, reason: 'unavailable', retryAt: null } : { ok: true, found }
      },
    }
  }

  #database(): QuoteDatabase {
    const mine = this.#world
    const there = async () => {
      await mine.disk
      if (!mine.postgres) throw new Error('no route to Postgres')
    }
    return {
      findAssets: async (names) => {
        mine.names.push(names)
        await there()
        return mine.assets.filter((asset) => names.some((name) => resolve(name, [asset]).kind === 'one'))
      },
      readPrices: async (ids) => {
        mine.reads.push(ids)
        await there()
        return ids.flatMap((id) => mine.stored.get(id) ?? [])
      },
      writePrices: async (quotes) => {
        await this.#pass('postgres')
        await there()
        mine.writes.push(quotes)
        for (const quote of quotes) mine.stored.set(quote.asset_id, quote)
        await this.#pass('written')
      },
      addAsset: async (draft) => {
        await there()
        const asset = { asset_id: 1_000 + mine.added.length, ...draft }
        mine.added.push(asset)
        mine.assets.push(asset)
        return asset
      },
      assetsAddedSince: async () => {
        await there()
        return mine.addedToday + mine.added.length
      },
    }
  }

  #slots(): ReturnType<QuoteRemotes['slots']> {
    const open = [...world.feeds.keys()].map((product) => ({ product, until: world.now + 1 }))
    return { open: async () => open }
  }

  #product(id: string): ReturnType<QuoteRemotes['product']> {
    const mine = this.#world
    return {
      status: async () => {
        mine.polls.push(id)
        return mine.feeds.get(id) as ProductStatus
      },
    }
  }
}

const PLAIN: Omit<ProviderQuote, 'id'> = {
  price: '1',
  currency: 'USD',
  previous_close: null,
  change24h: null,
  market_state: 'open',
  market: null,
  open: null,
  high: null,
  low: null,
  volume: null,
  eps: null,
  pe_ratio: null,
  as_of: new Date(START - 1_000).toISOString(),
}

const asset = (asset_id: number, symbol: string, given: Partial<Asset> = {}): Asset => ({
  asset_id,
  symbol,
  name: symbol,
  type: 'stock',
  category: 'stock',
  code: symbol,
  provider: 'yahoo',
  provider_id: symbol,
  currency: 'USD',
  isin: null,
  ...given,
})
const planned = (id: number, symbol: string, interval = 60, given: Partial<Asset> = {}): PlannedAsset => ({
  ...asset(id, symbol, given),
  interval,
})
const COIN = { type: 'crypto', provider: 'coinbase' as const, provider_id: 'BTC-USD', code: 'BTC' }

const iso = (at: number) => new Date(at).toISOString()
const stored = (asset_id: number, symbol: string, price: string, at: number, given: Partial<CachedQuote> = {}) => {
  const { as_of: _, ...plain } = PLAIN
  const told = { asset_id, symbol, price, pe_as_of: null, provider: 'simulated' }
  return { ...plain, ...told, as_of: iso(at), updated_at: iso(at), ...given }
}

let boards = 0

/** Runs a test inside of an object of its own, on its real storage, with a board that can be driven. */
async function onBoard(
  run: (stage: {
    world: World
    board: Board
    /** Goes on by so many milliseconds, alarms included, and waits for what they begin. */
    pass(ms: number): Promise<void>
    /** A plan of these assets. */
    plan(assets: PlannedAsset[], settings?: Partial<RefreshSettings>): Promise<void>
    /** The object dies, wherever it is, and another one comes up on its storage. */
    revive(): Board
    /** A look, and how each has come out. */
    prices(...names: string[]): Promise<unknown[]>
    rows(): number
    /** A socket with these channels; the frames that it got so far. */
    socket(channels: string[], since?: string, client?: string): Promise<() => Frame[]>
  }) => Promise<void>,
  changes: Record<string, string> = {},
): Promise<void> {
  world = openWorld()
  const mine = world
  await runInDurableObject(quoteBoard(env, 100 + ++boards) as never, async (_: unknown, ctx: DurableObjectState) => {
    // The storage is the object's own; its sockets do not sleep, and it is the first of its shards.
    const changed = {
      id: { name: 'simulated:0' },
      acceptWebSocket: (socket: WebSocket) => {
        socket.accept()
        mine.sockets.push(socket)
        socket.addEventListener('message', ({ data }) => void board.webSocketMessage(socket, data as string))
        socket.addEventListener('close', () => board.webSocketClose(socket))
      },
      getWebSockets: () => [],
      setWebSocketAutoResponse: () => {},
      getWebSocketAutoResponseTimestamp: () => null,
    }
    for (const [name, value] of Object.entries(changed)) Object.defineProperty(ctx, name, { value, configurable: true })
    const other = { ...env, QUOTE_REFRESH_TICK_MS: String(BEAT), ...changes }
    const live = () => new Board(ctx, other as never)
    let board = live()
    const pass = async (ms: number) => {
      const end = mine.now + ms
      await board.settled()
      while (mine.due <= end) {
        mine.now = Math.max(mine.now, mine.due)
        mine.due = Number.POSITIVE_INFINITY
        board.alarm()
        await board.settled()
      }
      mine.now = end
    }
    const prices = async (...names: string[]) =>
      (await board.lookup(names)).map((look) =>
        look.kind === 'quote'
          ? [look.quote.price, look.source, staleReason(look, mine.now)]
          : look.kind === 'unpriced'
            ? [look.kind, look.reason]
            : look.kind,
      )
    await run({
      world: mine,
      get board() {
        return board
      },
      pass,
      plan: async (assets, settings = {}) => {
        await board.setPlan({ at: mine.now, settings: { ...DEFAULT_REFRESH_SETTINGS, ...settings }, assets })
        await board.settled()
      },
      revive: () => {
        board.die()
        mine.sockets.length = 0
        mine.due = Number.POSITIVE_INFINITY
        board = live()
        return board
      },
      prices,
      rows: () => ctx.storage.sql.exec('SELECT count(*) AS n FROM batches').one().n as number,
      socket: async (channels, since, client = '') => {
        const headers = { upgrade: 'websocket', 'kerb-client': client }
        const { webSocket: theirs } = await board.fetch(new Request('http://board/', { headers }))
        if (!theirs) throw new Error('no socket')
        const frames: Frame[] = []
        theirs.addEventListener('message', ({ data }) => frames.push(JSON.parse(data as string)))
        theirs.accept()
        theirs.send(JSON.stringify({ op: 'subscribe', channels, since, req_id: 1 }))
        await waitFor('an answer to the subscribe', () => (frames.length > 0 ? true : null))
        return () => frames
      },
    })
    await board.settled()
  })
}

type Frame = { type: string; position: string; recovered?: boolean; quotes?: WireQuote[]; code?: string }
const framesOf = (frames: Frame[], type: string) => frames.filter((frame) => frame.type === type)

describe('Q1 a lookup', () => {
  test('Q1 a lookup is answered from memory, else from Postgres, else by a provider, and names the layer', () =>
    onBoard(async ({ world, board, plan, prices, pass }) => {
      world.prices.set('AAPL', { price: '190.10', market_state: 'open' })
      world.assets = [asset(1, 'AAPL'), asset(2, 'MSFT')]
      world.stored.set(2, stored(2, 'MSFT', '410.5', START - 10_000))
      expect(await prices('AAPL', 'MSFT', 'NONE')).toEqual([
        ['190.10', 'provider', null],
        ['410.5', 'database', null],
        'unknown',
      ])
      expect(await prices('AAPL', 'MSFT')).toEqual([
        ['190.10', 'cache', null],
        ['410.5', 'cache', null],
      ])
      expect([world.requests, world.reads]).toEqual([[['AAPL']], [[1, 2]]])
      const [look] = await board.lookup(['AAPL'])
      expect(look).toMatchObject({
        quote: { symbol: 'AAPL', provider: 'simulated', updated_at: iso(START), currency: 'USD' },
      })
      expect(look).not.toHaveProperty('quote.market')
      expect((await board.status()).looks).toEqual({ cache: 3, database: 1, provider: 1, none: 1 })
      await plan([planned(1, 'AAPL'), planned(2, 'MSFT')])
      await pass(1)
      expect(await prices('AAPL')).toEqual([['190.10', 'cache', null]])
    }))

  test('Q1 a lookup returns a stale value at once with its reason, and refreshes it after the answer', () =>
    onBoard(async ({ world, board, prices, pass }) => {
      world.assets = [asset(1, 'AAPL')]
      world.stored.set(1, stored(1, 'AAPL', '190', START - 1_000_000))
      world.prices.set('AAPL', { price: '191', as_of: iso(START) })
      expect(await prices('AAPL')).toEqual([['190', 'database', 'expired']])
      await board.settled()
      expect(await prices('AAPL')).toEqual([['191', 'cache', null]])
      // Fails from now on: what is held is told for what it is.
      world.prices.set('AAPL', { reason: 'unavailable', retryAt: START + 1_000_000 })
      await pass(400_000)
      expect(await prices('AAPL')).toEqual([['191', 'cache', 'expired']])
      await board.settled()
      expect(await prices('AAPL', 'AAPL')).toEqual([
        ['191', 'cache', 'unavailable'],
        ['191', 'cache', 'unavailable'],
      ])
      await board.settled()
      expect(world.requests).toHaveLength(2)
    }))

  test('Q1 a board of simulated prices returns no real one, and the other way round', () =>
    onBoard(async ({ world, prices }) => {
      world.assets = [asset(1, 'AAPL')]
      world.stored.set(1, stored(1, 'AAPL', '190', START, { provider: 'yahoo' }))
      expect(await prices('AAPL')).toEqual([['unpriced', 'unknown']])
    }))

  test('Q1 an older value never replaces a newer one', () =>
    onBoard(async ({ world, board, plan, prices, pass }) => {
      world.prices.set('AAPL', { price: '190', as_of: iso(START) })
      await plan([planned(1, 'AAPL', 15)])
      world.prices.set('AAPL', { price: '185', as_of: iso(START - 60_000) })
      await pass(BEAT * 2)
      expect(await prices('AAPL')).toEqual([['190', 'cache', null]])
      await pass(BEAT * 2)
      expect(await prices('AAPL')).toEqual([['190', 'cache', 'expired']])
      expect((await board.status()).refreshed).toBeGreaterThan(2)
    }))

  test('Q1 a lookup waits at most LOOKUP_TIMEOUT_MS, says why there is no price, and the fetch continues', () =>
    onBoard(async ({ world, board, prices }) => {
      world.assets = [asset(1, 'AAPL')]
      world.prices.set('AAPL', { price: '190' })
      const { promise, resolve } = Promise.withResolvers<void>()
      world.gate = promise
      const looking = prices('AAPL')
      await waitFor('the provider to be asked', () => (world.requests.length > 0 ? true : null))
      expect(world.due).toBe(START + 4_000)
      world.now = world.due
      board.alarm()
      expect(await looking).toEqual([['unpriced', 'expired']])
      resolve()
      await board.settled()
      expect(await prices('AAPL')).toEqual([['190', 'cache', null]])
    }))
})

describe('Q3 one fetch for everyone', () => {
  test('Q3 concurrent lookups make one request to the provider and one to each table', () =>
    onBoard(async ({ world, prices }) => {
      world.assets = [asset(1, 'AAPL'), asset(2, 'MSFT')]
      world.prices.set('AAPL', { price: '190' }).set('MSFT', { price: '410' })
      const looks = await Promise.all([
        prices('AAPL'),
        prices('AAPL', 'MSFT'),
        prices('MSFT', 'AAPL'),
        ...Array.from({ length: 20 }, () => prices('AAPL')),
      ])
      for (const look of looks) for (const [price] of look as string[][]) expect(['190', '410']).toContain(price)
      expect(world.requests.flat().sort()).toEqual(['AAPL', 'MSFT'])
      expect(world.names.flat().sort()).toEqual(['AAPL', 'MSFT'])
      expect(world.reads.flat().sort()).toEqual([1, 2])
    }))

  test('Q3 overlapping ticks request no asset twice, and a provider that hangs delays no other', () =>
    onBoard(async ({ world, board, plan, prices, pass }) => {
      world.prices.set('AAPL', { price: '190' }).set('BTCUSDT', { price: '9', currency: 'USDT' })
      const coin = {
        type: 'crypto',
        provider: 'binance' as const,
        provider_id: 'BTCUSDT',
        code: 'BTC',
        currency: 'USDT',
      }
      await plan([planned(1, 'AAPL', 15), planned(2, 'BTCUSDT', 15, coin)])
      expect(world.requests).toEqual([['AAPL'], ['BTCUSDT']])
      expect(await prices('BTC-USDT')).toEqual([['9', 'cache', null]])
      const { promise, resolve } = Promise.withResolvers<void>()
      world.gate = promise
      for (let beat = 1; beat <= 3; beat++) {
        world.now = START + beat * BEAT
        board.alarm()
      }
      expect(world.requests).toHaveLength(4)
      const more = board.refresh(['AAPL'])
      world.gate = null
      resolve()
      await board.settled()
      expect(await more).toEqual({ refreshed: 1, failed: 0, waiting: 0 })
      expect(world.requests).toHaveLength(4)
      await pass(BEAT)
      expect(world.requests).toHaveLength(6)
    }))
})

describe('Q5 one bad symbol', () => {
  test('Q5 a bad symbol never fails a batch: each symbol has its own status', () =>
    onBoard(async ({ world, board, plan, prices }) => {
      world.prices
        .set('AAPL', { price: '190' })
        .set('BAD', { reason: 'invalid', retryAt: null })
        .set('SLOW', { reason: 'rate_limited', retryAt: START + 30_000 })
      world.assets = [asset(7, 'SHEL.L', { code: 'SHEL' }), asset(8, 'SHELL.PA', { code: 'SHEL' })]
      await plan([planned(1, 'AAPL'), planned(2, 'BAD'), planned(3, 'SLOW'), planned(4, 'GONE')])
      expect(await prices('AAPL', 'BAD', 'SLOW', 'GONE', 'SHEL', "'; --", 'NONE')).toEqual([
        ['190', 'cache', null],
        ['unpriced', 'invalid'],
        ['unpriced', 'rate_limited'],
        ['unpriced', 'unknown'],
        'ambiguous',
        'unknown',
        'unknown',
      ])
      const [slow] = await board.lookup(['SLOW'])
      expect(slow).toMatchObject({ retryAfter: 30 })
      expect(await board.refresh(null)).toEqual({ refreshed: 1, failed: 2, waiting: 1 })
      expect(await board.refresh(['AAPL', 'NONE'])).toEqual({ refreshed: 1, failed: 1, waiting: 0 })
    }))

  test('Q4, Q6 another provider’s price is accepted only in the asset’s own currency', () =>
    onBoard(async ({ world, plan, prices }) => {
      const pair = { type: 'crypto', provider: 'coinbase', currency: 'USD' } as const
      world.prices
        .set('BTC-USD', { price: '93500', provider: 'yahoo' })
        .set('ETH-USD', { price: '3100', provider: 'yahoo', currency: 'USDT' })
        .set('BP.L', { price: '4', currency: 'GBP' })
      await plan([
        planned(1, 'BTC', 60, { ...pair, provider_id: 'BTC-USD' }),
        planned(2, 'ETH', 60, { ...pair, provider_id: 'ETH-USD' }),
        planned(3, 'BP.L'),
      ])
      expect(await prices('BTC', 'ETH', 'BP.L')).toEqual([
        ['93500', 'cache', null],
        ['unpriced', 'invalid'],
        ['4', 'cache', null],
      ])
    }))
})

describe('Q2 plan and refresh tick', () => {
  test('Q2 each asset is refreshed at its interval, and after a failure when the gate allows it', () =>
    onBoard(async ({ world, plan, pass }) => {
      world.prices.set('A', { price: '1' }).set('B', { price: '2' })
      world.prices.set('C', { reason: 'rate_limited', retryAt: START + 100_000 })
      await plan([planned(1, 'A', 15), planned(2, 'B', 60), planned(3, 'C', 15)])
      world.requests.length = 0
      await pass(99_000)
      const asked = (id: string) => world.requests.flat().filter((one) => one === id).length
      expect([asked('A'), asked('B'), asked('C')]).toEqual([6, 1, 0])
      await pass(6_000)
      expect([asked('A'), asked('B'), asked('C')]).toEqual([7, 1, 1])
    }))

  test('Q2 an equal plan, an older one, or none for an hour change nothing', () =>
    onBoard(async ({ world, board, plan, pass, prices, revive }) => {
      world.prices.set('A', { price: '1' })
      const assets = [planned(1, 'A', 60)]
      await plan(assets)
      await plan(assets)
      expect(world.requests).toHaveLength(1)
      await board.setPlan({ at: START - 1, settings: DEFAULT_REFRESH_SETTINGS, assets: [] })
      expect((await board.status()).assets).toBe(1)
      await pass(3_600_000)
      expect(world.requests).toHaveLength(61)
      revive()
      await pass(60_000)
      expect(world.requests).toHaveLength(62)
      expect(await prices('A')).toEqual([['1', 'cache', null]])
    }))

  test('Q2 a new asset is due at once, or after its interval if Postgres has its price', () =>
    onBoard(async ({ world, plan, prices, pass }) => {
      world.prices.set('A', { price: '1' }).set('B', { price: '2' })
      world.stored.set(1, stored(1, 'A', '0.9', START - 30_000))
      await plan([planned(1, 'A', 60), planned(2, 'B', 60)])
      expect(world.requests).toEqual([['B']])
      expect(await prices('A', 'B')).toEqual([
        ['0.9', 'cache', null],
        ['2', 'cache', null],
      ])
      await pass(30_000)
      expect(world.requests).toEqual([['B'], ['A']])
    }))

  test('an asset that leaves the plan is removed, and one that is renamed is published under its new name', () =>
    onBoard(async ({ world, plan, prices, socket, pass }) => {
      world.prices.set('A', { price: '1' }).set('B', { price: '2' })
      await plan([planned(1, 'A'), planned(2, 'B')])
      const frames = await socket(['quotes.A', 'quotes.B'])
      await pass(1_000)
      await plan([planned(2, 'BB', 60, { provider_id: 'B' })])
      expect(await prices('A', 'BB')).toEqual(['unknown', ['2', 'cache', null]])
      await waitFor('both to be told', () => (framesOf(frames(), 'update').length > 0 ? true : null))
      expect(framesOf(frames(), 'error').map(({ code }) => code)).toEqual(['unknown_symbol'])
      expect(framesOf(frames(), 'unsubscribed')).toHaveLength(1)
      expect(framesOf(frames(), 'update')[0]?.quotes?.[0]).toMatchObject({ symbol: 'BB', price: 2 })
    }))

  test('a closed market is probed, and all of its assets are refreshed when it opens', () =>
    onBoard(async ({ world, plan, pass }) => {
      const state = (market_state: 'open' | 'closed') => {
        for (const id of ['A', 'B', 'C']) world.prices.set(id, { price: '1', market: 'NMS', market_state })
      }
      state('closed')
      await plan([planned(1, 'A', 15), planned(2, 'B', 15), planned(3, 'C', 15)])
      world.requests.length = 0
      await pass(600_000)
      expect(new Set(world.requests.flat())).toEqual(new Set(['A']))
      expect(world.requests).toHaveLength(10)
      state('open')
      await pass(60_000)
      await pass(BEAT)
      expect(world.requests.slice(10).flat()).toEqual(expect.arrayContaining(['B', 'C']))
      world.requests.length = 0
      await pass(BEAT * 4)
      expect(world.requests.map((ids) => ids.length)).toEqual([3, 3, 3, 3])
    }))

  test('an asset that a socket subscribes to by name is refreshed at the shortest interval', () =>
    onBoard(async ({ world, board, plan, pass, socket }) => {
      world.prices.set('A', { price: '1' }).set('B', { price: '2' })
      await plan([planned(1, 'A', 300), planned(2, 'B', 300)])
      await socket(['quotes.A'])
      await pass(60_000)
      expect(world.requests.flat().filter((id) => id === 'A').length).toBe(5)
      expect(world.requests.flat().filter((id) => id === 'B').length).toBe(1)
      board.webSocketClose(world.sockets[0] as WebSocket)
      world.requests.length = 0
      await pass(120_000)
      expect(world.requests).toEqual([])
    }))
})

describe('persistence', () => {
  test('each refresh batch is one row, and each tick writes the latest state of each quote to Postgres once', () =>
    onBoard(async ({ world, board, plan, pass, rows }) => {
      const assets = Array.from({ length: 200 }, (_, i) => planned(i + 1, `S${i}`, 15))
      for (const { symbol } of assets) world.prices.set(symbol, { price: '1' })
      await plan(assets)
      expect(rows()).toBe(1)
      await pass(BEAT)
      expect(rows()).toBe(2)
      const { beats } = await board.status()
      expect(world.writes.length).toBe(beats)
      expect(new Set(world.writes.flat().map(({ asset_id }) => asset_id)).size).toBe(200)
      await pass(BEAT * 400)
      expect(rows()).toBeLessThan(205)
      expect(world.writes.length).toBe((await board.status()).beats)
      expect((await board.status()).unflushed).toBe(0)
    }))

  test('while Postgres is down cached quotes are served, and afterwards each missing one is written once', () =>
    onBoard(async ({ world, board, plan, pass, prices, revive }) => {
      world.prices.set('A', { price: '1' }).set('B', { price: '2' })
      await plan([planned(1, 'A', 15), planned(2, 'B', 15)])
      await pass(BEAT)
      world.postgres = false
      world.writes.length = 0
      for (let i = 1; i <= 5; i++) {
        world.prices.set('A', { price: `1.${i}`, as_of: iso(world.now) })
        await pass(BEAT)
      }
      expect(await prices('A', 'YAHOO:B', 'NEW')).toEqual([
        ['1.5', 'cache', null],
        ['2', 'cache', null],
        ['unpriced', 'unavailable'],
      ])
      const { unflushed, flushFailures } = await board.status()
      expect([unflushed, flushFailures]).toEqual([2, 5])
      const next = revive()
      world.postgres = true
      await pass(BEAT)
      expect(world.writes[0]?.map(({ price }) => price)).toEqual(['1.5', '2'])
      expect((await next.status()).unflushed).toBe(0)
    }))

  test('a restart has the same quotes, failures and plan, and refreshes only what is due', () =>
    onBoard(async ({ world, board, plan, pass, revive }) => {
      world.prices.set('A', { price: '1' }).set('B', { reason: 'rate_limited', retryAt: START + 100_000 })
      await plan([planned(1, 'A', 60), planned(2, 'B', 15)])
      const before = [await board.lookup(['A', 'B']), (await board.status()).position]
      world.requests.length = 0
      const next = revive()
      expect([await next.lookup(['A', 'B']), (await next.status()).position]).toEqual(before)
      await pass(BEAT * 3)
      expect(world.requests).toEqual([])
      await pass(BEAT)
      expect(world.requests).toEqual([['A']])
    }))

  test.each(['gate', 'postgres', 'written'] as const)(
    'a crash at %s loses nothing and publishes nothing wrong',
    (step) =>
      onBoard(async ({ world, board, plan, pass, prices, revive }) => {
        world.prices.set('A', { price: '1' }).set('B', { price: '2' })
        await plan([planned(1, 'A', 15), planned(2, 'B', 15)])
        await pass(BEAT)
        const position = (await board.status()).position
        world.prices.set('A', { price: '1.5', as_of: iso(world.now) })
        world.dies = step
        world.now += BEAT
        board.alarm()
        await waitFor('the death', () => (world.deaths > 0 ? true : null))
        revive()
        const kept = step === 'gate' ? '1' : '1.5'
        expect(await prices('A', 'B')).toEqual([
          [kept, 'cache', null],
          ['2', 'cache', null],
        ])
        await pass(BEAT)
        expect(await prices('A')).toEqual([['1.5', 'cache', null]])
        expect(world.stored.get(1)?.price).toBe('1.5')
        expect((await board.status()).position.split('-')[0]).toBe(position.split('-')[0])
      }),
  )

  test('a crash in a SQLite transaction leaves nothing of the batch, which was not published', () =>
    onBoard(async ({ world, board, plan, pass, prices, revive, socket }) => {
      world.prices.set('A', { price: '1' })
      await plan([planned(1, 'A', 15)])
      const frames = await socket(['quotes.A'])
      await pass(1_000)
      const { position } = await board.status()
      world.prices.set('A', { price: '1.5', as_of: iso(world.now) })
      const { storage } = (board as unknown as { ctx: DurableObjectState }).ctx
      const transaction = storage.transactionSync
      storage.transactionSync = <T>(run: () => T): T =>
        transaction.call(storage, () => {
          run()
          throw new Error('killed')
        }) as T
      await pass(BEAT)
      storage.transactionSync = transaction
      expect(framesOf(frames(), 'update')).toEqual([])
      const next = revive()
      expect([await prices('A'), (await next.status()).position]).toEqual([[['1', 'cache', null]], position])
      await pass(BEAT)
      expect(await prices('A')).toEqual([['1.5', 'cache', null]])
    }))
})

describe('sockets of a board', () => {
  test('D2 a client that resumes after a restart gets the changes, and a position of another epoch gets a snapshot', () =>
    onBoard(async ({ world, plan, pass, socket, revive }) => {
      world.prices.set('A', { price: '1' }).set('B', { price: '2' })
      await plan([planned(1, 'A', 15), planned(2, 'B', 15)])
      const [, snapshot] = (await socket(['quotes.*']))() as [Frame, Frame]
      expect(snapshot.quotes?.map(({ price }) => price)).toEqual([1, 2])
      world.prices.set('A', { price: '1.25', as_of: iso(world.now) })
      await pass(BEAT)
      revive()
      const back = await socket(['quotes.*'], snapshot.position)
      await waitFor('what was missed', () => (framesOf(back(), 'update').length > 0 ? true : null))
      expect(back()[0]).toMatchObject({ recovered: true, position: snapshot.position })
      expect(framesOf(back(), 'update')[0]?.quotes?.map(({ symbol, price }) => [symbol, price])).toEqual([['A', 1.25]])
      expect((await socket(['quotes.*'], 'other-1'))()[0]).toMatchObject({ recovered: false })
    }))

  test('Q1 a quote is published as stale at the time when it becomes stale', () =>
    onBoard(async ({ world, plan, pass, socket }) => {
      world.prices.set('A', { price: '1' })
      await plan([planned(1, 'A', 15)])
      const frames = await socket(['quotes.A'])
      world.prices.set('A', { reason: 'unavailable', retryAt: null })
      await pass(45_000)
      expect(framesOf(frames(), 'update')).toEqual([])
      await pass(1)
      await waitFor('the news', () => (framesOf(frames(), 'update').length > 0 ? true : null))
      expect(framesOf(frames(), 'update')[0]?.quotes?.[0]).toMatchObject({ price: 1, stale: 'unavailable' })
    }))

  test('a board limits the sockets of one client, and refuses a request that is not an upgrade', () =>
    onBoard(
      async ({ board, socket }) => {
        await socket(['quotes.*'], undefined, 'me')
        await socket(['quotes.*'], undefined, 'me')
        const headers = { upgrade: 'websocket', 'kerb-client': 'me' }
        expect((await board.fetch(new Request('http://board/', { headers }))).status).toBe(429)
        expect((await board.fetch(new Request('http://board/'))).status).toBe(426)
        expect((await board.status()).watchers).toBe(2)
      },
      { MAX_SOCKETS_PER_CLIENT: '2' },
    ))
})

describe('a streamed product', () => {
  const feed = (price: string, time: number, heardAt = time) => ({
    feed: { state: 'live' as const, since: START, lastMessageAt: heardAt, reconnects: 0, reason: null },
    last: { price, time: iso(time) },
  })

  test('lookups of a streamed product read its open feed once in FEED_PRICE_INTERVAL_MS, and derive the change from the exchange’s', () =>
    onBoard(async ({ world, board, plan, prices, pass }) => {
      world.prices.set('BTC-USD', { price: '100', change24h: '10', as_of: iso(START) })
      await plan([planned(1, 'BTC', 300, COIN)])
      world.feeds.set('BTC-USD', feed('105', START + 100))
      world.now += 200
      await Promise.all([prices('BTC'), prices('BTC-USD'), prices('BTC')])
      await board.settled()
      const [look] = await board.lookup(['BTC'])
      expect(look).toMatchObject({
        quote: { price: '105', change24h: '15.5', as_of: iso(START + 100), provider: 'simulated' },
      })
      expect(world.polls).toHaveLength(1)
      await pass(60_000)
      expect(world.polls).toHaveLength(1)
      world.feeds.set('BTC-USD', feed('106', world.now))
      await prices('BTC')
      await board.settled()
      expect((await prices('BTC'))[0]).toEqual(['106', 'cache', null])
    }))

  test('a streamed product is read while a socket has subscribed, and a closed feed is not woken up', () =>
    onBoard(async ({ world, plan, pass, socket }) => {
      world.prices.set('BTC-USD', { price: '100' })
      await plan([planned(1, 'BTC', 300, COIN)])
      const frames = await socket(['quotes.BTC'])
      await pass(10_000)
      expect(world.polls).toEqual([])
      const traded = world.now
      for (let second = 0; second < 10; second++) {
        // A heartbeat each second; the last trade stays.
        world.feeds.set('BTC-USD', feed('101.5', traded, world.now))
        await pass(1_000)
      }
      expect(world.polls.length).toBeGreaterThan(4)
      await waitFor('the price', () => (framesOf(frames(), 'update').length > 0 ? true : null))
      expect(framesOf(frames(), 'update').at(-1)?.quotes?.[0]?.price).toBe(101.5)
    }))
})

describe('a name that no asset has', () => {
  const listing = {
    id: 'NFLX',
    symbol: 'NFLX',
    name: 'Netflix',
    type: 'stock',
    code: 'NFLX',
    currency: 'USD',
    isin: null,
  }

  test('a new name is searched for once at the providers, added, and priced', () =>
    onBoard(async ({ world, board, prices }) => {
      world.listings.set('NFLX', { provider: 'yahoo', listing })
      world.prices.set('NFLX', { price: '600' })
      const found = await Promise.all([board.discover('NFLX'), board.discover('NFLX')])
      expect(found.map((look) => look.kind === 'quote' && look.quote.price)).toEqual(['600', '600'])
      expect([world.found, world.added.length, world.requests]).toEqual([['NFLX'], 1, [['NFLX']]])
      expect(world.added[0]).toMatchObject({ symbol: 'NFLX', category: 'stock', provider: 'yahoo' })
      expect(await prices('NFLX')).toEqual([['600', 'cache', null]])
      await board.discover('NFLX')
      expect(world.found).toHaveLength(1)
    }))

  test('a name that no provider knows is not searched for again within UNKNOWN_SYMBOL_TTL_MS', () =>
    onBoard(async ({ world, board, pass, revive }) => {
      expect(await board.discover('ZZZZ')).toEqual({ name: 'ZZZZ', kind: 'unknown', asked: true })
      expect(await board.lookup(['ZZZZ'])).toEqual([{ name: 'ZZZZ', kind: 'unknown', asked: true }])
      await board.discover('ZZZZ')
      expect(world.found).toEqual(['ZZZZ'])
      // A board that nobody asks is put to sleep before its next beat.
      const next = revive()
      expect(await next.lookup(['ZZZZ'])).toEqual([{ name: 'ZZZZ', kind: 'unknown', asked: true }])
      await next.discover('ZZZZ')
      expect(world.found).toEqual(['ZZZZ'])
      await pass(600_001)
      expect(await next.lookup(['ZZZZ'])).toEqual([{ name: 'ZZZZ', kind: 'unknown', asked: false }])
      await next.discover('ZZZZ')
      expect(world.found).toHaveLength(2)
    }))

  test('a name is not unknown while the providers or Postgres are unreachable', () =>
    onBoard(async ({ world, board }) => {
      world.listings.set('DOWN', 'down')
      expect(await board.discover('DOWN')).toMatchObject({ kind: 'unpriced', reason: 'unavailable' })
      world.postgres = false
      expect(await board.discover('NFLX')).toMatchObject({ kind: 'unpriced', reason: 'unavailable' })
      expect(world.found).toEqual(['DOWN'])
    }))

  test('no asset is added beyond NEW_ASSETS_PER_DAY', () =>
    onBoard(async ({ world, board }) => {
      world.listings.set('NFLX', { provider: 'yahoo', listing })
      world.addedToday = 500
      expect(await board.discover('NFLX')).toMatchObject({ kind: 'unpriced', reason: 'rate_limited' })
      expect([world.found, world.added]).toEqual([[], []])
    }))

  test('a new asset does not make the name of another one ambiguous', () =>
    onBoard(async ({ world, board, prices }) => {
      world.assets = [asset(1, 'UNI')]
      world.prices.set('UNI', { price: '5' }).set('UNI-USD', { price: '7' })
      const coin = { ...listing, id: 'UNI-USD', symbol: 'UNI', code: 'UNI', type: 'crypto' }
      world.listings.set('UNI-USD', { provider: 'coinbase', listing: coin })
      await board.discover('UNI-USD')
      expect(world.added[0]?.symbol).toBe('UNI-USD')
      expect(await prices('UNI', 'UNI-USD')).toEqual([
        ['5', 'provider', null],
        ['7', 'cache', null],
      ])
    }))
})

describe('a board among several shards', () => {
  test('a lookup of another shard’s asset returns the symbol that resolves to it there', () =>
    onBoard(
      async ({ world, board }) => {
        const there = asset(1, 'A', { isin: 'US0378331005' })
        world.assets = [there, asset(2, 'C'), asset(3, 'B', { isin: 'US5949181045' })]
        for (const id of ['A', 'B', 'C']) world.prices.set(id, { price: '1' })
        const looks = await board.lookup(['A', 'B', 'C', 'US0378331005'])
        const kinds = Object.fromEntries(looks.map((look) => [look.name, look.kind]))
        // Which of them are here is for the hash to say: some are, and some are not.
        expect(new Set([kinds.A, kinds.B, kinds.C])).toEqual(new Set(['moved', 'quote']))
        for (const look of looks) if (look.kind === 'moved') expect(['A', 'B', 'C']).toContain(look.symbol)
        expect(kinds.US0378331005).toBe(kinds.A)
      },
      { QUOTE_SHARDS: '2' },
    ))
})
