-- What the comparison of a finished day's candles with the exchange's own has found, one row a granularity. The eight
-- rows of a product's day are made and changed together. `pending`: not compared yet, `error` says why; `compared`: the
-- counts are there, repairs are under way; `done`.
CREATE TABLE candle_audits (
    exchange        VARCHAR(50) NOT NULL,
    product_id      VARCHAR(50) NOT NULL,
    day             DATE NOT NULL,
    granularity     granularity NOT NULL,
    status          TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'compared', 'done')),
    -- Candles that either side has; those that were equal; those that are so since the repair.
    compared        INTEGER,
    equal           INTEGER,
    repaired        INTEGER,
    -- Among those compared: candles that only the exchange has, and that only we have.
    missing_here    INTEGER,
    missing_there   INTEGER,
    attempts        INTEGER NOT NULL DEFAULT 1,
    attempted_at    TIMESTAMPTZ NOT NULL,
    done_at         TIMESTAMPTZ,
    error           TEXT,

    PRIMARY KEY (exchange, product_id, day, granularity),
    CHECK (status = 'pending' OR (compared IS NOT NULL AND equal IS NOT NULL
        AND missing_here IS NOT NULL AND missing_there IS NOT NULL)),
    CHECK (status <> 'done' OR (repaired IS NOT NULL AND done_at IS NOT NULL))
);

CREATE INDEX idx_candle_audits_day ON candle_audits (exchange, day DESC);
