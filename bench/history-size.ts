import { setTimeout as pause } from 'node:timers/promises'
import { type LiveSql, openDatabase } from '../src/db/client.ts'
import { claimHistory, storeHistory } from '../src/db/price-history.ts'
import type { DailyBar } from '../src/pricing/provider-quote.ts'
import type { CorporateAction } from '../src/protocol/price-history.ts'
import { HISTORY_RANGES } from '../src/protocol/price-history.ts'
import { type Figures, median, rounded, type Size } from './figures.ts'
import { closeConnections, sendRequest, timeRequests } from './requests.ts'
import { startServer } from './server.ts'

/** `laterDays` are written one by one afterwards, as cron does: rows that are rewritten leave room behind. */
const SIZES = {
  full: { years: 10, laterDays: 5, rounds: 7, requests: 60 },
  quick: { years: 1, laterDays: 1, rounds: 1, requests: 4 },
}
type Scale = (typeof SIZES)[Size]
const DAY_MS = 86_400_000
const CONCURRENCY = 4

const dateOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10)

/** As many digits as Yahoo writes: its prices are 32-bit floats, printed as 64-bit ones. */
const formatPrice = (value: number): string => String(Math.fround(value))

/** Trading days of one asset in the years up to `until`, a random walk that is the same at every run. */
function generateDays(asset: number, years: number, until: number): DailyBar[] {
  const bars: DailyBar[] = []
  let close = 20 + (asset % 400)
  let chance = asset * 7919 + 1
  const random = () => {
    chance = (chance * 48271) % 2147483647
    return chance / 2147483647
  }
  for (let at = until - years * 365.25 * DAY_MS; at < until; at += DAY_MS) {
    const weekday = new Date(at).getUTCDay()
    if (weekday === 0 || weekday === 6) continue
    const open = close * (0.99 + random() * 0.02)
    close = Math.max(0.5, open * (0.97 + random() * 0.0605))
    const [high, low] = [Math.max(open, close) * (1 + random() * 0.01), Math.min(open, close) * (1 - random() * 0.01)]
    const volume = String(Math.floor(1e6 + random() * 9e7))
    bars.push({
      date: dateOf(at),
      open: formatPrice(open),
      high: formatPrice(high),
      low: formatPrice(low),
      close: formatPrice(close),
      volume,
    })
  }
  return bars
}

/** Four dividends a year, and a split for every tenth. */
const generateActions = (asset: number, bars: readonly DailyBar[]): CorporateAction[] => [
  ...bars
    .filter((_, n) => n % 63 === 62)
    .map((bar, n): CorporateAction => {
      const reference = bars[n * 63 + 61]?.close ?? null
      return { kind: 'dividend', ex_date: bar.date, amount: '0.24', reference_close: reference }
    }),
  ...(asset % 10 === 0 && bars[1_000]
    ? [{ kind: 'split', ex_date: bars[1_000].date, numerator: '4', denominator: '1' } as const]
    : []),
]

/** Loads every asset's whole history, then some days more, through what cron calls. Gives the number of assets. */
async function loadHistory(sql: LiveSql, { years, laterDays }: Scale, now: number): Promise<number> {
  let assets = 0
  for (let behind = laterDays; behind >= 0; behind--) {
    const then = now - behind * DAY_MS
    const today = dateOf(then)
    for (;;) {
      const claims = await claimHistory(sql, { limit: 200, now: then, today, simulated: true })
      if (claims.length === 0) break
      if (behind === laterDays) assets += claims.length
      for (const claim of claims) {
        const { asset_id, currency } = claim.asset
        const all = generateDays(asset_id, years, Date.parse(today))
        const fresh = all.filter((day) => claim.from === null || day.date >= claim.from)
        const told = generateActions(asset_id, all).filter(
          ({ ex_date }) => claim.from === null || ex_date >= claim.from,
        )
        await storeHistory(
          sql,
          claim,
          { currency, days: fresh, actions: told },
          { provider: 'simulated', today, now: then },
        )
      }
    }
  }
  return assets
}

/** Bytes of all that belongs to price history, indexes, partitions and TOAST included. */
async function tableBytes(sql: LiveSql): Promise<Record<string, number>> {
  const rows = await sql<{ name: string; bytes: string }[]>`
    SELECT regexp_replace(relname, '_\d{4}$', '') AS name, sum(pg_total_relation_size(oid))::text AS bytes
    FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
      AND (relname LIKE 'price_history_%' OR relname IN ('corporate_actions', 'asset_history')) GROUP BY 1 ORDER BY 1`
  return Object.fromEntries(rows.map((row) => [row.name, Number(row.bytes)]))
}

/** Ten years of a thousand assets in Postgres: how much room they take, and how fast a range is read. */
export async function historySize(size: Size): Promise<Figures> {
  const { years, rounds: turns, requests } = SIZES[size]
  const server = await startServer({ entry: 'dev/worker/bench.ts' })
  const sql = openDatabase('live', server.databaseUrl)
  try {
    const assets = await loadHistory(sql, SIZES[size], Date.now())
    const sizes = await tableBytes(sql)
    const megabytes = Object.values(sizes).reduce((sum, size) => sum + size, 0) / 1e6
    const symbols = await sql<{ symbol: string }[]>`SELECT symbol FROM assets WHERE provider = 'yahoo' ORDER BY symbol`
    const cron = await sendRequest(`${server.url}/_bench/cron`, {})
    if (cron.status !== 204) throw new Error(`cron: ${cron.status} ${cron.text}`)
    await pause(100)
    const ranges: Record<string, number> = {}
    for (const range of HISTORY_RANGES) {
      const url = (n: number) => {
        const symbol = symbols[(n * 37) % symbols.length]?.symbol ?? ''
        return `${server.url}/get-history?symbol=${encodeURIComponent(symbol)}&range=${range}`
      }
      const key = () => `${server.url}/_bench/key`
      const rounds: number[] = []
      for (let round = 0; round < turns; round++) {
        const read = median(await timeRequests(requests, CONCURRENCY, (n) => url(n + round * requests)))
        rounds.push(read / median(await timeRequests(requests, CONCURRENCY, key)))
      }
      ranges[range] = rounded(median(rounds))
    }
    return {
      ratios: { vs_key_read: Math.max(...Object.values(ranges)) },
      megabytes: rounded(megabytes),
      assets,
      years,
      bytes: sizes,
      ranges,
    }
  } finally {
    closeConnections()
    await sql.end()
    await server.stop()
  }
}
