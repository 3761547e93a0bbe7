import type { RateSource } from '../portfolio/rates.ts'
import { totalsOf } from '../portfolio/totals.ts'
import type { PositionBase } from '../portfolio/valuation.ts'
import type { LotView, PortfolioPrice, Position, Totals } from '../protocol/portfolio.ts'
import { type UserSql, userQuery } from './client.ts'

/** Everything that a portfolio's figures are computed from. Prices are as stored, without their staleness. */
export type PortfolioData = {
  currency: string
  version: number
  positions: PositionBase[]
  rateSources: RateSource[]
  /** Of open positions and of rate sources, as far as they have one. */
  prices: PortfolioPrice[]
}

/** Filters of lots: by asset, by id, open or closed; at most `limit`, after the lot `after`. */
export type LotQuery = {
  assetIds?: readonly number[]
  ids?: readonly string[]
  open?: boolean
  limit: number
  after?: Pick<LotView, 'traded_at' | 'id'>
}

/** The portfolio of a user without a profile. */
const NEW_PORTFOLIO = { currency: 'USD', version: 0 }

const arrayLiteral = (values: readonly (number | string)[]): string => `{${values.join()}}`

const assetFilter = (sql: UserSql, assetIds: readonly number[] | null | undefined) =>
  assetIds ? sql`AND asset_id = ANY (${arrayLiteral(assetIds)}::text::integer[])` : sql``

type RecentRow = PositionBase['recent'][number] & { asset_id: number }

/** An asset whose price is needed, its price or null, and the currency whose rate it gives, if any. */
type NeededRow = Omit<PortfolioPrice, 'price'> & { price: string | null } & (
    | { rate_of: string; inverse: boolean }
    | { rate_of: null; inverse: null }
  )

/**
 * A user's portfolio, or, with ids (0: what belongs to no asset), these positions alone: no other rows are read then.
 * Positions that never existed are left out. Ascending by `asset_id`.
 */
export const readPortfolioData = userQuery(
  async (sql, userId: string, assetIds: readonly number[] | null): Promise<PortfolioData> => {
    const [[portfolio = NEW_PORTFOLIO], positions, recent, needed] = await Promise.all([
      sql<{ currency: string; version: number }[]>`
        SELECT u.currency, coalesce(v.version, 0)::double precision AS version
        FROM profiles u LEFT JOIN portfolios v USING (user_id) WHERE u.user_id = ${userId}`,
      sql<Omit<PositionBase, 'recent'>[]>`
        SELECT h.asset_id, coalesce(a.symbol, o.symbol, '') AS symbol, coalesce(a.name, o.name, '') AS name,
          CASE WHEN h.asset_id < 0 THEN 'own' ELSE coalesce(a.type, '') END AS type,
          coalesce(a.currency, o.currency, h.currency) AS cmp_currency, h.quantity, h.lots, h.invested,
          h.realised_gain, h.income, h.expenses
        FROM (SELECT * FROM holdings_view WHERE user_id = ${userId} ${assetFilter(sql, assetIds)}) AS h
        LEFT JOIN assets a ON a.asset_id = h.asset_id
        LEFT JOIN own_assets o ON o.asset_id = h.asset_id AND o.user_id = ${userId}
        ORDER BY h.asset_id`,
      sql<RecentRow[]>`
        SELECT l.asset_id, l.day::text AS day, sum(l.quantity) AS quantity,
          CASE WHEN count(*) = count(l.paid) THEN sum(l.paid) END AS paid
        FROM (
          SELECT DISTINCT asset_id FROM lots
          WHERE user_id = ${userId} AND asset_id > 0 AND quantity <> 0 ${assetFilter(sql, assetIds)}
        ) AS held
        LEFT JOIN prices_current p ON p.asset_id = held.asset_id
        JOIN LATERAL (
          SELECT * FROM lot_costs_view
          WHERE user_id = ${userId} AND asset_id = held.asset_id AND quantity <> 0
            AND traded_at >= LEAST(date_trunc('day', p.as_of, 'UTC'), now() - INTERVAL '31 days')
        ) AS l ON TRUE
        GROUP BY l.asset_id, l.day
        ORDER BY l.asset_id, l.day`,
      sql<NeededRow[]>`
        WITH sources AS MATERIALIZED (
          SELECT * FROM portfolio_rate_sources(${userId}, ${assetIds && arrayLiteral(assetIds)}::text::integer[])
        ), needed AS (
          SELECT asset_id FROM lots WHERE user_id = ${userId} AND asset_id > 0 AND quantity <> 0 ${assetFilter(sql, assetIds)}
          UNION
          SELECT asset_id FROM sources
        )
        SELECT a.asset_id, a.symbol, p.price, p.currency, p.previous_close, p.change_24h AS change24h, p.eps, p.pe_ratio,
          p.pe_as_of, p.market_state, p.as_of, p.updated_at, NULL AS stale, s.currency AS rate_of, s.inverse
        FROM needed
        JOIN assets a ON a.asset_id = needed.asset_id
        LEFT JOIN prices_current p ON p.asset_id = needed.asset_id
        LEFT JOIN sources s ON s.asset_id = needed.asset_id
        ORDER BY a.asset_id`,
    ])
    const recentOf = Map.groupBy(recent, ({ asset_id }) => asset_id)
    return {
      ...portfolio,
      positions: positions.map((position) => ({
        ...position,
        recent: (recentOf.get(position.asset_id) ?? []).map(({ asset_id: _, ...trade }) => trade),
      })),
      rateSources: needed.flatMap(({ asset_id, rate_of, inverse }) => {
        return rate_of === null ? [] : [{ currency: rate_of, asset_id, inverse }]
      }),
      prices: needed.flatMap(({ rate_of: _, inverse: __, price, ...known }) => {
        return price === null ? [] : [{ ...known, price }]
      }),
    }
  },
)

/** A user's lots as of the stored prices, by `lot_performance_view`; the latest first. */
export const readLots = userQuery(
  (sql, userId: string, { assetIds, ids, open, limit, after }: LotQuery): Promise<LotView[]> =>
    sql<LotView[]>`
    SELECT id, asset_id, symbol, quantity, opened_quantity, price, fees, currency, traded_at, cost, note, version,
      invested, present_value, gain_loss, gain_loss_percent, day_change
    FROM lot_performance_view
    WHERE user_id = ${userId} AND id = ANY (ARRAY(
      -- Selected before they are valued: a page has few of many lots.
      SELECT id FROM lots
      WHERE user_id = ${userId} ${assetFilter(sql, assetIds)}
        ${ids ? sql`AND id = ANY (${arrayLiteral(ids)}::text::uuid[])` : sql``}
        ${open === undefined ? sql`` : open ? sql`AND quantity <> 0` : sql`AND quantity = 0`}
        ${after ? sql`AND (traded_at, id) < (${after.traded_at}::timestamptz, ${after.id}::uuid)` : sql``}
      ORDER BY traded_at DESC, id DESC
      LIMIT ${limit}
    ))
    ORDER BY traded_at DESC, id DESC`,
)

/** A portfolio as of the stored prices, computed by the views; positions ascending by `asset_id`. */
export const readValuedPortfolio = userQuery(
  async (sql, userId: string): Promise<{ positions: Position[]; portfolio: Totals }> => {
    const [positions, [portfolio]] = await Promise.all([
      sql<Position[]>`
        SELECT asset_id, symbol, name, type, quantity, lots, currency, cmp, cmp_currency, rate, average_cost, invested,
          present_value, gain_loss, gain_loss_percent, day_change, day_change_percent, realised_gain, income, expenses,
          pe_ratio, pe_as_of, market_state, as_of, updated_at, stale
        FROM positions_view WHERE user_id = ${userId} ORDER BY asset_id`,
      sql<Totals[]>`
        SELECT currency, version::double precision AS version, positions, invested, present_value, gain_loss,
          gain_loss_percent, day_change, day_change_percent, realised_gain, income, expenses, incomplete,
          to_jsonb(missing) AS missing
        FROM portfolio_totals_view WHERE user_id = ${userId}`,
    ])
    return { positions, portfolio: portfolio ?? totalsOf([], NEW_PORTFOLIO) }
  },
)
