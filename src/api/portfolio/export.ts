import { Hono } from 'hono'
import { z } from 'zod'
import { MAX_ACTIVITIES } from '../../db/activities.ts'
import { ensureProfile } from '../../db/profiles.ts'
import { readActivities, readActivityAssets } from '../../db/read-activities.ts'
import { exportCsv, exportJson } from '../../portfolio/export.ts'
import { formatDate } from '../../time.ts'
import { requireUser } from '../accounts/session-cookies.ts'
import { type AppEnv, type UserRequest, userRequest } from '../http/context.ts'
import { parse } from '../http/input.ts'
import { type Operations, operation } from '../http/operation.ts'
import { PRIVATE_NO_STORE, withUser } from '../http/user-transaction.ts'
import { READ_ERRORS } from './operations.ts'

const exportQuerySchema = z.object({
  format: z.enum(['json', 'csv'], 'must be json or csv').default('json'),
})

const CONTENT_TYPES = { json: 'application/json', csv: 'text/csv; charset=utf-8; header=present' } as const

/** All activities of the user as a file, the oldest first. @throws CodedError `unavailable` */
async function exportPortfolio(request: UserRequest, format: 'json' | 'csv'): Promise<string> {
  const { user } = request
  const portfolio = await withUser(request, async (sql) => {
    const { currency } = await ensureProfile(sql, user)
    const all = { assetIds: null, kind: null, limit: MAX_ACTIVITIES, after: null }
    const activities = (await readActivities(sql, user.id, all)).reverse()
    const assets = await readActivityAssets(sql, user.id)
    return { currency, activities, assets: new Map(assets.map((asset) => [asset.asset_id, asset])) }
  })
  return format === 'json' ? exportJson(portfolio, new Date().toISOString()) : exportCsv(portfolio)
}

/** `GET /api/v1/portfolio/export`: a file that an import reads back losslessly, and that Ghostfolio can read. */
export const exportRoutes = new Hono<AppEnv>().get('/api/v1/portfolio/export', requireUser(), async (c) => {
  const { format } = parse(exportQuerySchema, c.req.query())
  return c.body(await exportPortfolio(userRequest(c), format), 200, {
    ...PRIVATE_NO_STORE,
    'content-type': CONTENT_TYPES[format],
    'content-disposition': `attachment; filename="kerb-portfolio-${formatDate(Date.now())}.${format}"`,
  })
})

export const EXPORT_OPERATIONS: Operations = {
  'get /api/v1/portfolio/export': operation('Portfolio', 'exportPortfolio', {
    summary: 'All activities as a file that an import reads back',
    description: 'In Ghostfolio’s JSON or CSV; fields that these do not have are added where Ghostfolio ignores them.',
    query: exportQuerySchema,
    responses: {
      200: {
        description: 'The file',
        headers: z.object({ 'content-disposition': z.string() }),
        content: {
          'application/json': { schema: z.looseObject({ activities: z.array(z.unknown()) }) },
          'text/csv': { schema: z.string() },
        },
      },
    },
    errors: [...READ_ERRORS, 'invalid_request'],
  }),
}
