import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import postgres from 'postgres'
import { expect, vi } from 'vitest'
import { ProviderGate } from '../../../durable-objects/providers/provider-gate.ts'
import { get } from './wire.ts'

/**
 * The judge of the fault tests: it knows what the fake providers had at each moment, what they were asked, and what the
 * contract says of freshness, currencies and budgets; and of Kerb only what it tells over HTTP and keeps in Postgres.
 */

const MINUTE_MS = 60_000
/** Between the moment that a price counts from and the provider's answer: two timeouts and the way there and back. */
const ANSWER_WINDOW_MS = 10_000
const REFRESH_TICK_MS = 15_000
const CLOSED_INTERVAL_S = 900
const DEFAULT_INTERVAL_S = 60
const [MIN_S, MAX_S] = [15, 300]

/** Requests that each provider may get in any minute (Binance: weight), as the README tells it, and all of them. */
const RATE_LIMITS: Readonly<Record<string, number>> = { yahoo: 60, coinbase: 120, binance: 1_000 }
const TOTAL_RATE_LIMIT = 200

/** What minor units are told in, and how many of them make one. */
const MINOR_UNITS: Readonly<Record<string, [string, number]>> = {
  GBp: ['GBP', 100],
  ZAc: ['ZAR', 100],
  ILA: ['ILS', 100],
}

// --- the clock

const realNow = Date.now.bind(Date)
let clockOffsetMs = 2 * 3_600_000
/** How far the clock was ahead of the fakes' from each of their moments on. */
const clockSegments = [{ from: 0, ahead: clockOffsetMs }]

/** Sets the clock of everything but the fakes forward. Alarms come when a test says so, not by themselves. */
export function advance(ms: number): void {
  clockOffsetMs += ms
  clockSegments.push({ from: realNow(), ahead: clockOffsetMs })
}

/** The Worker's moment of a moment of the fakes. */
const toWorkerTime = (real: number): number => real + (clockSegments.findLast(({ from }) => from <= real)?.ahead ?? 0)

// --- what goes out

const gatePrototype = ProviderGate.prototype as unknown as { send(url: string, init: RequestInit): Promise<Response> }
const { send } = gatePrototype
/** Requests of the gate to the exchange, and what it told: by pair, when and at what price. */
const exchangeRequests: number[] = []
const exchangePrices = new Map<string, { at: number; price: number }[]>()
let injectedAnswer: (() => Response) | null = null

/** What the exchange does wrong that its simulation cannot: instead of an answer. Null ends it. */
export function injectCoinbase(answer: (() => Response) | null): void {
  injectedAnswer = answer
}

/** An answer of Yahoo's or Binance's as if its clock were set as the Worker's is. */
const withWorkerClock = (text: string): string =>
  text
    .replace(
      /"regularMarketTime":(\d+)/g,
      (_, at) => `"regularMarketTime":${Number(at) + Math.floor(clockOffsetMs / 1_000)}`,
    )
    .replace(/"closeTime":(\d+)/g, (_, at) => `"closeTime":${Number(at) + clockOffsetMs}`)

/** Notes the prices of an answer of the exchange. */
function recordExchangePrices(text: string): void {
  for (const [, id, price] of text.matchAll(/"product_id":"([^"]+)","price":"([0-9.]+)"/g)) {
    const told = exchangePrices.get(id as string) ?? []
    exchangePrices.set(id as string, told)
    told.push({ at: Date.now(), price: Number(price) })
  }
}

/** Puts the clock in, and an ear at the gate's way out. To be undone by `vi.restoreAllMocks`. */
export function interceptProviders(): void {
  vi.spyOn(Date, 'now').mockImplementation(() => realNow() + clockOffsetMs)
  vi.spyOn(console, 'log').mockImplementation(() => {})
  vi.spyOn(gatePrototype, 'send').mockImplementation(async function (this: unknown, url, init) {
    const isExchange = url.startsWith(env.COINBASE_REST_URL)
    if (isExchange) exchangeRequests.push(Date.now())
    if (isExchange && injectedAnswer) return injectedAnswer()
    const response = await send.call(this, url, init)
    if (!isExchange && !/\/v7\/finance\/quote|\/ticker/.test(url)) return response
    const text = withWorkerClock(await response.text())
    if (isExchange) recordExchangePrices(text)
    return new Response(text, { status: response.status, headers: response.headers })
  })
}

// --- the fakes

export async function control(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const url = path.startsWith('/') ? `${env.PROVIDERS_URL}${path}` : path
  const response = await fetch(url, { method, ...(body !== undefined && { body: JSON.stringify(body) }) })
  if (!response.ok) throw new Error(await response.text())
  return (await response.json()) as Record<string, unknown>
}
export const injectFault = (body: object) => control('POST', '/_faults', body)
export const injectExchangeFault = (answer: string, more: object = {}) =>
  control('POST', `${env.COINBASE_REST_URL}/_faults`, { kind: 'rest', answer, forMs: 600_000, ...more })
/** Ends every fault. */
export async function clearFaults(): Promise<void> {
  injectedAnswer = null
  await control('DELETE', '/_faults')
  await control('DELETE', `${env.COINBASE_REST_URL}/_faults`)
}

// --- the assets

export type PricedAsset = {
  asset_id: number
  symbol: string
  type: string
  code: string
  provider: string
  provider_id: string
  currency: string
  intervalS: number
  /** What one unit of the provider's own number is: 100 where it tells pence. */
  minorUnits: number
}

export async function database<T>(use: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(env.HYPERDRIVE.connectionString, { max: 1, fetch_types: false, connect_timeout: 5 })
  try {
    return await use(sql)
  } finally {
    await sql.end({ timeout: 1 })
  }
}

let pricedAssets: PricedAsset[] = []
export const assets = (): readonly PricedAsset[] => pricedAssets

/** Learns what is to be priced, and how often; and opens every market. */
export async function loadAssets(): Promise<readonly PricedAsset[]> {
  const rows = await database(
    (sql) => sql<(Omit<PricedAsset, 'intervalS' | 'minorUnits'> & { least: number | null })[]>`
      SELECT asset_id, symbol, type, code, provider, provider_id, currency,
        (SELECT min(coalesce(interval_seconds, ${DEFAULT_INTERVAL_S})) FROM asset_watches w WHERE w.asset_id = a.asset_id) AS least
      FROM assets a WHERE active AND provider <> 'manual' ORDER BY asset_id`,
  )
  pricedAssets = await Promise.all(
    rows.map(async ({ least, ...row }): Promise<PricedAsset> => {
      const interval = Math.max(MIN_S, Math.min(MAX_S, least ?? MAX_S))
      if (!/\.(L|IL|JO|TA)$/.test(row.provider_id)) return { ...row, intervalS: interval, minorUnits: 1 }
      const { view } = await control('GET', `/_prices?provider=yahoo&id=${encodeURIComponent(row.provider_id)}`)
      const { currency } = view as { currency: string }
      const [whole, parts] = MINOR_UNITS[currency] ?? [currency, 1]
      expect(whole).toBe(row.currency)
      return { ...row, intervalS: interval, minorUnits: parts }
    }),
  )
  await control('POST', '/_prices', [{ market: '*', market_state: 'open' }])
  return pricedAssets
}

// --- prices as they are set

/** Whom an asset's price may come from: its own provider, and for coins the same pair elsewhere, in the same currency. */
function allowedSources({ type, code, provider, provider_id, currency }: PricedAsset): string[] {
  const sources = [`${provider} ${provider_id}`]
  if (type === 'crypto') sources.push(`coinbase ${code}-${currency}`, `yahoo ${code}-${currency}`)
  return [...new Set(sources)]
}

/** Prices that hold from `at` on, the Worker's moment: by provider and id. */
const pinnedPrices: { at: number; prices: ReadonlyMap<string, number> }[] = []
let pinCount = 0

/** Sets the price of everything at Yahoo and Binance anew: no two are the same, nor is one the same twice. */
export async function pinPrices(): Promise<void> {
  pinCount++
  const prices = new Map<string, number>()
  const names = new Set(pricedAssets.flatMap(allowedSources).filter((name) => !name.startsWith('coinbase ')))
  for (const [i, name] of [...names].entries()) prices.set(name, (i + 1) * 10 + pinCount / 100)
  const settings = [...prices].map(([name, price]) => {
    const [provider, id] = name.split(' ')
    return { provider, id, price }
  })
  await control('POST', '/_prices', settings)
  pinnedPrices.push({ at: Date.now(), prices })
}

/** What a provider had between two moments. */
function pricesBetween(name: string, from: number, to: number): number[] {
  if (name.startsWith('coinbase '))
    return (exchangePrices.get(name.slice('coinbase '.length)) ?? [])
      .filter(({ at, price }) => at >= from && at <= to && price > 0)
      .map(({ price }) => price)
  return pinnedPrices.flatMap((one, i) => {
    const end = pinnedPrices[i + 1]?.at ?? Number.POSITIVE_INFINITY
    const price = one.prices.get(name)
    return price !== undefined && one.at <= to && end > from ? [price] : []
  })
}

// --- what is told

type QuotedPrice = {
  symbol: string
  price: number
  currency: string
  updatedAt: string
  stale: string | null
  provider: string
  source: string
  market_state: string
  error?: { code: string; message: string }
}

const isClose = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-9 * Math.abs(b)

/** Whether a provider had that price of an asset at that moment. */
const hadPrice = (asset: PricedAsset, price: number, at: number): boolean =>
  allowedSources(asset)
    .flatMap((source) => pricesBetween(source, at, at + ANSWER_WINDOW_MS))
    .some((had) => isClose(price, had / asset.minorUnits))

/** What is wrong with one price that was told between two moments. */
function priceViolations(asset: PricedAsset, told: QuotedPrice, from: number, to: number): string[] {
  const name = `${asset.provider}:${asset.provider_id}`
  const found: string[] = []
  const updatedAt = Date.parse(told.updatedAt)
  if (!hadPrice(asset, told.price, updatedAt)) {
    const had = allowedSources(asset).map(
      (source) => `${source} ${pricesBetween(source, updatedAt, updatedAt + ANSWER_WINDOW_MS)}`,
    )
    found.push(`${name}: told ${told.price}, ${told.updatedAt}, had ${had.join(', ')} / ${asset.minorUnits}`)
  }
  if (told.currency !== asset.currency) found.push(`${name}: in ${told.currency}, is in ${asset.currency}`)
  if (told.provider !== 'simulated') found.push(`${name}: from ${told.provider}, which is no simulation`)
  if (updatedAt > to) found.push(`${name}: told at ${told.updatedAt}, which is to come`)
  const seconds = told.market_state === 'closed' ? Math.max(asset.intervalS, CLOSED_INTERVAL_S) : asset.intervalS
  const until = updatedAt + seconds * 1_000 + 2 * REFRESH_TICK_MS
  if (told.stale === null && from > until) found.push(`${name}: ${from - until} ms past its time, and called fresh`)
  if (told.stale !== null && to <= until) found.push(`${name}: called ${told.stale} ${until - to} ms before its time`)
  return found
}

/** What is told of every asset, over HTTP. */
export async function checkPrices(
  wanted: readonly PricedAsset[] = pricedAssets,
): Promise<{ told: QuotedPrice[]; wrong: string[] }> {
  const from = Date.now()
  const symbols = wanted.map(({ provider, provider_id }) => `${provider}:${provider_id}`)
  const response = await get('/get-batch-prices', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ symbols }),
  })
  if (response.status !== 200) return { told: [], wrong: [`status ${response.status}: ${await response.text()}`] }
  const { prices } = (await response.json()) as { prices: QuotedPrice[] }
  const to = Date.now()
  const wrong = prices.length === wanted.length ? [] : [`${prices.length} of ${wanted.length} answers`]
  for (const [i, told] of prices.entries())
    if (!told.error) wrong.push(...priceViolations(wanted[i] as PricedAsset, told, from, to))
    else if (told.error.code !== 'unavailable') wrong.push(`${symbols[i]}: ${JSON.stringify(told.error)}`)
  return { told: prices, wrong }
}

/** Requests at the fakes, by provider: the Worker's moments, and what they weigh. */
type ProviderRequest = { provider: string; at: number; weight: number }

/** What Yahoo and Binance were asked, at the fakes' moments; the last of it is looked at again, as it may go on. */
let stockRequests: ProviderRequest[] = []

async function readRequests(): Promise<ProviderRequest[]> {
  const since = stockRequests.at(-1)?.at ?? 0
  const { requests } = await control('GET', `/_requests?since=${since}`)
  const news = (requests as ProviderRequest[]).map(({ provider, at, weight }) => ({ provider, at, weight }))
  stockRequests = [...stockRequests.filter(({ at }) => at < since), ...news]
  const stock = stockRequests.map((one) => ({ ...one, at: toWorkerTime(one.at) }))
  return [...stock, ...exchangeRequests.map((at) => ({ provider: 'coinbase', at, weight: 1 }))]
}

/** Where a budget was exceeded, in any minute of the file's time. */
export async function rateLimitViolations(): Promise<string[]> {
  const found: string[] = []
  const check = (name: string, budget: number, list: { at: number; weight: number }[]) => {
    const sorted = list.sort((a, b) => a.at - b.at)
    let [first, sum, most] = [0, 0, 0]
    for (const { at, weight } of sorted) {
      sum += weight
      while ((sorted[first]?.at ?? at) <= at - MINUTE_MS) sum -= sorted[first++]?.weight ?? 0
      most = Math.max(most, sum)
    }
    if (most > budget) found.push(`${name}: ${most} in a minute, of ${budget}`)
  }
  const all = await readRequests()
  for (const [provider, budget] of Object.entries(RATE_LIMITS))
    check(
      provider,
      budget,
      all
        .filter((one) => one.provider === provider)
        .map(({ at, weight }) => ({ at, weight: weight || (provider === 'binance' ? 2 : 1) })),
    )
  const requests = all.map(({ at }) => ({ at, weight: 1 }))
  check('all', TOTAL_RATE_LIMIT, requests)
  return found
}

/** How often providers were asked since a moment of the Worker. */
export const requestsSince = async (from: number): Promise<number> =>
  (await readRequests()).filter(({ at }) => at >= from).length

/** What is wrong now: with any price, or with any budget so far. */
export async function findViolations(wanted: readonly PricedAsset[] = pricedAssets): Promise<string[]> {
  const { wrong } = await checkPrices(wanted)
  return [...wrong, ...(await rateLimitViolations())].slice(0, 10)
}

/** What is not as it is to be when no fault is left: everything priced, fresh and in Postgres, every provider in use. */
export async function findUnrecovered(wanted: readonly PricedAsset[] = pricedAssets): Promise<string[]> {
  const { told, wrong } = await checkPrices(wanted)
  const found = [...wrong]
  for (const [i, one] of told.entries())
    if (one.error || one.stale !== null)
      found.push(`${wanted[i]?.provider}:${wanted[i]?.provider_id} is ${one.error?.message ?? one.stale}`)
  const rows = await database(
    (sql) => sql<{ asset_id: number; price: string; currency: string; updated_at: Date }[]>`
      SELECT asset_id, price, currency, updated_at FROM prices_current`,
  )
  const stored = new Map(rows.map((row) => [row.asset_id, row]))
  for (const [i, one] of told.entries()) {
    const asset = wanted[i] as PricedAsset
    const row = stored.get(asset.asset_id)
    const updatedAt = row?.updated_at.getTime() ?? 0
    // What a beat brings may be written with the next one.
    if (!row || Date.parse(one.updatedAt) - updatedAt > 2 * REFRESH_TICK_MS + 1_000)
      found.push(`${asset.symbol} is not in Postgres: ${JSON.stringify(row)} for ${one.price}, ${one.updatedAt}`)
    else if (row.currency !== asset.currency || !hadPrice(asset, Number(row.price), updatedAt))
      found.push(`${asset.symbol} is wrong in Postgres: ${JSON.stringify(row)}`)
  }
  return found.slice(0, 10)
}

// --- cron and boards

/** The types of `exports` leave out what else than `fetch` a service takes. */
const worker = exports.default as unknown as {
  scheduled(event: { cron: string; scheduledTime: number }): Promise<void>
}

/** Fires a cron, every minute's unless it is said which. */
export const runCron = (cron = '* * * * *'): Promise<void> => worker.scheduled({ cron, scheduledTime: Date.now() })

export const getBoard = (shard = 0) => env.QUOTE_BOARD.getByName(`simulated:${shard}`)

/** Waits until a board has nothing under way. */
export const settleBoard = (shard = 0): Promise<void> =>
  runInDurableObject(getBoard(shard), async (board) => {
    const { work } = board as unknown as { work: Set<Promise<unknown>> }
    while (work.size > 0) await Promise.all([...work])
  })

/** Rings a board's alarm, and waits until all that it begins is done. @throws Error where no alarm is set */
export async function fireAlarm(shard = 0): Promise<void> {
  if (!(await runDurableObjectAlarm(getBoard(shard))))
    throw new Error(`board ${shard} has no alarm: it is asleep for good`)
  await settleBoard(shard)
}

/** Lets time pass, sets prices anew, rings. */
export async function tick(seconds = 15, shards = [0]): Promise<void> {
  // What a look has begun ends in its own time.
  await Promise.all(shards.map(settleBoard))
  advance(seconds * 1_000)
  await pinPrices()
  await Promise.all(shards.map(fireAlarm))
}

/** Beats until all is as it is to be. @throws Error where that does not come in half an hour of the Worker's time */
export async function tickUntilRecovered(wanted: readonly PricedAsset[] = pricedAssets, shards = [0]): Promise<void> {
  let left: string[] = []
  for (let n = 0; n < 60; n++) {
    await tick(30, shards)
    left = await findUnrecovered(wanted)
    if (left.length === 0) return
    const wrong = await findViolations(wanted)
    if (wrong.length > 0) throw new Error(`while it recovers: ${wrong.join('\n')}`)
  }
  throw new Error(`never finished: ${left.join('\n')}`)
}
