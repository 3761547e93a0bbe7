-- Intervals [started_at, ended_at) in which trades are missing. A candle says so itself (coverage); these are needed
-- because an interval without a candle has no row that could.
CREATE TABLE candle_gaps (
    exchange        VARCHAR(50) NOT NULL,
    product_id      VARCHAR(50) NOT NULL,
    started_at      TIMESTAMPTZ NOT NULL,
    ended_at        TIMESTAMPTZ NOT NULL CHECK (ended_at > started_at),

    PRIMARY KEY (exchange, product_id, started_at)
);
