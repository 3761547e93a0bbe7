-- The granularities of a candle, smallest first.
CREATE TYPE granularity AS ENUM (
    'ONE_MINUTE',
    'FIVE_MINUTES',
    'FIFTEEN_MINUTES',
    'THIRTY_MINUTES',
    'ONE_HOUR',
    'TWO_HOURS',
    'SIX_HOURS',
    'ONE_DAY'
);

-- NUMERIC has no limit, so that every digit fits.
CREATE TABLE trading_pairs (
    id              SERIAL PRIMARY KEY,
    exchange        VARCHAR(50) NOT NULL DEFAULT 'coinbase',
    product_id      VARCHAR(50) NOT NULL,
    base_currency   VARCHAR(20) NOT NULL,
    quote_currency  VARCHAR(20) NOT NULL,
    status          VARCHAR(20) NOT NULL DEFAULT 'online',
    min_size        NUMERIC,
    max_size        NUMERIC,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    -- The last price that the exchange told, when it was so, and the per cent against 24 hours before.
    price           NUMERIC,
    price_at        TIMESTAMPTZ,
    change_24h      NUMERIC,

    UNIQUE (exchange, product_id)
);

CREATE INDEX idx_trading_pairs_status ON trading_pairs (exchange, status);
