-- Every change of a candle that was complete: what it told before, what after, why and when. One row a revision; the
-- candle itself holds its last state. Columns of before are NULL where there was no candle.
CREATE TABLE candle_revisions (
    exchange        VARCHAR(50) NOT NULL,
    product_id      VARCHAR(50) NOT NULL,
    granularity     granularity NOT NULL,
    timestamp       TIMESTAMPTZ NOT NULL,
    rev             INTEGER NOT NULL CHECK (rev > 0),
    reason          TEXT NOT NULL CHECK (reason IN ('late_trade', 'backfill', 'reconciled', 'coverage', 'audit')),
    old_open        NUMERIC,
    old_high        NUMERIC,
    old_low         NUMERIC,
    old_close       NUMERIC,
    old_volume      NUMERIC,
    old_coverage    TEXT,
    new_open        NUMERIC NOT NULL,
    new_high        NUMERIC NOT NULL,
    new_low         NUMERIC NOT NULL,
    new_close       NUMERIC NOT NULL,
    new_volume      NUMERIC NOT NULL,
    new_coverage    TEXT NOT NULL,
    recorded_at     TIMESTAMPTZ NOT NULL,

    PRIMARY KEY (exchange, product_id, granularity, timestamp, rev)
);

CREATE INDEX idx_candle_revisions_recorded_at ON candle_revisions (recorded_at);
