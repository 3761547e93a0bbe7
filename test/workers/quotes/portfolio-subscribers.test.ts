import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import type { PortfolioDatabase } from '../../../durable-objects/portfolio/database.ts'
import { QuoteSubscriptions } from '../../../durable-objects/portfolio/quote-subscriptions.ts'
import type { StoredSubscriptions } from '../../../durable-objects/portfolio/store.ts'
import { PortfolioSubscribers } from '../../../durable-objects/quotes/portfolio-subscribers.ts'
import type { PublishedQuote } from '../../../durable-objects/quotes/published.ts'
import { QUOTE_MIGRATIONS } from '../../../durable-objects/quotes/store.ts'
import { WatchCounts } from '../../../durable-objects/quotes/watch-counts.ts'
import { readSettings } from '../../../src/config.ts'
import type { PortfolioPrice } from '../../../src/protocol/portfolio.ts'
import { portfolioPrice } from '../support/portfolio-client.ts'

type Call = { user: string; prices: string[]; answer(listens: boolean): Promise<void>; fail(): Promise<void> }

/** Followers on a clock of their own, with the SQLite of an object that has nothing else to do. */
function stage(storage: DurableObjectStorage) {
  for (const migrate of QUOTE_MIGRATIONS) migrate(storage.sql)
  let now = 1_000_000
  let n = 0
  const prices = new Map<number, PublishedQuote>()
  const calls: Call[] = []
  const context = { storage, now: () => now, track: () => {}, log: () => {} }
  const published = {
    get offset() {
      return n
    },
    get: (id: number) => prices.get(id) ?? null,
  }
  const live = () =>
    new PortfolioSubscribers(context, published, new WatchCounts(), (user, sent) => {
      const { promise, resolve, reject } = Promise.withResolvers<boolean>()
      /** When what follows from the answer has been done. */
      const after = async (answer: () => void) => {
        answer()
        await new Promise<void>((done) => setTimeout(done))
      }
      calls.push({
        user,
        prices: sent.map(({ asset_id, price }) => `${asset_id}=${price}`),
        answer: (listens) => after(() => resolve(listens)),
        fail: () => after(() => reject(new Error('gone'))),
      })
      return promise
    })
  let followers = live()
  return {
    calls,
    get followers() {
      return followers
    },
    /** Prices of some assets, in one batch. */
    batch(...news: [id: number, price: string][]) {
      n++
      for (const [id, price] of news)
        prices.set(id, {
          text: '',
          price: portfolioPrice({ id, currency: 'USD', symbol: `S${id}` }, price),
          changed: n,
        })
      followers.broadcast(news.map(([id]) => id))
    },
    next: () => calls.shift() as Call,
    pass(ms: number) {
      now += ms
      followers.tick()
    },
    sleep() {
      followers = live()
    },
    get due() {
      return followers.dueAt - now
    },
  }
}

const inStorage = (
  name: string,
  use: (world: ReturnType<typeof stage>, storage: DurableObjectStorage) => Promise<void>,
) =>
  runInDurableObject(env.METER.getByName(name), (_: unknown, ctx: DurableObjectState) =>
    use(stage(ctx.storage), ctx.storage),
  )

test('each subscriber gets one call at a time, and then the latest state of all that has changed', () =>
  inStorage('followers', async (world) => {
    world.followers.subscribe('ann', [1, 2])
    world.followers.subscribe('bob', [2])
    world.batch([1, '10'], [3, '30'])
    expect(world.calls.map(({ user, prices }) => [user, prices])).toEqual([['ann', ['1=10']]])
    world.batch([1, '11'], [2, '21'])
    world.batch([1, '12'])
    expect(world.calls.map(({ user }) => user)).toEqual(['ann', 'bob'])
    const [ann, bob] = world.calls.splice(0) as [Call, Call]
    await bob.answer(true)
    await ann.answer(true)
    expect(world.calls.map(({ user, prices }) => [user, prices])).toEqual([['ann', ['1=12', '2=21']]])
    await world.next().answer(false)
    world.batch([1, '13'], [2, '23'])
    expect(world.calls.map(({ user }) => user)).toEqual(['bob'])
    expect(world.followers.isSubscribed(1)).toBe(false)
  }))

test('subscribers survive hibernation, and get exactly what was not sent to them', () =>
  inStorage('sleep', async (world, storage) => {
    world.followers.subscribe('ann', [1, 2])
    world.batch([1, '10'])
    await world.next().answer(true)
    world.sleep()
    world.pass(0)
    expect(world.calls).toEqual([])
    world.batch([2, '20'])
    world.next()
    world.sleep()
    expect(world.due).toBe(0)
    world.pass(0)
    expect(world.calls.map(({ user, prices }) => [user, prices])).toEqual([['ann', ['2=20']]])
    await world.next().answer(true)
    expect(world.due).toBe(Number.POSITIVE_INFINITY)
    world.followers.subscribe('ann', [])
    expect(storage.sql.exec('SELECT * FROM followers').toArray()).toEqual([])
  }))

test('an unreachable subscriber is called less and less often, then removed, and delays no other', () =>
  inStorage('failing', async (world) => {
    world.followers.subscribe('ann', [1])
    world.followers.subscribe('bob', [1])
    world.batch([1, '10'])
    const [ann, bob] = world.calls.splice(0) as [Call, Call]
    await bob.answer(true)
    await ann.fail()
    expect(world.due).toBe(1_000)
    world.batch([1, '11'])
    expect(world.calls.map(({ user }) => user)).toEqual(['bob'])
    await world.next().answer(true)
    world.pass(1_000)
    expect(world.calls.map(({ user, prices }) => [user, prices])).toEqual([['ann', ['1=11']]])
    // One that never answers has failed as well.
    world.calls.splice(0)
    expect(world.due).toBe(10_000)
    world.pass(10_000)
    let tries = 0
    while (world.followers.isSubscribed(1) && tries < 100) {
      const before = world.due
      world.pass(before)
      await world.next()?.fail()
      tries++
      if (tries === 3) world.followers.subscribe('bob', [])
    }
    expect(tries).toBeGreaterThan(8)
    expect(tries).toBeLessThan(30)
    expect(world.followers.isEmpty).toBe(true)
  }))

test('the answer to an earlier call does not end a new subscription', () =>
  inStorage('anew', async (world) => {
    world.followers.subscribe('ann', [1])
    world.batch([1, '10'])
    const call = world.next()
    world.followers.subscribe('ann', [1, 2])
    world.batch([2, '20'])
    await call.answer(false)
    expect(world.calls.map(({ user, prices }) => [user, prices])).toEqual([['ann', ['2=20']]])
  }))

test('at most 32 calls are in flight, and one row is written when all are answered', () =>
  inStorage('many', async (world, storage) => {
    for (let i = 0; i < 100; i++) world.followers.subscribe(`user-${i}`, [1])
    const put = storage.kv.put.bind(storage.kv)
    let written = 0
    storage.kv.put = ((...args: Parameters<typeof put>) => {
      written++
      put(...args)
    }) as never
    world.batch([1, '10'])
    expect(world.calls).toHaveLength(32)
    let told = 0
    for (let call = world.next(); call !== undefined; call = world.next()) {
      expect(world.calls.length).toBeLessThan(32)
      await call.answer(true)
      told++
    }
    expect([told, written]).toEqual([100, 1])
  }))

describe('a user that subscribes to boards', () => {
  /** A user with some wanted assets, and two boards. */
  function user() {
    const price = (id: number, text: string) => portfolioPrice({ id, currency: 'USD', symbol: `S${id}` }, text)
    const self = {
      now: 1_000_000,
      wanted: new Map<number, string | null>([[1, 'AAPL']]),
      open: new Set<number>(),
      asked: [] as [shard: number, ids: number[]][],
      answer: async (ids: number[]): Promise<PortfolioPrice[]> => ids.map((id) => price(id, '10')),
      learnt: [] as string[],
      lost: [] as number[],
      following: {} as StoredSubscriptions,
      price,
    }
    const live = () =>
      new QuoteSubscriptions(
        {
          user: 'ann',
          settings: { ...readSettings(env), QUOTE_SHARDS: 2 },
          storage: {} as DurableObjectStorage,
          schedule: () => {},
          now: () => self.now,
          board: (shard) => ({
            subscribe: async (_, ids) => {
              self.asked.push([shard, ids])
              return self.answer(ids)
            },
            lookup: async () => [],
          }),
          // A lookup in the database would fail here.
          database: {} as PortfolioDatabase,
          track: () => {},
          log: () => {},
        },
        {
          loadSubscriptions: () => self.following,
          saveSubscriptions: (following) => {
            self.following = structuredClone(following)
          },
        },
        {
          wantedAssets: () => new Map(self.wanted),
          unheldAssets: () => self.open,
          applyPrices: (prices) => self.learnt.push(...prices.map(({ asset_id, price }) => `${asset_id}=${price}`)),
          markStale: (ids) => self.lost.push(...ids),
        },
      )
    return Object.assign(self, { live })
  }

  test('a user’s object subscribes once at each board, also after hibernation, and again after a while or a change', async () => {
    const self = user()
    self.wanted = new Map([
      [1, 'AAPL'],
      [2, 'MSFT'],
      [3, null],
    ])
    await self.live().sync()
    // Whose symbol is not known may be on any board.
    const [shards, ids] = [self.asked.map(([shard]) => shard).sort(), self.asked.flatMap(([, ids]) => ids).sort()]
    expect([shards, ids]).toEqual([
      [0, 1],
      [1, 2, 3, 3],
    ])
    self.asked = []
    await self.live().sync()
    expect(self.asked).toEqual([])
    self.wanted.delete(2)
    await self.live().sync()
    expect(self.asked).toHaveLength(1)
    self.now += 60_000
    self.asked = []
    await self.live().sync()
    expect(self.asked).toHaveLength(2)
    // Boards of which nothing is wanted any more are told so.
    self.asked = []
    self.wanted = new Map()
    await self.live().sync()
    expect(self.asked.map(([, ids]) => ids)).toEqual([[], []])
    expect(self.following).toEqual({})
  })

  test('a user’s object marks the prices of an unreachable board, and subscribes again', async () => {
    const self = user()
    const answer = self.answer
    self.answer = () => Promise.reject(new Error('away'))
    const boards = self.live()
    await boards.sync()
    expect([self.lost, self.following]).toEqual([[1], {}])
    self.answer = answer
    await boards.sync()
    expect(self.learnt).toEqual(['1=10'])
  })

  test('a price that arrives during a subscribe call is newer than its answer', async () => {
    const self = user()
    const { promise, resolve } = Promise.withResolvers<PortfolioPrice[]>()
    self.answer = () => promise
    const boards = self.live()
    const following = boards.sync()
    boards.receivePrices([self.price(1, '11')])
    resolve([self.price(1, '10')])
    await following
    expect(self.learnt).toEqual(['1=10', '1=11'])
  })
})
