import { setTimeout as pause } from 'node:timers/promises'
import { openDatabase } from '../src/db/client.ts'
import { type Figures, median, quantile, rounded, type Size } from './figures.ts'
import { closeConnections, sendRequest, timeRequests } from './requests.ts'
import { type BenchServer, startServer } from './server.ts'

/** `warmUpRounds` go first, which compile. So many `users` come in so many `minutes` of the market. */
const SIZES = {
  full: { rounds: 9, warmUpRounds: 2, requests: 1_500, minutes: 60, users: 10_000 },
  quick: { rounds: 1, warmUpRounds: 0, requests: 50, minutes: 2, users: 300 },
}
type Scale = (typeof SIZES)[Size]
const CONCURRENCY = 8
/** Market milliseconds per millisecond: an hour of the market in two minutes. */
const SPEED = 30
/** Symbols that one user holds. */
const HELD_SYMBOLS = 20
/** Longest until every asset has a price, milliseconds. */
const WARM_UP_TIMEOUT_MS = 120_000

/** A request takes as long as it does: the time that it may take is not the market's. History is no part of this. */
const HOUR_VARS = { PROVIDER_TIMEOUT_MS: `${10_000 * SPEED}`, HISTORY_PER_MINUTE: '1' }

/** An unwatched quote is refreshed every 300 s, and may come two ticks late: an older one is not fresh. */
const MAX_FRESH_AGE_MS = 330_000

type Prices = { prices: { symbol: string; price?: number; source?: string; updatedAt?: string }[] }

const MINUTE_MS = 60_000

async function runCron(server: BenchServer): Promise<void> {
  const { status, text } = await sendRequest(`${server.url}/_bench/cron`, {})
  if (status !== 204) throw new Error(`cron: ${status} ${text}`)
}

/** The symbols of all assets, once each of them has a price. */
async function warmUp(server: BenchServer): Promise<string[]> {
  const sql = openDatabase('live', server.databaseUrl)
  const rows = await sql<
    { name: string }[]
  >`SELECT provider || ':' || provider_id AS name FROM assets ORDER BY asset_id`
  await sql.end()
  const symbols = rows.map(({ name }) => name)
  await runCron(server)
  const until = Date.now() + WARM_UP_TIMEOUT_MS
  for (;;) {
    const { prices } = await getBatchPrices(server, symbols)
    const missing = prices.filter(({ price }) => price === undefined)
    if (missing.length === 0) return symbols
    if (Date.now() > until)
      throw new Error(`${missing.length} of ${symbols.length} have no price: ${JSON.stringify(missing.slice(0, 3))}`)
    await pause(500)
  }
}

async function getBatchPrices(server: BenchServer, symbols: readonly string[]): Promise<Prices> {
  const { status, text } = await sendRequest(`${server.url}/get-batch-prices`, { symbols })
  if (status !== 200) throw new Error(`get-batch-prices: ${status} ${text.slice(0, 200)}`)
  return JSON.parse(text) as Prices
}

/**
 * The median times of `get-price` of a thousand warm symbols, of a route of the same app that returns a constant, and of
 * one of an app that has nothing else: neither limits nor logs.
 */
async function measureSpeed({ rounds: turns, warmUpRounds, requests }: Scale) {
  const server = await startServer({ entry: 'dev/worker/bench.ts' })
  try {
    const symbols = await warmUp(server)
    const routes = {
      price: (n: number) =>
        `${server.url}/get-price?symbol=${encodeURIComponent(symbols[(n * 617) % symbols.length] ?? '')}`,
      constant: () => `${server.url}/constant`,
      bare: () => `${server.url}/_bench/bare`,
    }
    const names = ['price', 'constant', 'bare'] as const
    const rounds: Record<(typeof names)[number], number>[] = []
    const prices: number[] = []
    for (let round = -warmUpRounds; round < turns; round++) {
      const medians = { price: 0, constant: 0, bare: 0 }
      for (const name of names) {
        const measured = await timeRequests(requests, CONCURRENCY, (n) =>
          routes[name](n + (round + warmUpRounds) * requests),
        )
        medians[name] = median(measured)
        if (name === 'price' && round >= 0) prices.push(...measured)
      }
      if (round >= 0) rounds.push(medians)
    }
    return {
      vs_constant_route: rounded(median(rounds.map(({ price, constant }) => price / constant))),
      vs_bare_route: rounded(median(rounds.map(({ price, bare }) => price / bare))),
      get_price_ms: rounded(median(rounds.map(({ price }) => price))),
      get_price_p99_ms: rounded(quantile(prices, 0.99)),
      constant_ms: rounded(median(rounds.map(({ constant }) => constant))),
      bare_ms: rounded(median(rounds.map(({ bare }) => bare))),
    }
  } finally {
    await server.stop()
  }
}

/** The most requests that any minute of the market had, all providers together. */
function busiestMinute(at: readonly number[]): number {
  const sorted = at.toSorted((a, b) => a - b)
  let most = 0
  let first = 0
  for (const [last, time] of sorted.entries()) {
    while ((sorted[first] as number) <= time - MINUTE_MS) first++
    most = Math.max(most, last - first + 1)
  }
  return most
}

/** An hour in which ten thousand users read what they hold: how much of it was known and fresh, and what it cost. */
async function simulateHour({ minutes, users }: Scale) {
  const server = await startServer({ entry: 'dev/worker/bench-fast.ts', speed: SPEED, vars: HOUR_VARS })
  try {
    // Closed markets would be asked less.
    server.providers.setPrice({ market: '*', market_state: 'open' })
    const symbols = await warmUp(server)
    const counts = { asked: 0, hits: 0, stale: 0, none: 0 }
    const began = Date.now()
    const beganAt = server.providers.now()
    const underWay: Promise<void>[] = []
    const failures: unknown[] = []
    const inBackground = (work: Promise<void>) => underWay.push(work.catch((error) => void failures.push(error)))
    let minute = 0
    for (let user = 0; user < users && failures.length === 0; user++) {
      for (; Date.now() >= began + ((minute + 1) * MINUTE_MS) / SPEED; minute++) inBackground(runCron(server))
      // Some are held by many: the square crowds the draw towards the first.
      const held = Array.from({ length: HELD_SYMBOLS }, (_, n) => {
        const draw = ((user * HELD_SYMBOLS + n) * 0.6180339887498949) % 1
        return symbols[Math.floor(draw * draw * symbols.length)] as string
      })
      inBackground(
        getBatchPrices(server, [...new Set(held)]).then(({ prices }) => {
          // By the market's clock: the API's own runs as fast as ours.
          const now = server.providers.now()
          for (const { price, source, updatedAt = '' } of prices) {
            counts.asked++
            if (price === undefined) counts.none++
            else if (now - Date.parse(updatedAt) > MAX_FRESH_AGE_MS) counts.stale++
            else if (source === 'cache') counts.hits++
          }
        }),
      )
      await pause(Math.max(0, began + (user * minutes * MINUTE_MS) / SPEED / users - Date.now()))
    }
    await Promise.all(underWay)
    if (failures.length > 0) throw failures[0]
    const requests = [
      ...server.providers.requests({ since: beganAt }),
      ...server.exchange.requests.filter(({ at }) => at >= beganAt),
    ]
    return {
      hit_rate: counts.hits / counts.asked,
      ...counts,
      provider_requests_per_minute: busiestMinute(requests.map(({ at }) => at)),
      provider_requests: requests.length,
    }
  } finally {
    await server.stop()
  }
}

export async function quotes(size: Size): Promise<Figures> {
  const scale = SIZES[size]
  try {
    const { vs_constant_route, vs_bare_route, ...one } = await measureSpeed(scale)
    const { hit_rate, provider_requests_per_minute, ...rest } = await simulateHour(scale)
    return {
      ratios: { vs_constant_route, vs_bare_route },
      hit_rate: rounded(hit_rate),
      provider_requests_per_minute,
      ...one,
      users: scale.users,
      speed: SPEED,
      ...rest,
    }
  } finally {
    closeConnections()
  }
}
