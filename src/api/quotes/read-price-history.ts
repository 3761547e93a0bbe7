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
import { GRANULARITY_SECONDS } from '../../protocol/granularity.ts'
import type { PriceBar } from '../../protocol/price-history.ts'
import type { Quote } from '../../protocol/quote.ts'
import { DAY_S, formatDate } from '../../time.ts'
import { readCandleHistory } from '../candles/candle-history.ts'
import { orUnavailable } from '../http/problems.ts'
import { lookupQuotes } from './cache.ts'
import type { HistoryInput } from './input.ts'

/** The intraday ranges, in seconds. */
const RANGE_S = { '1d': DAY_S, '7d': 7 * DAY_S } as const
/** Days that our own candles of a streamed product add to the stored history, which is updated daily. */
const STREAMED_DAYS = 4
/** A request for the history of one asset. */
export type PriceHistoryQuery = Omit<HistoryInput, 'symbol'>

/** The active product of an asset, whose candles Kerb builds from trades; null for another asset. */
export function streamedProduct(env: Env, { provider, provider_id }: Asset): string | null {
  return provider === 'coinbase' && readSettings(env).PRODUCTS.includes(provider_id) ? provider_id : null
}

/**
 * The price history of an asset: intraday bars from candles or recorded quotes, longer bars from its days.
 * @param name a symbol of this asset
 * @param now Unix milliseconds
 * @throws CodedError `unavailable` while the database cannot be read
 */
export function readPriceHistory(
  env: Env,
  asset: Asset,
  name: string,
  query: PriceHistoryQuery,
  now: number,
): Promise<PriceHistory> {
  const { range } = query
  const read = () =>
    range === '1d' || range === '7d'
      ? readIntraday(env, asset, name, { ...query, range }, now)
      : readDays(env, asset, name, query, now)
  const { symbol } = asset
  return orUnavailable(read, 'price_history_read_failed', 'The history cannot be read', { symbol, range })
}

async function findQuote(env: Env, name: string): Promise<Quote | null> {
  const [result] = await lookupQuotes(env, [name])
  return result?.kind === 'quote' ? result.quote : null
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
  const sizeS = GRANULARITY_SECONDS[interval]
  const now = Math.floor(nowMs / 1_000)
  const quote = until === null ? await findQuote(env, name) : null
  let end = until === null ? now : Date.parse(until) / 1_000
  // A closed market shows its last trading day.
  if (quote && asset.type !== 'crypto') end = Math.min(end, Date.parse(quote.as_of) / 1_000)
  const to = Math.floor(end / sizeS) * sizeS + (until === null ? sizeS : 0)
  const from = to - RANGE_S[range]
  const base = {
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
        { granularity: interval, start: from, end: to, limit: RANGE_S[range] / sizeS },
        now,
      )
    : null
  const candles = streamed?.candles.map((candle) => toPriceBar(candle, formatTime(candle.timestamp))) ?? []
  // An unwatched product has few candles or none, but its quotes were recorded all the same.
  if (streamed && candles.length > RANGE_S[range] / sizeS / 2)
    return { ...base, bars: candles, provider: readSettings(env).EXCHANGE, gaps: streamed.gaps }

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
  const bars = barsFromSnapshots(points, sizeS, now)
  if (streamed && candles.length >= bars.length)
    return {
      ...base,
      bars: candles,
      provider: candles.length === 0 ? null : readSettings(env).EXCHANGE,
      gaps: streamed.gaps,
    }
  const provider = bars.length === 0 ? null : (quote?.provider ?? shownProvider(env, asset))
  const adjusted = adjustBars(bars, actions, basis, interval)
  return { ...base, bars: adjusted, provider, actionsVersion: hashActions(actions), gaps: [] }
}

/** The name of an asset's provider in responses. */
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
  const today = formatDate(nowMs)
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
  // History of a simulated market is not shown in a real one, and the other way round.
  const isOurs =
    history?.provider == null || (history.provider === 'simulated') === (readSettings(env).EXCHANGE === 'simulated')
  const bars = isOurs ? [...stored, ...(running ? [running] : [])] : []
  const lastStored = interval === 'ONE_DAY' ? bars.at(-1)?.date : isOurs ? history?.last_date : null
  const merged = mergeDays(
    bars,
    days.filter(({ date }) => date > (lastStored ?? '') && date >= start),
    interval,
  )
  const loaded = bars.length > 0 || (isOurs && history?.state === 'whole') || asset.provider === 'manual'
  if (!loaded && history === null) await withLiveDatabase(env, (sql) => requestHistory(sql, id, nowMs))
  return {
    range,
    interval,
    basis,
    currency: (isOurs && history?.currency) || asset.currency,
    bars: adjustBars(merged, actions, basis, interval),
    provider: bars.length === 0 ? null : (history?.provider ?? shownProvider(env, asset)),
    actionsVersion: hashActions(actions),
    gaps: [],
    loaded,
    lastDate: isOurs ? (history?.last_date ?? null) : null,
  }
}

/** The days that may not be stored yet, ascending: our own candles of a streamed product, and the day of the quote. */
async function recentDays(env: Env, asset: Asset, name: string, today: string, nowMs: number): Promise<PriceBar[]> {
  const product = streamedProduct(env, asset)
  const days: PriceBar[] = []
  if (product) {
    const start = Date.parse(addDays(today, 1 - STREAMED_DAYS)) / 1_000
    const query = { granularity: 'ONE_DAY', start, limit: STREAMED_DAYS } as const
    const { candles } = await readCandleHistory(env, product, query, Math.floor(nowMs / 1_000))
    // A day with missing trades would have a wrong bar.
    for (const candle of candles)
      if (candle.coverage === 'full') days.push(toPriceBar(candle, formatDate(candle.timestamp * 1_000)))
  }
  const quote = await findQuote(env, name)
  const day = quote && currentDayBar(asset, quote)
  if (day && day.date > (days.at(-1)?.date ?? '')) days.push(day)
  return days
}
