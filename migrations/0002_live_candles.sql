-- One table, stored in one of two ways: a TimescaleDB hypertable where that extension is available and loaded, native
-- partitions by month elsewhere. Every other statement is the same on both.
DO $do$
DECLARE
    -- The extension must be preloaded: without that, CREATE EXTENSION ends the session. Its settings are there if it is.
    hypertable boolean := EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
        AND EXISTS (SELECT FROM pg_settings WHERE name LIKE 'timescaledb.%');
BEGIN
    IF hypertable THEN
        CREATE EXTENSION IF NOT EXISTS timescaledb;
    END IF;

    EXECUTE $ddl$
        CREATE TABLE live_candles (
            id              BIGSERIAL,
            exchange        VARCHAR(50) NOT NULL DEFAULT 'coinbase',
            product_id      VARCHAR(50) NOT NULL,
            granularity     granularity NOT NULL,
            timestamp       TIMESTAMPTZ NOT NULL,
            open            NUMERIC NOT NULL,
            high            NUMERIC NOT NULL,
            low             NUMERIC NOT NULL,
            close           NUMERIC NOT NULL,
            volume          NUMERIC NOT NULL,
            last_update     TIMESTAMPTZ NOT NULL DEFAULT NOW(),
            is_complete     BOOLEAN NOT NULL DEFAULT FALSE,
            coverage        TEXT NOT NULL DEFAULT 'full' CHECK (coverage IN ('full', 'partial', 'gap')),
            rev             INTEGER NOT NULL DEFAULT 0,

            PRIMARY KEY (exchange, product_id, granularity, timestamp)
        )
    $ddl$ || CASE WHEN hypertable THEN '' ELSE ' PARTITION BY RANGE (timestamp)' END;

    IF hypertable THEN
        PERFORM create_hypertable('live_candles', 'timestamp',
            chunk_time_interval => INTERVAL '1 day', if_not_exists => TRUE);
    END IF;
END
$do$;

CREATE INDEX idx_live_candles_product_granularity
    ON live_candles (exchange, product_id, granularity, timestamp DESC);

-- Makes the partitions of every month (UTC) that [from_time, to_time] touches, past or future, and says how many were
-- missing. On a hypertable there is nothing to make.
--
-- ATTACH PARTITION takes SHARE UPDATE EXCLUSIVE on the parent, which readers and writers do not notice; CREATE TABLE
-- ... PARTITION OF would shut them out. The function takes that same lock first: of two callers the second waits, and
-- then sees what the first has made. The lock ends with the transaction, so that a pooler in transaction mode is fine.
CREATE FUNCTION ensure_live_candles_partitions(from_time timestamptz, to_time timestamptz) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    month timestamp := date_trunc('month', from_time AT TIME ZONE 'UTC');
    last_month timestamp := date_trunc('month', to_time AT TIME ZONE 'UTC');
    partition text;
    locked boolean := FALSE;
    made integer := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = 'live_candles'::regclass AND relkind = 'p') THEN
        RETURN 0;
    END IF;

    WHILE month <= last_month LOOP
        partition := 'live_candles_' || to_char(month, 'YYYY_MM');
        IF to_regclass(partition) IS NULL AND NOT locked THEN
            LOCK TABLE ONLY live_candles IN SHARE UPDATE EXCLUSIVE MODE;
            locked := TRUE;
        END IF;
        IF to_regclass(partition) IS NULL THEN
            EXECUTE format('CREATE TABLE %I (LIKE live_candles INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition);
            EXECUTE format('ALTER TABLE live_candles ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition,
                month AT TIME ZONE 'UTC', (month + INTERVAL '1 month') AT TIME ZONE 'UTC');
            made := made + 1;
        END IF;
        month := month + INTERVAL '1 month';
    END LOOP;
    RETURN made;
END
$$;

-- Drops the partitions that end at or before `before` and hold no row, and says how many. A partition is looked into
-- twice, the second time with every writer shut out; if that lock cannot be had within 2 s, the call fails and has
-- changed nothing. On a hypertable, chunks are TimescaleDB's own matter and none is dropped.
CREATE FUNCTION drop_empty_live_candles_partitions(before timestamptz) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    partition text;
    filled boolean;
    dropped integer := 0;
BEGIN
    PERFORM set_config('lock_timeout', '2s', TRUE);
    FOR partition IN
        SELECT c.relname
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'live_candles'::regclass
            AND c.relname ~ '^live_candles_\d{4,}_\d\d$'
            AND (to_date(substr(c.relname, 14), 'YYYY_MM') + INTERVAL '1 month') AT TIME ZONE 'UTC' <= before
        ORDER BY 1
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', partition) INTO filled;
        CONTINUE WHEN filled;
        LOCK TABLE ONLY live_candles IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', partition) INTO filled;
        CONTINUE WHEN filled;
        EXECUTE format('DROP TABLE %I', partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;
