import { Hono } from 'hono'
import { readSettings } from '../../config.ts'
import { quoteBoard, type RefreshReport } from '../../objects.ts'
import { normalizeName } from '../../pricing/symbol.ts'
import { readJson } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { parseRefreshInput } from '../http/input.ts'
import { requireServiceKey } from '../http/service-key.ts'
import { lookupQuotes, namesByShard } from './cache.ts'

const EMPTY_REPORT: RefreshReport = { refreshed: 0, failed: 0, waiting: 0 }

const addReports = (a: RefreshReport, b: RefreshReport): RefreshReport => ({
  refreshed: a.refreshed + b.refreshed,
  failed: a.failed + b.failed,
  waiting: a.waiting + b.waiting,
})

/** Has these symbols refreshed; those that no asset has, or several, have failed. */
async function refreshSymbols(env: Env, symbols: readonly string[]): Promise<RefreshReport> {
  const names = [...new Set(symbols.map((symbol) => normalizeName(symbol) ?? ''))]
  const looks = await lookupQuotes(
    env,
    names.filter((name) => name !== ''),
  )
  const there = looks.filter(({ kind }) => kind === 'quote' || kind === 'unpriced').map(({ name }) => name)
  const failed = names.length - there.length
  const reports = [...namesByShard(env, there)].map(([shard, of]) => quoteBoard(env, shard).refresh(of))
  return (await Promise.all(reports)).reduce(addReports, { ...EMPTY_REPORT, failed })
}

async function refreshAll(env: Env): Promise<RefreshReport> {
  const shards = Array.from({ length: readSettings(env).QUOTE_SHARDS }, (_, shard) =>
    quoteBoard(env, shard).refresh(null),
  )
  return (await Promise.all(shards)).reduce(addReports, EMPTY_REPORT)
}

/** `POST /refresh-prices` (brief 001), as its cron calls it: with the service key, with or without a body. */
export const refreshPricesRoutes = new Hono<AppEnv>().post('/refresh-prices', requireServiceKey, async (c) => {
  const symbols = parseRefreshInput((await readJson(c)) ?? {}, readSettings(c.env))
  const report = symbols === null ? await refreshAll(c.env) : await refreshSymbols(c.env, symbols)
  return c.json(report, 200, { 'cache-control': 'no-store' })
})
