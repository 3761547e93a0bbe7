import { type Context, Hono } from 'hono'
import { z } from 'zod'
import { MAX_ACTIVITIES } from '../../db/activities.ts'
import { ensureProfile } from '../../db/profiles.ts'
import { readActivities, readActivityAssets } from '../../db/read-activities.ts'
import { exportCsv, exportJson } from '../../portfolio/export.ts'
import { requireUser } from '../accounts/session.ts'
import type { AppEnv } from '../http/context.ts'
import { parse } from '../http/input.ts'
import { PRIVATE_NO_STORE, withUser } from '../http/user-transaction.ts'

/** The query of `GET /api/v1/portfolio/export`. */
export const exportQuerySchema = z.object({
  format: z.enum(['json', 'csv'], 'must be json or csv').default('json'),
})

const CONTENT_TYPES = { json: 'application/json', csv: 'text/csv; charset=utf-8; header=present' } as const

/** All activities of who asks, the oldest first, as a file. @throws CodedError `unavailable` */
export async function exportPortfolio(c: Context<AppEnv>, format: 'json' | 'csv'): Promise<string> {
  const { user } = c.var
  const portfolio = await withUser(c.env, user, async (sql) => {
    const { currency } = await ensureProfile(sql, user)
    const all = { assetIds: null, kind: null, limit: MAX_ACTIVITIES, after: null }
    const activities = (await readActivities(sql, user.id, all)).reverse()
    const assets = await readActivityAssets(sql, user.id)
    return { currency, activities, assets: new Map(assets.map((asset) => [asset.asset_id, asset])) }
  })
  return format === 'json' ? exportJson(portfolio, new Date().toISOString()) : exportCsv(portfolio)
}

/** `GET /api/v1/portfolio/export`: what an import takes back to the same portfolio, and Ghostfolio as far as it goes. */
export const exportRoutes = new Hono<AppEnv>().get('/api/v1/portfolio/export', requireUser, async (c) => {
  const { format } = parse(exportQuerySchema, c.req.query())
  const day = new Date().toISOString().slice(0, 10)
  return c.body(await exportPortfolio(c, format), 200, {
    ...PRIVATE_NO_STORE,
    'content-type': CONTENT_TYPES[format],
    'content-disposition': `attachment; filename="kerb-portfolio-${day}.${format}"`,
  })
})
