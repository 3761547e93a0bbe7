-- Price history of assets on the RAW basis: as it was traded. Days are kept for app_settings.history_days, weeks for
-- history_weeks, months for good; a range is read from one of the three. A volume that is not known is NULL.
CREATE TABLE price_history_daily (
    asset_id        INTEGER NOT NULL REFERENCES assets ON DELETE CASCADE,
    date            DATE NOT NULL,
    open            NUMERIC NOT NULL,
    high            NUMERIC NOT NULL,
    low             NUMERIC NOT NULL,
    close           NUMERIC NOT NULL,
    volume          NUMERIC,

    PRIMARY KEY (asset_id, date)
) PARTITION BY RANGE (date);

CREATE TABLE price_history_daily_2025 PARTITION OF price_history_daily
    FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE price_history_daily_2026 PARTITION OF price_history_daily
    FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');

-- `week` is the Monday of an ISO week, `month` the first of a calendar month. A bar with a split inside is in the
-- shares of the period's last day. The running week and month are rewritten daily: the room that is left lets Postgres
-- do that within the page, without a new entry in the index.
CREATE TABLE price_history_weekly (
    asset_id        INTEGER NOT NULL REFERENCES assets ON DELETE CASCADE,
    week            DATE NOT NULL CHECK (extract(isodow FROM week) = 1),
    open            NUMERIC NOT NULL,
    high            NUMERIC NOT NULL,
    low             NUMERIC NOT NULL,
    close           NUMERIC NOT NULL,
    volume          NUMERIC,

    PRIMARY KEY (asset_id, week)
) WITH (fillfactor = 90);

CREATE TABLE price_history_monthly (
    asset_id        INTEGER NOT NULL REFERENCES assets ON DELETE CASCADE,
    month           DATE NOT NULL CHECK (extract(day FROM month) = 1),
    open            NUMERIC NOT NULL,
    high            NUMERIC NOT NULL,
    low             NUMERIC NOT NULL,
    close           NUMERIC NOT NULL,
    volume          NUMERIC,

    PRIMARY KEY (asset_id, month)
) WITH (fillfactor = 90);

-- A split turns `denominator` shares into `numerator`. A dividend's `amount` is per share of its day, `reference_close`
-- the raw close of the trading day before, NULL where that is not known.
CREATE TABLE corporate_actions (
    asset_id        INTEGER NOT NULL REFERENCES assets ON DELETE CASCADE,
    ex_date         DATE NOT NULL,
    kind            TEXT NOT NULL,
    numerator       NUMERIC,
    denominator     NUMERIC,
    amount          NUMERIC,
    reference_close NUMERIC,

    PRIMARY KEY (asset_id, ex_date, kind),
    CONSTRAINT corporate_action_is_whole CHECK (CASE kind
        WHEN 'split' THEN numerator > 0 AND denominator > 0 AND numerator IS NOT NULL AND denominator IS NOT NULL
            AND amount IS NULL AND reference_close IS NULL
        WHEN 'dividend' THEN amount > 0 AND amount IS NOT NULL AND numerator IS NULL AND denominator IS NULL
        ELSE FALSE END)
);

-- What is known of an asset's history, and when it is asked for next. `state` is that of the whole history: `pending`
-- (nobody has asked yet), `loading`, `whole`, `failed` (nobody could tell it yet); an update that fails leaves `whole`
-- and says why in `error`. Of the days from `days_from` on every one is still there; at or before `first_date` it says
-- that none has ever gone. An asset without a row has all the days that anybody put there.
CREATE TABLE asset_history (
    asset_id        INTEGER PRIMARY KEY REFERENCES assets ON DELETE CASCADE,
    -- Who told it last; `simulated` where the market is.
    provider        TEXT,
    currency        TEXT,
    state           TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'loading', 'whole', 'failed')),
    first_date      DATE,
    last_date       DATE,
    days_from       DATE,
    -- Rises whenever corporate_actions of the asset change.
    actions_version INTEGER NOT NULL DEFAULT 0,
    attempted_at    TIMESTAMPTZ,
    -- Since the last success.
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TIMESTAMPTZ,
    error           TEXT
) WITH (fillfactor = 80);

-- The first day and the first week that are kept. However short days are kept, those of the running week and month and
-- of what a correction may still change stay: a period that lacks days is never folded again.
CREATE FUNCTION price_history_kept(p_today date, OUT days_from date, OUT weeks_from date)
LANGUAGE sql STABLE AS $$
    SELECT
        LEAST(
            p_today - kept.days,
            date_trunc('month', (p_today - 7)::timestamp)::date,
            date_trunc('week', (p_today - 7)::timestamp)::date
        ),
        date_trunc('week', p_today::timestamp)::date - 7 * kept.weeks
    FROM (
        SELECT
            coalesce(max(value) FILTER (WHERE name = 'history_days'), 365)::integer AS days,
            coalesce(max(value) FILTER (WHERE name = 'history_weeks'), 157)::integer AS weeks
        FROM app_settings
    ) AS kept
$$;

-- a / b: exact where that ends within 38 decimals, else rounded to 10, or to as many that 10 digits of a small value are
-- left. src/pricing/adjust.ts has the same rule.
CREATE FUNCTION price_quotient(a numeric, b numeric) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    -- Postgres divides to as many decimals as the dividend has, or more.
    quotient numeric := round(round(a, 38) / b, 38);
BEGIN
    IF quotient * b = a OR quotient = 0 THEN
        RETURN trim_scale(quotient);
    END IF;
    RETURN trim_scale(round(quotient, 10 + GREATEST(0, -1 - floor(log(abs(quotient)))::integer)));
END
$$;

CREATE AGGREGATE price_product(numeric) (sfunc = numeric_mul, stype = numeric, initcond = '1');

-- The one fold (Q7): the ISO weeks or calendar months (p_unit is 'week' or 'month') of days, ascending. A bar has the
-- open of its first day, the close of its last, the highest high, the lowest low, the sum of the volumes, or none if one
-- of them is not known. Days before a split inside the period are first brought to the shares that are left at its end.
-- p_days is an array of {date, open, high, low, close, volume}, each date once; decimals may be text.
CREATE FUNCTION fold_price_days(p_unit text, p_asset_id integer, p_days jsonb)
RETURNS TABLE (period date, open numeric, high numeric, low numeric, close numeric, volume numeric)
LANGUAGE sql STABLE AS $$
    WITH days AS (
        SELECT date_trunc(p_unit, d.date::timestamp)::date AS start, d.*
        FROM jsonb_to_recordset(p_days) AS d (date date, open numeric, high numeric, low numeric, close numeric,
            volume numeric)
    ), splits AS (
        SELECT days.date, price_product(a.numerator) AS shares, price_product(a.denominator) AS before
        FROM days
        JOIN corporate_actions a ON a.asset_id = p_asset_id AND a.kind = 'split' AND a.ex_date > days.date
            AND a.ex_date < days.start + ('1 ' || p_unit)::interval
        GROUP BY days.date
    ), in_last_shares AS (
        SELECT days.start, days.date, days.open, days.high, days.low, days.close, days.volume
        FROM days
        WHERE NOT EXISTS (SELECT FROM splits WHERE splits.date = days.date)
        UNION ALL
        SELECT days.start, days.date,
            price_quotient(days.open * before, shares), price_quotient(days.high * before, shares),
            price_quotient(days.low * before, shares), price_quotient(days.close * before, shares),
            price_quotient(days.volume * shares, before)
        FROM days JOIN splits ON splits.date = days.date
    )
    SELECT d.start, (array_agg(d.open ORDER BY d.date))[1], max(d.high), min(d.low),
        (array_agg(d.close ORDER BY d.date DESC))[1],
        CASE WHEN count(d.volume) = count(*) THEN sum(d.volume) END
    FROM in_last_shares d
    GROUP BY d.start
    ORDER BY d.start
$$;

-- The day from which on every day that ever was is stored, up to the last that is known; '-infinity' where none has gone.
-- A day that is told now, and is older than the first that was known, shows that there were some before.
CREATE FUNCTION price_history_stored_since(known asset_history, told date) RETURNS date
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN known.days_from > known.first_date THEN known.days_from
        WHEN told < known.first_date THEN known.first_date
        ELSE '-infinity' END
$$;

-- Folds the weeks or months that touch [p_first, p_last] out of the stored days and p_days, which wins, and gives the
-- number of bars that are new or have changed. p_days holds every day that ever was from p_since on ('-infinity': there
-- were none before) up to its last.
-- A period of which days may be missing is left as it is: it must lie in what the stored days cover, in what p_days
-- covers, or across both.
CREATE FUNCTION write_price_folds(p_unit text, p_asset_id integer, p_days jsonb, p_since date, p_first date, p_last date)
RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    step interval := ('1 ' || p_unit)::interval;
    from_day date := date_trunc(p_unit, p_first::timestamp)::date;
    to_day date := (date_trunc(p_unit, p_last::timestamp) + step)::date;
    stored_since date;
    known_last date;
    given_first date;
    given_last date;
    written integer;
BEGIN
    SELECT min(d.date), max(d.date) INTO given_first, given_last FROM jsonb_to_recordset(p_days) AS d (date date);
    SELECT price_history_stored_since(h, given_first), h.last_date INTO stored_since, known_last
    FROM asset_history h WHERE h.asset_id = p_asset_id;
    stored_since := coalesce(stored_since, '-infinity');
    -- Most nights nothing is left to fold of what goes.
    IF given_last IS NULL AND date_trunc(p_unit, p_last::timestamp) < stored_since THEN
        RETURN 0;
    END IF;

    EXECUTE format($sql$
        WITH given AS (
            SELECT d.* FROM jsonb_to_recordset($3) AS d (date date, open numeric, high numeric, low numeric,
                close numeric, volume numeric)
            WHERE d.date >= $4 AND d.date < $5
        ), known AS (
            SELECT * FROM given
            UNION ALL
            SELECT s.date, s.open, s.high, s.low, s.close, s.volume
            FROM price_history_daily s
            WHERE s.asset_id = $2 AND s.date >= $4 AND s.date < $5
                AND NOT EXISTS (SELECT FROM given WHERE given.date = s.date)
        )
        INSERT INTO %1$I AS stored (asset_id, %2$I, open, high, low, close, volume)
        SELECT $2, f.period, f.open, f.high, f.low, f.close, f.volume
        FROM fold_price_days($1, $2, (SELECT jsonb_agg(to_jsonb(known)) FROM known)) AS f
        WHERE f.period >= $6
            OR f.period >= $7 AND ($10 <= $8 OR $9 IS NULL OR $8 >= $9 OR (f.period + $11)::date - 1 <= $8)
        ORDER BY f.period
        ON CONFLICT (asset_id, %2$I) DO UPDATE SET
            open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
            volume = excluded.volume
        WHERE (stored.open, stored.high, stored.low, stored.close, stored.volume)
            IS DISTINCT FROM (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume)
    $sql$, 'price_history_' || p_unit || 'ly', p_unit)
    USING p_unit, p_asset_id, p_days, from_day, to_day, stored_since, p_since, given_last, known_last,
        -- Where the stored days begin, as seen from the last of the given: next to it at the latest.
        stored_since - CASE WHEN isfinite(stored_since) THEN 1 ELSE 0 END, step;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- Only one at a time works on an asset's history. Nobody waits who only refers to the asset.
CREATE FUNCTION lock_price_history(p_asset_id integer) RETURNS void
LANGUAGE sql AS $$
    SELECT FROM assets WHERE asset_id = p_asset_id FOR NO KEY UPDATE
$$;

-- Folds the stored days of one asset from the week or month of p_from on, and gives the number of bars that are new or
-- have changed. A period whose days are partly gone keeps its bar.
CREATE FUNCTION aggregate_daily_to_weekly(p_asset_id integer, p_from date) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    last_day date;
BEGIN
    PERFORM lock_price_history(p_asset_id);
    SELECT max(date) INTO last_day FROM price_history_daily WHERE asset_id = p_asset_id;
    RETURN write_price_folds('week', p_asset_id, '[]', NULL, p_from, last_day);
END
$$;

CREATE FUNCTION aggregate_daily_to_monthly(p_asset_id integer, p_from date) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    last_day date;
BEGIN
    PERFORM lock_price_history(p_asset_id);
    SELECT max(date) INTO last_day FROM price_history_daily WHERE asset_id = p_asset_id;
    RETURN write_price_folds('month', p_asset_id, '[]', NULL, p_from, last_day);
END
$$;

-- Takes what a provider has told of an asset: days and corporate actions on the raw basis, ascending, from p_from on, or
-- the whole history (p_from is NULL). All of it or nothing. Days that are not kept are folded and never stored. What is
-- known and not told again stays. Gives how many rows are new or have changed.
--
-- Nothing is mixed with what a simulated market told, or with amounts in another currency: a whole history takes the
-- place of those rows; anything less is not taken, and the whole history is asked for.
CREATE FUNCTION store_price_history(p_asset_id integer, p_provider text, p_currency text, p_days jsonb, p_actions jsonb,
    p_from date, p_today date)
RETURNS TABLE (days integer, weeks integer, months integer, actions integer)
LANGUAGE plpgsql AS $$
DECLARE
    known asset_history;
    kept record;
    first_day date;
    last_day date;
    first_split date;
    last_split date;
    since date;
    stored_since date;
    other boolean;
BEGIN
    PERFORM lock_price_history(p_asset_id);
    INSERT INTO asset_history (asset_id) VALUES (p_asset_id) ON CONFLICT (asset_id) DO NOTHING;
    SELECT * INTO known FROM asset_history h WHERE h.asset_id = p_asset_id;
    SELECT * INTO kept FROM price_history_kept(p_today);
    days := 0;
    weeks := 0;
    months := 0;
    actions := 0;

    other := coalesce((known.provider = 'simulated') <> (p_provider = 'simulated') OR known.currency <> p_currency, FALSE);
    IF other AND p_from IS NOT NULL THEN
        UPDATE asset_history h SET state = 'pending', attempts = 0, next_attempt_at = NULL,
            error = format('told by %s in %s, known from %s in %s', p_provider, p_currency, known.provider, known.currency)
        WHERE h.asset_id = p_asset_id;
        RETURN NEXT;
        RETURN;
    END IF;
    IF other THEN
        DELETE FROM price_history_daily d WHERE d.asset_id = p_asset_id;
        DELETE FROM price_history_weekly w WHERE w.asset_id = p_asset_id;
        DELETE FROM price_history_monthly m WHERE m.asset_id = p_asset_id;
        DELETE FROM corporate_actions a WHERE a.asset_id = p_asset_id;
        GET DIAGNOSTICS actions = ROW_COUNT;
        UPDATE asset_history h SET first_date = NULL, last_date = NULL, days_from = NULL WHERE h.asset_id = p_asset_id
        RETURNING h.* INTO known;
    END IF;

    -- An action that is still to come is taken on its day: until then prices are in the shares of before.
    WITH told AS (
        SELECT a.kind, a.ex_date,
            CASE a.kind WHEN 'split' THEN price_product(a.numerator) END AS numerator,
            CASE a.kind WHEN 'split' THEN price_product(a.denominator) END AS denominator,
            sum(a.amount) AS amount, max(a.reference_close) AS reference_close
        FROM jsonb_to_recordset(p_actions) AS a (kind text, ex_date date, numerator numeric, denominator numeric,
            amount numeric, reference_close numeric)
        WHERE a.ex_date <= p_today
        GROUP BY a.kind, a.ex_date
    ), changed AS (
        INSERT INTO corporate_actions AS stored (asset_id, ex_date, kind, numerator, denominator, amount, reference_close)
        SELECT p_asset_id, t.ex_date, t.kind, t.numerator, t.denominator, t.amount, t.reference_close
        FROM told t
        ORDER BY t.ex_date
        ON CONFLICT (asset_id, ex_date, kind) DO UPDATE SET
            numerator = excluded.numerator, denominator = excluded.denominator, amount = excluded.amount,
            reference_close = coalesce(excluded.reference_close, stored.reference_close)
        WHERE (stored.numerator, stored.denominator, stored.amount, stored.reference_close) IS DISTINCT FROM
            (excluded.numerator, excluded.denominator, excluded.amount,
                coalesce(excluded.reference_close, stored.reference_close))
        RETURNING stored.kind, stored.ex_date
    )
    SELECT actions + count(*), min(c.ex_date) FILTER (WHERE c.kind = 'split'), max(c.ex_date) FILTER (WHERE c.kind = 'split')
    INTO actions, first_split, last_split
    FROM changed c;

    SELECT min(d.date), max(d.date) INTO first_day, last_day FROM jsonb_to_recordset(p_days) AS d (date date);
    since := CASE
        WHEN p_from IS NOT NULL THEN p_from
        WHEN first_day > known.first_date THEN first_day
        ELSE '-infinity' END;
    -- LEAST and GREATEST pass over NULL. Where a split has changed, so has the period that it is in.
    weeks := write_price_folds('week', p_asset_id, p_days, since,
        GREATEST(LEAST(first_day, first_split), kept.weeks_from), GREATEST(last_day, last_split));
    months := write_price_folds('month', p_asset_id, p_days, since,
        LEAST(first_day, first_split), GREATEST(last_day, last_split));

    INSERT INTO price_history_daily AS stored (asset_id, date, open, high, low, close, volume)
    SELECT p_asset_id, d.date, d.open, d.high, d.low, d.close, d.volume
    FROM jsonb_to_recordset(p_days) AS d (date date, open numeric, high numeric, low numeric, close numeric,
        volume numeric)
    WHERE d.date >= kept.days_from
    ORDER BY d.date
    ON CONFLICT (asset_id, date) DO UPDATE SET
        open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume
    WHERE (stored.open, stored.high, stored.low, stored.close, stored.volume)
        IS DISTINCT FROM (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume);
    GET DIAGNOSTICS days = ROW_COUNT;

    stored_since := price_history_stored_since(known, first_day);
    stored_since := CASE
        WHEN first_day IS NULL THEN stored_since
        -- Days between what was known and what is told now may be missing.
        WHEN since > known.last_date + 1 THEN since
        WHEN isfinite(stored_since) AND last_day < stored_since - 1 THEN stored_since
        ELSE LEAST(stored_since, since) END;
    UPDATE asset_history h SET
        provider = p_provider, currency = p_currency, state = 'whole',
        first_date = LEAST(h.first_date, first_day), last_date = GREATEST(h.last_date, last_day),
        days_from = NULLIF(GREATEST(LEAST(h.first_date, first_day), stored_since,
            CASE WHEN first_day < kept.days_from THEN kept.days_from END), '-infinity'),
        actions_version = h.actions_version + CASE WHEN store_price_history.actions > 0 THEN 1 ELSE 0 END,
        -- Some minutes into the next day the day before is over everywhere, and providers have it.
        attempts = 0, error = NULL, next_attempt_at = ((p_today + 1)::timestamp + INTERVAL '10 minutes') AT TIME ZONE 'UTC'
    WHERE h.asset_id = p_asset_id;
    RETURN NEXT;
END
$$;

-- Deletes the days and weeks that are not kept any more, at most those of p_limit assets (all when NULL), and says of how
-- many assets, and how many rows. Periods that lose days are folded first, and days_from moves with the deletion. An
-- asset that somebody is working on is passed over: the next call takes it.
CREATE FUNCTION prune_price_history(p_today date, p_limit integer DEFAULT NULL)
RETURNS TABLE (assets integer, days integer, weeks integer)
LANGUAGE plpgsql AS $$
DECLARE
    kept record;
    due record;
    oldest date;
    deleted integer;
BEGIN
    SELECT * INTO kept FROM price_history_kept(p_today);
    assets := 0;
    days := 0;
    weeks := 0;
    FOR due IN
        SELECT a.asset_id FROM assets a
        WHERE EXISTS (SELECT FROM price_history_daily d WHERE d.asset_id = a.asset_id AND d.date < kept.days_from)
            OR EXISTS (SELECT FROM price_history_weekly w WHERE w.asset_id = a.asset_id AND w.week < kept.weeks_from)
        ORDER BY a.asset_id
        LIMIT p_limit
        FOR NO KEY UPDATE OF a SKIP LOCKED
    LOOP
        SELECT min(d.date) INTO oldest FROM price_history_daily d
        WHERE d.asset_id = due.asset_id AND d.date < kept.days_from;
        IF oldest IS NOT NULL THEN
            PERFORM write_price_folds('week', due.asset_id, '[]', NULL, GREATEST(oldest, kept.weeks_from),
                kept.days_from - 1);
            PERFORM write_price_folds('month', due.asset_id, '[]', NULL, oldest, kept.days_from - 1);
            DELETE FROM price_history_daily d WHERE d.asset_id = due.asset_id AND d.date < kept.days_from;
            GET DIAGNOSTICS deleted = ROW_COUNT;
            days := days + deleted;
            INSERT INTO asset_history AS h (asset_id, first_date, days_from)
            VALUES (due.asset_id, oldest, kept.days_from)
            ON CONFLICT (asset_id) DO UPDATE SET
                first_date = LEAST(h.first_date, excluded.first_date),
                days_from = GREATEST(h.days_from, excluded.days_from);
        END IF;
        DELETE FROM price_history_weekly w WHERE w.asset_id = due.asset_id AND w.week < kept.weeks_from;
        GET DIAGNOSTICS deleted = ROW_COUNT;
        weeks := weeks + deleted;
        assets := assets + 1;
    END LOOP;
    RETURN NEXT;
END
$$;

-- Makes the partitions of the years that [p_from, p_to] touches, and says how many were missing. One that an operator has
-- made is taken as it is, whatever its name. Locks as in ensure_live_candles_partitions.
--
-- A partition is a table of its own for whoever asks for it by its name: it is secured, also one made by hand.
CREATE FUNCTION ensure_price_history_partitions(p_from date, p_to date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    year date := date_trunc('year', p_from::timestamp)::date;
    next_year date;
    partition text;
    locked boolean := FALSE;
    made integer := 0;
BEGIN
    WHILE year <= p_to LOOP
        next_year := (year + INTERVAL '1 year')::date;
        partition := 'price_history_daily_' || to_char(year, 'YYYY');
        IF to_regclass(partition) IS NULL AND NOT locked THEN
            LOCK TABLE ONLY price_history_daily IN SHARE UPDATE EXCLUSIVE MODE;
            locked := TRUE;
        END IF;
        IF to_regclass(partition) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE TABLE %I (LIKE price_history_daily INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
                    partition);
                EXECUTE format('ALTER TABLE price_history_daily ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                    partition, year, next_year);
                made := made + 1;
            EXCEPTION WHEN invalid_object_definition THEN
                -- It would overlap with a partition of another name, which takes the rows.
                NULL;
            END;
        END IF;
        year := next_year;
    END LOOP;

    FOR partition IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'price_history_daily'::regclass AND NOT c.relrowsecurity
    LOOP
        PERFORM secure_table(partition::regclass, FALSE);
    END LOOP;
    RETURN made;
END
$$;

-- Drops the partitions of years that end at or before p_before and hold no row, and says how many. As
-- drop_empty_live_candles_partitions does it.
CREATE FUNCTION drop_empty_price_history_partitions(p_before date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    partition text;
    filled boolean;
    dropped integer := 0;
BEGIN
    PERFORM set_config('lock_timeout', '2s', TRUE);
    FOR partition IN
        SELECT c.relname
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'price_history_daily'::regclass
            AND c.relname ~ '^price_history_daily_\d{4}$'
            AND make_date(right(c.relname, 4)::integer + 1, 1, 1) <= p_before
        ORDER BY 1
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', partition) INTO filled;
        CONTINUE WHEN filled;
        LOCK TABLE ONLY price_history_daily IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', partition) INTO filled;
        CONTINUE WHEN filled;
        EXECUTE format('DROP TABLE %I', partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

-- Everybody may read prices, nobody but the owner and the service may write them. A partition is shut: everybody reads
-- through the table.
SELECT secure_table(market, TRUE) FROM unnest(ARRAY['price_history_daily', 'price_history_weekly',
    'price_history_monthly', 'corporate_actions']::regclass[]) AS market;
SELECT secure_table(own, FALSE) FROM unnest(ARRAY['asset_history', 'price_history_daily_2025',
    'price_history_daily_2026']::regclass[]) AS own;
SELECT secure_function(own) FROM unnest(ARRAY[
    'price_history_kept(date)',
    'fold_price_days(text, integer, jsonb)',
    'price_history_stored_since(asset_history, date)',
    'write_price_folds(text, integer, jsonb, date, date, date)',
    'lock_price_history(integer)',
    'aggregate_daily_to_weekly(integer, date)',
    'aggregate_daily_to_monthly(integer, date)',
    'store_price_history(integer, text, text, jsonb, jsonb, date, date)',
    'prune_price_history(date, integer)',
    'ensure_price_history_partitions(date, date)',
    'drop_empty_price_history_partitions(date)'
]::regprocedure[]) AS own;
