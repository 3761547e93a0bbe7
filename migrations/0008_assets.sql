-- Puts a table under row level security, also one that is already: everybody may read it, or nobody. The owner, whom
-- the Worker is, is not subject to it. Where the roles of Supabase exist, the two of clients lose what that platform
-- grants them on every new table (TRUNCATE asks no policy), and `service_role` may do everything.
CREATE FUNCTION secure_table(secured regclass, readable boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    client name;
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', secured);
    EXECUTE format('DROP POLICY IF EXISTS public_read ON %s', secured);
    IF readable THEN
        EXECUTE format('CREATE POLICY public_read ON %s FOR SELECT USING (TRUE)', secured);
    END IF;
    FOR client IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %I', secured, client);
        IF readable THEN
            EXECUTE format('GRANT SELECT ON %s TO %I', secured, client);
        END IF;
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role') THEN
        EXECUTE format('DROP POLICY IF EXISTS service_all ON %s', secured);
        EXECUTE format('CREATE POLICY service_all ON %s TO service_role USING (TRUE) WITH CHECK (TRUE)', secured);
        EXECUTE format('GRANT ALL ON %s TO service_role', secured);
    END IF;
END
$$;

-- Lets nobody but the owner and `service_role` call a function that runs with its owner's rights.
CREATE FUNCTION secure_function(secured regprocedure) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    client name;
BEGIN
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', secured);
    FOR client IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %I', secured, client);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role') THEN
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO service_role', secured);
    END IF;
END
$$;

-- Text as it is searched: without capitals and accents, whatever the locale of the database.
CREATE FUNCTION search_text(given text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT upper(translate(given, 'áàâäãåéèêëíìîïóòôöõøúùûüçñšžýÁÀÂÄÃÅÉÈÊËÍÌÎÏÓÒÔÖÕØÚÙÛÜÇÑŠŽÝ',
        'aaaaaaeeeeiiiioooooouuuucnszyAAAAAAEEEEIIIIOOOOOOUUUUCNSZY'))
$$;

-- Everything that has a price. A name that a client asks by is in capitals, has one of the
-- characters of a symbol and 40 of them at most; what could not be asked for, or not be priced, is refused.
CREATE TABLE assets (
    asset_id        INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol          TEXT NOT NULL,
    name            TEXT NOT NULL,
    type            TEXT NOT NULL,
    category        TEXT NOT NULL,
    -- The ticker without its market: SHEL of SHEL.L.
    code            TEXT NOT NULL,
    provider        TEXT NOT NULL,
    provider_id     TEXT NOT NULL,
    currency        TEXT NOT NULL,
    isin            TEXT,
    -- One that is not is neither refreshed nor found by its name.
    active          BOOLEAN NOT NULL DEFAULT TRUE,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    search_name     TEXT NOT NULL GENERATED ALWAYS AS (search_text(name)) STORED,

    UNIQUE (provider, provider_id),
    CONSTRAINT assets_symbol_can_be_asked_for CHECK (upper(symbol) ~ '^[A-Z0-9^][A-Z0-9.=^_&-]{0,39}$'),
    CONSTRAINT assets_name_is_not_empty CHECK (name ~ '\S'),
    CONSTRAINT assets_type_is_a_word CHECK (type ~ '^[a-z][a-z_-]*$'),
    CONSTRAINT assets_category_is_a_word CHECK (category ~ '^[a-z][a-z_-]*$'),
    CONSTRAINT assets_code_is_in_capitals CHECK (code ~ '^[A-Z0-9^][A-Z0-9.=^_&-]{0,39}$'),
    CONSTRAINT assets_provider_is_known
        CHECK (provider IN ('yahoo', 'coinbase', 'binance', 'twelvedata', 'coinmarketcap', 'manual')),
    CONSTRAINT assets_provider_id_is_in_capitals CHECK (provider_id ~ '^[A-Z0-9^][A-Z0-9.=^_&-]{0,39}$'),
    -- GBp, ZAc and the like are converted before they come here.
    CONSTRAINT assets_currency_is_no_minor_unit
        CHECK (currency ~ '^[A-Z][A-Z0-9]{1,11}$' AND currency NOT IN ('GBX', 'ZAX', 'ILA')),
    CONSTRAINT assets_isin_has_its_form CHECK (isin ~ '^[A-Z]{2}[A-Z0-9]{9}[0-9]$')
);

-- One for each way in which a name may mean an asset.
CREATE INDEX idx_assets_symbol ON assets (upper(symbol));
CREATE INDEX idx_assets_code ON assets (code);
CREATE INDEX idx_assets_provider_id ON assets (provider_id);
CREATE INDEX idx_assets_own_name ON assets ((upper(provider) || ':' || provider_id));
CREATE INDEX idx_assets_isin ON assets (isin) WHERE isin IS NOT NULL;
CREATE INDEX idx_assets_pair ON assets ((code || '-' || currency)) WHERE type = 'crypto';

-- What operators change without a deploy: cron reads it every minute.
CREATE TABLE app_settings (
    name            TEXT PRIMARY KEY,
    value           NUMERIC NOT NULL,
    updated_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    CONSTRAINT app_settings_name_is_known CHECK (name IN ('refresh_min_seconds', 'refresh_max_seconds',
        'refresh_default_seconds', 'closed_refresh_seconds', 'snapshot_seconds', 'snapshot_days', 'history_days',
        'history_weeks')),
    CONSTRAINT app_settings_value_is_a_whole_number CHECK (value = trunc(value)),
    -- A day for what is in seconds, a hundred years for the rest.
    CONSTRAINT app_settings_value_is_in_bounds CHECK (value BETWEEN 1 AND
        CASE WHEN name LIKE '%_seconds' THEN 86400 WHEN name LIKE '%_days' THEN 36525 ELSE 5218 END)
);

-- Of two who change settings the second waits here, and is judged by what the first has left.
CREATE FUNCTION begin_app_settings_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM app_settings WHERE name = 'refresh_min_seconds' FOR UPDATE;
    RETURN NULL;
END
$$;

CREATE FUNCTION note_app_settings_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := NOW();
    RETURN NEW;
END
$$;

CREATE FUNCTION check_app_settings() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    least_value numeric := (SELECT value FROM app_settings WHERE name = 'refresh_min_seconds');
    greatest_value numeric := (SELECT value FROM app_settings WHERE name = 'refresh_max_seconds');
BEGIN
    IF (SELECT count(*) FROM app_settings) < 8 THEN
        RAISE EXCEPTION 'app_settings: a setting cannot be deleted, only changed'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'app_settings_is_whole';
    END IF;
    IF least_value > greatest_value THEN
        RAISE EXCEPTION 'app_settings: refresh_min_seconds (%) cannot be above refresh_max_seconds (%)',
            least_value, greatest_value
            USING ERRCODE = 'check_violation', CONSTRAINT = 'app_settings_min_is_not_above_max';
    END IF;
    RETURN NULL;
END
$$;

INSERT INTO app_settings (name, value) VALUES
    ('refresh_min_seconds', 15),
    ('refresh_max_seconds', 300),
    ('refresh_default_seconds', 60),
    ('closed_refresh_seconds', 900),
    ('snapshot_seconds', 300),
    ('snapshot_days', 8),
    ('history_days', 365),
    ('history_weeks', 157);

CREATE TRIGGER begin_change BEFORE INSERT OR UPDATE OR DELETE ON app_settings
    FOR EACH STATEMENT EXECUTE FUNCTION begin_app_settings_change();
CREATE TRIGGER note_change BEFORE UPDATE ON app_settings
    FOR EACH ROW EXECUTE FUNCTION note_app_settings_change();
CREATE TRIGGER check_whole AFTER INSERT OR UPDATE OR DELETE ON app_settings
    FOR EACH STATEMENT EXECUTE FUNCTION check_app_settings();

-- Who watches what, and how often each wants it refreshed; NULL is refresh_default_seconds.
CREATE TABLE asset_watches (
    user_id             UUID NOT NULL,
    asset_id            INTEGER NOT NULL REFERENCES assets ON DELETE CASCADE,
    interval_seconds    INTEGER CHECK (interval_seconds > 0),

    PRIMARY KEY (user_id, asset_id)
);

CREATE INDEX idx_asset_watches_asset ON asset_watches (asset_id, interval_seconds);

-- A partition has row level security of its own, and is closed: everybody reads through the table. Who may write candles
-- may have partitions made without being their owner.
CREATE OR REPLACE FUNCTION ensure_live_candles_partitions(from_time timestamptz, to_time timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
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
            PERFORM secure_table(partition::regclass, FALSE);
            EXECUTE format('ALTER TABLE live_candles ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition,
                month AT TIME ZONE 'UTC', (month + INTERVAL '1 month') AT TIME ZONE 'UTC');
            made := made + 1;
        END IF;
        month := month + INTERVAL '1 month';
    END LOOP;
    RETURN made;
END
$$;

ALTER FUNCTION drop_empty_live_candles_partitions(timestamptz) SECURITY DEFINER SET search_path FROM CURRENT;

-- Market data is for everybody; how the house is run, and who watches what, is not.
SELECT secure_table(market, TRUE) FROM unnest(ARRAY['trading_pairs', 'live_candles', 'candle_gaps', 'candle_revisions',
    'candle_audits', 'assets']::regclass[]) AS market;
SELECT secure_table(own, FALSE) FROM unnest(ARRAY['system_metrics', 'app_settings', 'asset_watches']::regclass[]) AS own;
SELECT secure_table(inhrelid, FALSE) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'live_candles'::regclass AND relname LIKE 'live\_candles\_%';
-- The record of migrations stands in the same schema, as open to the platform's clients as any new table.
SELECT secure_table(to_regclass('pgmigrations'), FALSE) WHERE to_regclass('pgmigrations') IS NOT NULL;

SELECT secure_function('ensure_live_candles_partitions(timestamptz, timestamptz)');
SELECT secure_function('drop_empty_live_candles_partitions(timestamptz)');

DO $do$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role') THEN
        EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO service_role', current_schema());
    END IF;
END
$do$;
