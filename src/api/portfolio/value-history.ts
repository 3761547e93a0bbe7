import { Hono } from 'hono'
import { z } from 'zod'
import { readSettings } from '../../config.ts'
import { MAX_ACTIVITIES } from '../../db/activities.ts'
import { readValuedPortfolio } from '../../db/portfolio-views.ts'
import { readCloses, readPortfolioHistoryData } from '../../db/value-history.ts'
import { computeValueHistory, historyPoints, historySpan } from '../../portfolio/value-history.ts'
import { CodedError } from '../../protocol/errors.ts'
import { HISTORY_RANGES, type HistoryInterval, type HistoryRange } from '../../protocol/price-history.ts'
import { type ValueHistory, valueHistorySchema } from '../../protocol/value-history.ts'
import { DAY_S, formatDate } from '../../time.ts'
import { requireUser } from '../accounts/session-cookies.ts'
import { type AppEnv, type UserRequest, userRequest } from '../http/context.ts'
import { type Operations, operation, response } from '../http/operation.ts'
import { orUnavailable } from '../http/problems.ts'
import { PRIVATE_NO_STORE, withUser } from '../http/user-transaction.ts'
import { READ_ERRORS } from './operations.ts'

/** The start of the prices of a range, unix seconds; an intraday range needs the prices of the day before, too. */
const firstPriceAtS = (interval: HistoryInterval, from: string, points: readonly { prices: number }[]): number =>
  interval === 'FIVE_MINUTES' || interval === 'THIRTY_MINUTES'
    ? (points[0]?.prices ?? 0) / 1e6 - DAY_S
    : Date.parse(from) / 1000

/**
 * The value of the user's portfolio over a range, and the money put into it; the last point is now.
 * @param now unix milliseconds
 * @throws CodedError `unavailable` while the database cannot be read
 */
export async function readValueHistory(request: UserRequest, range: HistoryRange, now: number): Promise<ValueHistory> {
  const { env, db, user } = request
  const today = formatDate(now)
  const { past, valued } = await withUser(request, async (sql) => ({
    past: await readPortfolioHistoryData(sql, user.id, MAX_ACTIVITIES),
    valued: await readValuedPortfolio(sql, user.id),
  }))
  // The newest come first.
  const firstDay = past.activities.at(-1)?.traded_at.slice(0, 10) ?? today
  const { interval, from } = historySpan(range, firstDay, today)
  const points = historyPoints(range, interval, from, now)
  const assets = [...past.currencyOf.keys(), ...past.rateSources.map(({ asset_id }) => asset_id)]
  const isSimulated = readSettings(env).EXCHANGE === 'simulated'
  const firstAtS = firstPriceAtS(interval, from, points)
  const read = async () => readCloses(db.live, assets, interval, firstAtS, isSimulated)
  const closes = await orUnavailable(read, 'closes_read_failed', 'The history cannot be read')
  const at = now * 1000 + 1
  const date = new Date(now).toISOString()
  const data = computeValueHistory({
    ...past,
    points: [...points, { date, prices: at, until: at }],
    closes,
    rateSources: new Map(past.rateSources.map((source) => [source.currency, source])),
    usdOfDay: (currency, day) => past.usdOfDay.get(`${currency} ${day}`) ?? null,
  })
  // The last point uses current prices, which are in no history yet.
  const last = data.at(-1)
  if (last) Object.assign(last, { value: valued.portfolio.present_value, incomplete: valued.portfolio.incomplete })
  return { range, interval, currency: past.currency, data, count: data.length }
}

const isRange = (text: string | undefined): text is HistoryRange => HISTORY_RANGES.some((range) => range === text)

/** `GET /api/v1/portfolio/history` */
export const portfolioHistoryRoutes = new Hono<AppEnv>().get('/api/v1/portfolio/history', requireUser(), async (c) => {
  const range = c.req.query('range') ?? '1m'
  if (!isRange(range))
    throw new CodedError('unknown_range', `The range must be one of ${HISTORY_RANGES.join(', ')}.`, {
      errors: [{ field: 'range', message: `must be one of ${HISTORY_RANGES.join(', ')}` }],
    })
  return c.json(await readValueHistory(userRequest(c), range, Date.now()), 200, PRIVATE_NO_STORE)
})

export const PORTFOLIO_HISTORY_OPERATIONS: Operations = {
  'get /api/v1/portfolio/history': operation('Portfolio', 'portfolioHistory', {
    summary: 'The value of the portfolio over a range, and the money put into it',
    query: z.object({ range: z.enum(HISTORY_RANGES).default('1m') }),
    responses: response(200, 'Ascending; the last point is now', valueHistorySchema.meta({ id: 'ValueHistory' })),
    errors: [...READ_ERRORS, 'unknown_range'],
  }),
}
