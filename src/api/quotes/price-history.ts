import { Hono } from 'hono'
import { readSettings } from '../../config.ts'
import { withCachedDatabase, withLiveDatabase } from '../../db/client.ts'
import {
  readBars,
  readCorporateActions,
  readHistoryState,
  readRunningBar,
  requestHistory,
} from '../../db/price-history.ts'
import { readSnapshots } from '../../db/prices.ts'
import { log } from '../../log.ts'
import { adjustBars, hashActions } from '../../pricing/adjust.ts'
import {
  addDays,
  currentDayBar,
  type DayInterval,
  historyInterval,
  mergeDays,
  rangeStart,
  startOfPeriod,
} from '../../pricing/history-range.ts'
import type { PriceHistory } from '../../pricing/price-history.ts'
import { barsFromSnapshots, formatTime } from '../../pricing/snapshot-bars.ts'
import type { Asset } from '../../protocol/asset.ts'
import type { Candle } from '../../protocol/candle.ts'
import { CodedError } from '../../protocol/errors.ts'
import { GRANULARITY_SECONDS } from '../../protocol/granularity.ts'
import { formatPriceBar, type PriceBar } from '../../protocol/price-history.ts'
import type { Quote } from '../../protocol/quote.ts'
import { readCandleHistory } from '../candles/candle-history.ts'
import type { AppEnv } from '../http/context.ts'
import { jsonWithEtag } from '../http/etag.ts'
import { type HistoryInput, parseHistoryInput } from '../http/input.ts'
import { findAsset } from './assets.ts'
import { lookupQuotes } from './cache.ts'

const DAY_S = 86_400
/** Seconds of the ranges whose bars are not made of days. */
const RANGE_S = { '1d': DAY_S, '7d': 7 * DAY_S } as const
/** Our own days of a streamed product go on from the stored ones: the history is brought up to date each day. */
const STREAMED_DAYS = 4
/** Bars that are over for so many days are not corrected any more. */
const SETTLED_DAYS = 7
/** Seconds after which a history that is being loaded may be there: cron loads each minute. */
const LOADING_RETRY_S = 60

/** What is asked of the history of one asset. */
export type PriceHistoryQuery = Omit<HistoryInput, 'symbol'>

/** The active product that is this asset: its trades make its candles here. Null for any other. */
export function streamedProduct(env: Env, { provider, provider_id }: Asset): string | null {
  return provider === 'coinbase' && readSettings(env).PRODUCTS.includes(provider_id) ? provider_id : null
}

/**
 * The price history of an asset: intraday bars of candles or of the prices that were told, longer ones of its days.
 * @param name one that means this asset
 * @param now unix milliseconds
 * @throws CodedError `unavailable` while the database cannot be read
 */
export async function readPriceHistory(
  env: Env,
  asset: Asset,
  name: string,
  query: PriceHistoryQuery,
  now: number,
): Promise<PriceHistory> {
  const { range } = query
  try {
    return await (range === '1d' || range === '7d'
      ? readIntraday(env, asset, name, { ...query, range }, now)
      : readDays(env, asset, name, query, now))
  } catch (error) {
    log('price_history_read_failed', { symbol: asset.symbol, range, error: String(error) })
    throw new CodedError('unavailable', 'the history cannot be read at the moment', { retryAfter: 5 })
  }
}

async function findQuote(env: Env, name: string): Promise<Quote | null> {
  const [look] = await lookupQuotes(env, [name])
  return look?.kind === 'quote' ? look.quote : null
}

const toPriceBar = (candle: Candle, date: string): PriceBar => {
  const { open, high, low, close, volume, is_complete } = candle
  return { date, open, high, low, close, volume, is_complete }
}

type IntradayQuery = PriceHistoryQuery & { range: keyof typeof RANGE_S }

async function readIntraday(
  env: Env,
  asset: Asset,
  name: string,
  query: IntradayQuery,
  nowMs: number,
): Promise<PriceHistory> {
  const { range, basis, until } = query
  const interval = range === '1d' ? 'FIVE_MINUTES' : 'THIRTY_MINUTES'
  const size = GRANULARITY_SECONDS[interval]
  const now = Math.floor(nowMs / 1_000)
  const quote = until === null ? await findQuote(env, name) : null
  let end = until === null ? now : Date.parse(until) / 1_000
  // Of a market that has closed, the last day that it was open is what there is to see.
  if (quote && asset.type !== 'crypto') end = Math.min(end, Date.parse(quote.as_of) / 1_000)
  const to = Math.floor(end / size) * size + (until === null ? size : 0)
  const from = to - RANGE_S[range]
  const told = {
    range,
    interval,
    basis,
    currency: asset.currency,
    actionsVersion: hashActions([]),
    loaded: true,
    lastDate: null,
  } as const

  const product = streamedProduct(env, asset)
  const streamed = product
    ? await readCandleHistory(
        env,
        product,
        { granularity: interval, start: from, end: to, limit: RANGE_S[range] / size },
        now,
      )
    : null
  const candles = streamed?.candles.map((candle) => toPriceBar(candle, formatTime(candle.timestamp))) ?? []
  // One that nobody watched has few candles or none, and prices were told all the same.
  if (streamed && candles.length > RANGE_S[range] / size / 2)
    return { ...told, bars: candles, provider: readSettings(env).EXCHANGE, gaps: streamed.gaps }

  const [snapshots, actions] = await withLiveDatabase(env, (sql) =>
    Promise.all([
      readSnapshots(sql, asset.asset_id, from, to),
      basis === 'raw' ? [] : readCorporateActions(sql, asset.asset_id),
    ]),
  )
  const points = snapshots.map(({ recorded_at, price }) => ({ at: Date.parse(recorded_at) / 1_000, price }))
  const lastAt = quote === null ? 0 : Date.parse(quote.updated_at) / 1_000
  if (quote && lastAt >= from && lastAt < to && lastAt > (points.at(-1)?.at ?? 0))
    points.push({ at: lastAt, price: quote.price })
  const bars = barsFromSnapshots(points, size, now)
  if (streamed && candles.length >= bars.length)
    return {
      ...told,
      bars: candles,
      provider: candles.length === 0 ? null : readSettings(env).EXCHANGE,
      gaps: streamed.gaps,
    }
  const provider = bars.length === 0 ? null : (quote?.provider ?? shownProvider(env, asset))
  const adjusted = adjustBars(bars, actions, basis, interval)
  return { ...told, bars: adjusted, provider, actionsVersion: hashActions(actions), gaps: [] }
}

/** Who tells an asset's prices, as clients are told. */
const shownProvider = (env: Env, { provider }: Asset): string =>
  readSettings(env).EXCHANGE === 'simulated' ? 'simulated' : provider

async function readDays(
  env: Env,
  asset: Asset,
  name: string,
  query: PriceHistoryQuery,
  nowMs: number,
): Promise<PriceHistory> {
  const { range, basis, until } = query
  const today = new Date(nowMs).toISOString().slice(0, 10)
  const start = rangeStart(range, until ?? today)
  const interval = historyInterval(range, start, today) as DayInterval
  const id = asset.asset_id
  const from = startOfPeriod(start, interval)
  const [stored, state, days] = await Promise.all([
    withCachedDatabase(env, (sql) => readBars(sql, id, interval, { from, to: until ?? today })),
    withLiveDatabase(env, (sql) =>
      Promise.all([
        readHistoryState(sql, id),
        basis === 'raw' ? [] : readCorporateActions(sql, id),
        until === null && interval !== 'ONE_DAY' ? readRunningBar(sql, id, interval, today) : null,
      ]),
    ),
    until === null ? recentDays(env, asset, name, today, nowMs) : [],
  ])
  const [history, actions, running] = state
  // What another market told, a simulated one or the real one, is not of this one.
  const ours =
    history?.provider == null || (history.provider === 'simulated') === (readSettings(env).EXCHANGE === 'simulated')
  const bars = ours ? [...stored, ...(running ? [running] : [])] : []
  const held = interval === 'ONE_DAY' ? bars.at(-1)?.date : ours ? history?.last_date : null
  const whole = mergeDays(
    bars,
    days.filter(({ date }) => date > (held ?? '') && date >= start),
    interval,
  )
  const loaded = bars.length > 0 || (ours && history?.state === 'whole') || asset.provider === 'manual'
  if (!loaded && history === null) await withLiveDatabase(env, (sql) => requestHistory(sql, id, nowMs))
  return {
    range,
    interval,
    basis,
    currency: (ours && history?.currency) || asset.currency,
    bars: adjustBars(whole, actions, basis, interval),
    provider: bars.length === 0 ? null : (history?.provider ?? shownProvider(env, asset)),
    actionsVersion: hashActions(actions),
    gaps: [],
    loaded,
    lastDate: ours ? (history?.last_date ?? null) : null,
  }
}

/** The days that may not be stored yet, ascending: our own candles of a streamed product, and the one the quote tells. */
async function recentDays(env: Env, asset: Asset, name: string, today: string, nowMs: number): Promise<PriceBar[]> {
  const product = streamedProduct(env, asset)
  const days: PriceBar[] = []
  if (product) {
    const start = Date.parse(addDays(today, 1 - STREAMED_DAYS)) / 1_000
    const query = { granularity: 'ONE_DAY', start, limit: STREAMED_DAYS } as const
    const { candles } = await readCandleHistory(env, product, query, Math.floor(nowMs / 1_000))
    // A day of which trades are missing would be told wrong.
    for (const candle of candles)
      if (candle.coverage === 'full') days.push(toPriceBar(candle, formatTime(candle.timestamp).slice(0, 10)))
  }
  const quote = await findQuote(env, name)
  const day = quote && currentDayBar(asset, quote)
  if (day && day.date > (days.at(-1)?.date ?? '')) days.push(day)
  return days
}

/** How long an answer may be kept: what is over, raw and stored does not change; the last bar does. */
function cacheControl({ interval, basis, lastDate }: PriceHistory, until: string | null, today: string): string {
  if (interval === 'FIVE_MINUTES' || interval === 'THIRTY_MINUTES') return 'no-cache'
  if (until === null) return 'public, max-age=15'
  if (basis !== 'raw') return 'public, max-age=300'
  const settled = until <= addDays(today, -SETTLED_DAYS) && lastDate !== null && lastDate >= until
  return settled ? 'public, max-age=31536000, immutable' : 'public, max-age=15'
}

/** `GET /get-history` (brief 001). */
export const priceHistoryRoutes = new Hono<AppEnv>().get('/get-history', async (c) => {
  const now = Date.now()
  const today = new Date(now).toISOString().slice(0, 10)
  const { symbol, ...query } = parseHistoryInput(new URL(c.req.url).searchParams, today)
  const asset = await findAsset(c, symbol)
  const history = await readPriceHistory(c.env, asset, symbol, query, now)
  const { interval, basis, bars, loaded } = history
  if (!loaded)
    throw new CodedError('unavailable', `the history of ${asset.symbol} has not been loaded yet`, {
      retryAfter: LOADING_RETRY_S,
    })
  const head = {
    symbol: asset.symbol,
    range: history.range,
    interval,
    basis,
    currency: history.currency,
  }
  const tail = {
    count: bars.length,
    provider: history.provider,
    actions_version: history.actionsVersion,
    gaps: history.gaps,
  }
  const text = `${JSON.stringify(head).slice(0, -1)},"data":[${bars.map(formatPriceBar).join(',')}],${JSON.stringify(tail).slice(1)}`
  return jsonWithEtag(c, text, {
    version: `${history.actionsVersion}-`,
    cacheControl: cacheControl(history, query.until, today),
  })
})
