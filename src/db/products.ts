import type { Product } from '../protocol/product.ts'
import { liveQuery } from './client.ts'

/** A stored product. Settings say whether it is active; the source of its price is not stored. */
export type StoredProduct = Omit<Product, 'active' | 'price_source'>

/**
 * Writes products in one statement (of two with the same id the last) and returns how many rows changed. A price is only
 * replaced by one with the same or a later time, never by a missing one.
 */
export const upsertProducts = liveQuery(async (sql, products: readonly StoredProduct[]): Promise<number> => {
  const batch = new Map(products.map((product) => [`${product.exchange} ${product.product_id}`, product]))
  if (batch.size === 0) return 0
  const result = await sql`
    INSERT INTO trading_pairs AS stored (exchange, product_id, base_currency, quote_currency, status, min_size,
      max_size, price, price_at, change_24h)
    SELECT exchange, product_id, base_currency, quote_currency, status, min_size, max_size, price, price_at, change_24h
    FROM json_to_recordset(${JSON.stringify([...batch.values()])}::text::json) AS batch (exchange text,
      product_id text, base_currency text, quote_currency text, status text, min_size numeric, max_size numeric,
      price numeric, price_at timestamptz, change_24h numeric)
    ON CONFLICT (exchange, product_id) DO UPDATE SET
      (base_currency, quote_currency, status, min_size, max_size, updated_at)
        = (excluded.base_currency, excluded.quote_currency, excluded.status, excluded.min_size, excluded.max_size, now()),
      (price, price_at, change_24h) = (
        SELECT CASE WHEN newer THEN excluded.price ELSE stored.price END,
          CASE WHEN newer THEN excluded.price_at ELSE stored.price_at END,
          CASE WHEN newer THEN excluded.change_24h ELSE stored.change_24h END
        FROM (SELECT excluded.price IS NOT NULL
          AND (stored.price_at IS NULL OR excluded.price_at >= stored.price_at) IS TRUE) AS comparison (newer))
    WHERE (stored.base_currency, stored.quote_currency, stored.status, stored.min_size, stored.max_size)
        IS DISTINCT FROM
        (excluded.base_currency, excluded.quote_currency, excluded.status, excluded.min_size, excluded.max_size)
      OR excluded.price IS NOT NULL AND (stored.price_at IS NULL OR excluded.price_at >= stored.price_at)
        AND (stored.price, stored.price_at, stored.change_24h)
          IS DISTINCT FROM (excluded.price, excluded.price_at, excluded.change_24h)`
  return result.count
})

/** Every product of an exchange, by id. */
export const readProducts = liveQuery(
  (sql, exchange: string): Promise<StoredProduct[]> =>
    sql<StoredProduct[]>`
    SELECT exchange, product_id, base_currency, quote_currency, status, min_size, max_size, price, price_at, change_24h
    FROM trading_pairs WHERE exchange = ${exchange} ORDER BY product_id`,
)
