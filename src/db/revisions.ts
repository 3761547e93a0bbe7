import type { Revision } from '../market/revision.ts'
import { liveQuery } from './client.ts'

/**
 * Writes revisions of one product's candles in one statement. One that exists already stays as it is, so a write can be
 * repeated.
 * @returns the number of new revisions
 */
export const insertRevisions = liveQuery(
  async (sql, exchange: string, product: string, revisions: readonly Revision[]): Promise<number> => {
    if (revisions.length === 0) return 0
    const rows = JSON.stringify(revisions.map((r) => ({ ...r, timestamp: new Date(r.timestamp * 1000) })))
    const result = await sql`
      INSERT INTO candle_revisions (exchange, product_id, granularity, timestamp, rev, reason,
        old_open, old_high, old_low, old_close, old_volume, old_coverage,
        new_open, new_high, new_low, new_close, new_volume, new_coverage, recorded_at)
      SELECT ${exchange}, ${product}, granularity, timestamp, rev, reason,
        old.open, old.high, old.low, old.close, old.volume, old.coverage,
        new.open, new.high, new.low, new.close, new.volume, new.coverage, recorded_at
      FROM json_to_recordset(${rows}::text::json) AS batch (granularity granularity, timestamp timestamptz,
        rev integer, reason text, before json, after json, recorded_at timestamptz),
        json_to_record(coalesce(before, '{}')) AS old (open numeric, high numeric, low numeric, close numeric,
          volume numeric, coverage text),
        json_to_record(after) AS new (open numeric, high numeric, low numeric, close numeric,
          volume numeric, coverage text)
      ON CONFLICT DO NOTHING`
    return result.count
  },
)
