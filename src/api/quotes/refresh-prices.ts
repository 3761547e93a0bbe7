import { Hono } from 'hono'
import { settings } from '../../config.ts'
import { quoteBoard, type RefreshReport } from '../../objects.ts'
import { normalName } from '../../pricing/symbol.ts'
import { jsonBody } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { refreshInput } from '../http/input.ts'
import { serviceKeyOnly } from '../http/service-key.ts'
import { lookUp, placesOf } from './cache.ts'

const NONE: RefreshReport = { refreshed: 0, failed: 0, waiting: 0 }

const sum = (a: RefreshReport, b: RefreshReport): RefreshReport => ({
  refreshed: a.refreshed + b.refreshed,
  failed: a.failed + b.failed,
  waiting: a.waiting + b.waiting,
})

/** Has these symbols refreshed; those that no asset has, or several, have failed. */
async function refreshSome(env: Env, symbols: readonly string[]): Promise<RefreshReport> {
  const names = [...new Set(symbols.map((symbol) => normalName(symbol) ?? ''))]
  const looks = await lookUp(
    env,
    names.filter((name) => name !== ''),
  )
  const there = looks.filter(({ kind }) => kind === 'quote' || kind === 'unpriced').map(({ name }) => name)
  const failed = names.length - there.length
  const reports = [...placesOf(env, there)].map(([shard, of]) => quoteBoard(env, shard).refresh(of))
  return (await Promise.all(reports)).reduce(sum, { ...NONE, failed })
}

async function refreshAll(env: Env): Promise<RefreshReport> {
  const shards = Array.from({ length: settings(env).QUOTE_SHARDS }, (_, shard) => quoteBoard(env, shard).refresh(null))
  return (await Promise.all(shards)).reduce(sum, NONE)
}

/** `POST /refresh-prices` (brief 001), as its cron calls it: with the service key, with or without a body. */
export const refresh = new Hono<AppEnv>().post('/refresh-prices', serviceKeyOnly, async (c) => {
  const symbols = refreshInput((await jsonBody(c)) ?? {}, settings(c.env))
  const report = symbols === null ? await refreshAll(c.env) : await refreshSome(c.env, symbols)
  return c.json(report, 200, { 'cache-control': 'no-store' })
})
