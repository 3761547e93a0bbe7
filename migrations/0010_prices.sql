-- The last price of each asset. Amounts are in `currency`; `as_of` is the market's own time of the price, `updated_at`
-- when the provider told it last. A row never gives way to one with an older `updated_at`: its writers see to that.
CREATE TABLE prices_current (
    asset_id        INTEGER PRIMARY KEY REFERENCES assets ON DELETE CASCADE,
    price           NUMERIC NOT NULL,
    currency        TEXT NOT NULL,
    previous_close  NUMERIC,
    -- Per cent.
    change_24h      NUMERIC,
    market_state    TEXT CHECK (market_state IN ('open', 'closed', 'pre', 'post')),
    market          TEXT,
    open            NUMERIC,
    high            NUMERIC,
    low             NUMERIC,
    volume          NUMERIC,
    eps             NUMERIC,
    pe_ratio        NUMERIC,
    pe_as_of        TIMESTAMPTZ,
    -- Who told it, or `simulated`.
    provider        TEXT NOT NULL,
    as_of           TIMESTAMPTZ NOT NULL,
    updated_at      TIMESTAMPTZ NOT NULL,

    -- NaN counts as greater than any number. Below 0 some have been: oil, in April 2020.
    CONSTRAINT prices_current_price_is_a_number CHECK (price > '-Infinity' AND price < 'Infinity')
-- Every row is written anew all day: with room on its page the new version needs no entry in the index.
) WITH (fillfactor = 50);

-- The latest prices with their symbols.
CREATE VIEW latest_prices WITH (security_invoker = TRUE) AS
    SELECT p.asset_id, a.symbol, p.price, p.currency, p.previous_close, p.change_24h, p.market_state, p.market, p.open,
        p.high, p.low, p.volume, p.eps, p.pe_ratio, p.pe_as_of, p.provider, p.as_of, p.updated_at
    FROM prices_current p JOIN assets a ON a.asset_id = p.asset_id;

-- What a price was, by the market's own time: where it has changed, and not closer together than `snapshot_seconds`.
-- Without a reference to assets, so that a day is dropped under locks on these tables alone.
CREATE TABLE price_snapshots (
    recorded_at     TIMESTAMPTZ NOT NULL,
    asset_id        INTEGER NOT NULL,
    -- Prices of a simulated market are never told with those of the real one.
    simulated       BOOLEAN NOT NULL DEFAULT FALSE,
    price           NUMERIC NOT NULL,

    PRIMARY KEY (asset_id, recorded_at)
) PARTITION BY RANGE (recorded_at);

-- Makes the partitions of every day (UTC) that [from_time, to_time] touches, and says how many were missing. With the
-- lock of `ensure_live_candles_partitions`, and for its reasons.
CREATE FUNCTION ensure_price_snapshots_partitions(from_time timestamptz, to_time timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    day date := (from_time AT TIME ZONE 'UTC')::date;
    last_day date := (to_time AT TIME ZONE 'UTC')::date;
    partition text;
    locked boolean := FALSE;
    made integer := 0;
BEGIN
    WHILE day <= last_day LOOP
        partition := 'price_snapshots_' || to_char(day, 'YYYY_MM_DD');
        IF to_regclass(partition) IS NULL AND NOT locked THEN
            LOCK TABLE ONLY price_snapshots IN SHARE UPDATE EXCLUSIVE MODE;
            locked := TRUE;
        END IF;
        IF to_regclass(partition) IS NULL THEN
            EXECUTE format('CREATE TABLE %I (LIKE price_snapshots INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition);
            PERFORM secure_table(partition::regclass, FALSE);
            EXECUTE format('ALTER TABLE price_snapshots ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition,
                day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
            made := made + 1;
        END IF;
        day := day + 1;
    END LOOP;
    RETURN made;
END
$$;

-- Drops the partitions that end at or before `before`, and says how many. Readers and writers are shut out while a table
-- goes; if that lock cannot be had within 2 s, the call fails and has changed nothing.
CREATE FUNCTION drop_price_snapshots_partitions(before timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    partition text;
    dropped integer := 0;
BEGIN
    PERFORM set_config('lock_timeout', '2s', TRUE);
    FOR partition IN
        SELECT c.relname
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'price_snapshots'::regclass
            AND c.relname ~ '^price_snapshots_\d{4,}_\d\d_\d\d$'
            AND (to_date(substr(c.relname, 17), 'YYYY_MM_DD') + 1)::timestamp AT TIME ZONE 'UTC' <= before
        ORDER BY 1
    LOOP
        EXECUTE format('DROP TABLE %I', partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

-- How each provider of quotes stood when it was looked at last (once a minute). A request counts 1, at Binance its weight.
CREATE TABLE provider_rate_limits (
    provider            TEXT PRIMARY KEY,
    window_ms           INTEGER NOT NULL,
    used                INTEGER NOT NULL,
    budget              INTEGER NOT NULL,
    -- What the provider itself says is used, where it does.
    told_used           INTEGER,
    in_flight           INTEGER NOT NULL,
    concurrency         INTEGER NOT NULL,
    breaker             TEXT NOT NULL CHECK (breaker IN ('closed', 'open', 'half_open')),
    failures            INTEGER NOT NULL,
    blocked_until       TIMESTAMPTZ,
    last_status         INTEGER,
    last_error          TEXT,
    last_request_at     TIMESTAMPTZ,
    -- Counted since `since`.
    requests_total      BIGINT NOT NULL,
    refused_total       BIGINT NOT NULL,
    rate_limited_total  BIGINT NOT NULL,
    since               TIMESTAMPTZ NOT NULL,
    updated_at          TIMESTAMPTZ NOT NULL
);

-- The last run of each job of cron, and the last that went well: one that did not run shows by its age.
CREATE TABLE job_runs (
    job             TEXT PRIMARY KEY,
    -- How often it is to run.
    period_seconds  INTEGER NOT NULL CHECK (period_seconds > 0),
    started_at      TIMESTAMPTZ NOT NULL,
    ended_at        TIMESTAMPTZ NOT NULL,
    outcome         TEXT NOT NULL CHECK (outcome IN ('ok', 'failed')),
    error           TEXT,
    ms              INTEGER NOT NULL,
    ok_at           TIMESTAMPTZ
);

SELECT secure_table('prices_current', TRUE), secure_table('price_snapshots', TRUE),
    secure_table('provider_rate_limits', FALSE), secure_table('job_runs', FALSE);
SELECT secure_function('ensure_price_snapshots_partitions(timestamptz, timestamptz)'),
    secure_function('drop_price_snapshots_partitions(timestamptz)');

-- A view has no policies: it reads with the rights of whoever asks.
DO $do$
DECLARE
    reader name;
BEGIN
    FOR reader IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated', 'service_role') LOOP
        EXECUTE format('REVOKE ALL ON latest_prices FROM %I', reader);
        EXECUTE format('GRANT SELECT ON latest_prices TO %I', reader);
    END LOOP;
END
$do$;
