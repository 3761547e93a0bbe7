-- a / b with so many digits after the point, halves away from zero; NULL where b is 0. `ratio` of src/portfolio/decimal.ts
-- is the same. Postgres' own division rounds before it can be rounded: here one more digit is cut off, never rounded.
CREATE FUNCTION portfolio_ratio(a numeric, b numeric, places integer) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT round(div(a * ('1e' || (places + 1)::text)::numeric, NULLIF(b, 0))
        * ('1e-' || (places + 1)::text)::numeric, places)
$$;

-- What one of a currency is in another, by what each is in US dollars; NULL where one of them is not known, never 1 (P3).
CREATE FUNCTION portfolio_rate(from_currency text, from_usd numeric, to_currency text, to_usd numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN from_currency = to_currency THEN 1
        ELSE portfolio_ratio(CASE WHEN from_currency = 'USD' THEN 1 ELSE from_usd END,
            CASE WHEN to_currency = 'USD' THEN 1 ELSE to_usd END, 16) END
$$;

-- The asset whose price tells what a currency is in US dollars; `inverse`: what a dollar is in the currency. No row for
-- the dollar itself, or where nobody prices it.
CREATE FUNCTION rate_source(p_currency text) RETURNS TABLE (asset_id integer, inverse boolean)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT a.asset_id, a.type = 'forex' AND a.code = 'USD' || p_currency
    FROM assets a
    WHERE p_currency <> 'USD' AND a.active AND a.code IN (p_currency || 'USD', 'USD' || p_currency, p_currency)
        AND CASE a.type WHEN 'forex' THEN a.code <> p_currency
            WHEN 'crypto' THEN a.code = p_currency AND a.currency = 'USD' ELSE FALSE END
    ORDER BY CASE a.code WHEN p_currency || 'USD' THEN 0 WHEN 'USD' || p_currency THEN 1 ELSE 2 END, a.asset_id
    LIMIT 1
$$;

-- The currency whose rate an asset of this type and code can tell.
CREATE FUNCTION rate_of(p_type text, p_code text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_type = 'crypto' THEN p_code WHEN p_code LIKE '%USD' THEN left(p_code, -3)
        ELSE substr(p_code, 4) END
$$;

-- What one of a currency is in US dollars now; NULL where nobody knows. `usdOf` of src/portfolio/rates.ts is the same.
-- (The cost has the planner look for a way to ask once a currency, not once a row.)
CREATE FUNCTION usd_now(p_currency text) RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE COST 10000 AS $$
    SELECT CASE WHEN s.inverse THEN portfolio_ratio(1, p.price, 16) ELSE p.price END
    FROM rate_source(p_currency) s JOIN prices_current p ON p.asset_id = s.asset_id
    WHERE p.price > 0
$$;

-- What one of a currency was in US dollars on a day (UTC), by its source: the last price on or before the day, at most 45
-- days older: a week and a month have theirs on their last day. For today and yesterday also a price of now, whenever the
-- market made it. NULL where there is none.
CREATE FUNCTION usd_of_day(p_asset_id integer, p_inverse boolean, p_day date) RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_inverse THEN portfolio_ratio(1, known.price, 16) ELSE known.price END
    FROM (
        (SELECT date AS day, 0 AS place, close AS price FROM price_history_daily
        WHERE asset_id = p_asset_id AND date BETWEEN p_day - 45 AND p_day
        ORDER BY date DESC LIMIT 1)
        UNION ALL
        (SELECT week + 6, 1, close FROM price_history_weekly
        WHERE asset_id = p_asset_id AND week BETWEEN p_day - 51 AND p_day - 6
        ORDER BY week DESC LIMIT 1)
        UNION ALL
        (SELECT (month + INTERVAL '1 month')::date - 1, 2, close FROM price_history_monthly
        WHERE asset_id = p_asset_id AND month + INTERVAL '1 month' BETWEEN p_day - 44 AND p_day + 1
            AND month BETWEEN p_day - 76 AND p_day
        ORDER BY month DESC LIMIT 1)
        UNION ALL
        SELECT LEAST((as_of AT TIME ZONE 'UTC')::date, p_day), 3, price FROM prices_current
        WHERE asset_id = p_asset_id AND as_of >= p_day::timestamp AT TIME ZONE 'UTC' - INTERVAL '45 days'
            AND ((as_of AT TIME ZONE 'UTC')::date <= p_day OR p_day >= (now() AT TIME ZONE 'UTC')::date - 1)
    ) AS known
    WHERE known.price > 0
    ORDER BY known.day DESC, known.place
    LIMIT 1
$$;

-- The sources of the rates that bring a user's open positions, or those of these assets, to the portfolio's currency.
CREATE FUNCTION portfolio_rate_sources(p_user uuid, p_asset_ids integer[] DEFAULT NULL)
RETURNS TABLE (currency text, asset_id integer, inverse boolean)
LANGUAGE sql STABLE AS $$
    SELECT c.currency, s.asset_id, s.inverse
    FROM (
        SELECT DISTINCT unnest(ARRAY[priced_in.currency, u.currency]) AS currency
        FROM (
            SELECT DISTINCT coalesce(p.currency, a.currency) AS currency
            FROM (
                SELECT DISTINCT l.asset_id FROM lots l
                WHERE l.user_id = p_user AND l.asset_id > 0 AND l.quantity <> 0
                    AND (p_asset_ids IS NULL OR l.asset_id = ANY (p_asset_ids))
            ) AS held
            JOIN assets a ON a.asset_id = held.asset_id
            LEFT JOIN prices_current p ON p.asset_id = held.asset_id
        ) AS priced_in
        JOIN profiles u ON u.user_id = p_user AND u.currency <> priced_in.currency
    ) AS c
    CROSS JOIN LATERAL rate_source(c.currency) AS s
$$;

-- Lots with what they cost in the portfolio's currency, at the rate of the day they were traded; `paid` is without fees.
CREATE VIEW lot_costs_view WITH (security_invoker = TRUE) AS
    SELECT priced.*, priced.cost * priced.rate AS invested, (priced.cost - priced.fees) * priced.rate AS paid
    FROM (
        SELECT l.*, (l.traded_at AT TIME ZONE 'UTC')::date AS day, u.currency AS portfolio_currency,
            -- Nothing is nothing in any currency.
            CASE WHEN l.cost = 0 AND l.fees = 0 THEN 0
                ELSE portfolio_rate(l.currency, f.usd, u.currency, t.usd) END AS rate
        FROM lots l
        JOIN profiles u ON u.user_id = l.user_id
        LEFT JOIN fx_rates f ON f.currency = l.currency AND f.day = (l.traded_at AT TIME ZONE 'UTC')::date
        LEFT JOIN fx_rates t ON t.currency = u.currency AND t.day = (l.traded_at AT TIME ZONE 'UTC')::date
    ) AS priced;

-- What was invested, realised, earned and spent in a position, by the currency and the day (UTC) of each. What a transfer
-- closes is not realised.
CREATE VIEW portfolio_movements_view WITH (security_invoker = TRUE) AS
    SELECT user_id, asset_id, currency, (traded_at AT TIME ZONE 'UTC')::date AS day,
        count(*) FILTER (WHERE quantity <> 0) AS lots, sum(quantity) AS quantity, sum(cost) AS invested,
        0::numeric AS realised, 0::numeric AS income, 0::numeric AS expenses
    FROM lots
    GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT c.user_id, c.asset_id, l.currency, (l.traded_at AT TIME ZONE 'UTC')::date, 0, 0, 0, -sum(c.cost), 0, 0
    FROM lot_closures c JOIN lots l ON l.id = c.lot_id AND l.user_id = c.user_id
    WHERE c.proceeds IS NOT NULL
    GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT user_id, asset_id, currency, (traded_at AT TIME ZONE 'UTC')::date, 0, 0, 0, sum(proceeds), 0, 0
    FROM lot_closures
    WHERE proceeds IS NOT NULL
    GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT user_id, coalesce(asset_id, 0), currency, (traded_at AT TIME ZONE 'UTC')::date, 0, 0, 0, 0,
        coalesce(sum(quantity * price) FILTER (WHERE kind IN ('dividend', 'interest')), 0),
        sum(fees) + coalesce(sum(quantity * price) FILTER (WHERE kind IN ('fee', 'tax')), 0)
    FROM activities
    WHERE kind IN ('dividend', 'interest', 'fee', 'tax', 'transfer_out') AND traded_at <= now()
    GROUP BY 1, 2, 3, 4
    UNION ALL
    -- A transfer that comes in and opens no lot, since it closes short ones alone: its fees are in none.
    SELECT y.user_id, coalesce(y.asset_id, 0), y.currency, (y.traded_at AT TIME ZONE 'UTC')::date, 0, 0, 0, 0, 0,
        sum(y.fees)
    FROM activities y
    WHERE y.kind = 'transfer_in' AND y.fees <> 0 AND y.traded_at <= now()
        AND NOT EXISTS (SELECT FROM lots l WHERE l.id = y.id AND l.user_id = y.user_id)
    GROUP BY 1, 2, 3, 4;

-- What a position is without prices of now, in the portfolio's currency: `PositionBase` of src/portfolio. NULL where the
-- rate of some day is not known (P3).
CREATE VIEW holdings_view WITH (security_invoker = TRUE) AS
    SELECT user_id, asset_id, currency, sum(lots)::integer AS lots, sum(quantity) AS quantity,
        CASE WHEN bool_and(rate IS NOT NULL OR invested = 0)
            THEN coalesce(sum(invested * rate) FILTER (WHERE invested <> 0), 0) END AS invested,
        CASE WHEN bool_and(rate IS NOT NULL OR realised = 0)
            THEN coalesce(sum(realised * rate) FILTER (WHERE realised <> 0), 0) END AS realised_gain,
        CASE WHEN bool_and(rate IS NOT NULL OR income = 0)
            THEN coalesce(sum(income * rate) FILTER (WHERE income <> 0), 0) END AS income,
        CASE WHEN bool_and(rate IS NOT NULL OR expenses = 0)
            THEN coalesce(sum(expenses * rate) FILTER (WHERE expenses <> 0), 0) END AS expenses
    FROM (
        SELECT m.user_id, m.asset_id, u.currency, m.lots, m.quantity, m.invested, m.realised, m.income, m.expenses,
            portfolio_rate(m.currency, f.usd, u.currency, t.usd) AS rate
        FROM portfolio_movements_view m
        JOIN profiles u ON u.user_id = m.user_id
        LEFT JOIN fx_rates f ON f.currency = m.currency AND f.day = m.day
        LEFT JOIN fx_rates t ON t.currency = u.currency AND t.day = m.day
    ) AS movements
    GROUP BY user_id, asset_id, currency;

-- A position as of now: `valuePosition` of src/portfolio/valuation.ts gives the same, to the last digit. Its `stale` knows
-- nothing of a quote's age.
CREATE VIEW positions_view WITH (security_invoker = TRUE) AS
    SELECT user_id, asset_id, symbol, name, type, quantity, lots, currency, cmp, cmp_currency, rate,
        portfolio_ratio(invested, quantity, 10) AS average_cost,
        invested, present_value, gain_loss,
        portfolio_ratio(gain_loss * 100, abs(invested), 4) AS gain_loss_percent,
        day_change,
        portfolio_ratio(day_change * 100, abs(present_value - day_change), 4) AS day_change_percent,
        realised_gain, income, expenses,
        pe_ratio, CASE WHEN pe_ratio IS NOT NULL THEN pe_as_of END AS pe_as_of, market_state, as_of, updated_at,
        CASE WHEN lots = 0 THEN NULL WHEN cmp IS NULL THEN 'unpriced' WHEN rate IS NULL THEN 'no_rate' END AS stale
    FROM (
        SELECT h.*, coalesce(a.symbol, o.symbol, '') AS symbol, coalesce(a.name, o.name, '') AS name,
            CASE WHEN h.asset_id < 0 THEN 'own' ELSE coalesce(a.type, '') END AS type,
            p.price AS cmp, coalesce(p.currency, a.currency, o.currency, h.currency) AS cmp_currency, now_at.rate,
            CASE WHEN h.lots = 0 THEN 0 WHEN h.asset_id < 0 THEN h.invested
                ELSE h.quantity * p.price * now_at.rate END AS present_value,
            CASE WHEN h.lots = 0 THEN 0 WHEN h.asset_id > 0
                THEN h.quantity * p.price * now_at.rate - h.invested END AS gain_loss,
            CASE WHEN h.lots = 0 THEN 0
                ELSE recent.quantity * p.price * now_at.rate - recent.paid + CASE WHEN h.quantity = recent.quantity THEN 0
                    ELSE (h.quantity - recent.quantity) * (p.price - p.previous_close) * now_at.rate END
                END AS day_change,
            CASE WHEN p.eps <= 0 THEN NULL ELSE p.pe_ratio END AS pe_ratio, p.pe_as_of, p.market_state, p.as_of,
            p.updated_at
        FROM holdings_view h
        LEFT JOIN assets a ON a.asset_id = h.asset_id
        LEFT JOIN own_assets o ON o.asset_id = h.asset_id AND o.user_id = h.user_id
        -- What is closed is not priced.
        LEFT JOIN prices_current p ON p.asset_id = h.asset_id AND h.lots > 0
        LEFT JOIN LATERAL (
            SELECT portfolio_rate(c.currency, usd_now(c.currency), h.currency, usd_now(h.currency)) AS rate
            FROM (SELECT coalesce(p.currency, a.currency) AS currency) AS c
            OFFSET 0
        ) AS now_at ON h.lots > 0 AND h.asset_id > 0
        -- P5: what was bought on the day of the price, or later.
        LEFT JOIN LATERAL (
            SELECT coalesce(sum(l.quantity), 0) AS quantity,
                CASE WHEN count(*) = count(l.paid) THEN coalesce(sum(l.paid), 0) END AS paid
            FROM lot_costs_view l
            WHERE l.user_id = h.user_id AND l.asset_id = h.asset_id AND l.quantity <> 0
                AND l.traded_at >= date_trunc('day', p.as_of, 'UTC')
        ) AS recent ON p.as_of IS NOT NULL
    ) AS valued;

-- A lot as of now: `valueLot` gives the same.
CREATE VIEW lot_performance_view WITH (security_invoker = TRUE) AS
    SELECT user_id, id, asset_id, symbol, quantity, opened_quantity, price, fees, currency, traded_at, cost, note, version,
        invested, present_value, gain_loss,
        portfolio_ratio(gain_loss * 100, abs(invested), 4) AS gain_loss_percent,
        day_change
    FROM (
        SELECT l.*, coalesce(a.symbol, o.symbol, '') AS symbol, y.note, y.version,
            CASE WHEN l.quantity = 0 THEN 0 WHEN l.asset_id < 0 THEN l.invested
                ELSE l.quantity * p.price * now_at.rate END AS present_value,
            CASE WHEN l.quantity = 0 THEN 0 WHEN l.asset_id > 0
                THEN l.quantity * p.price * now_at.rate - l.invested END AS gain_loss,
            CASE WHEN l.quantity = 0 THEN 0
                WHEN l.day < (p.as_of AT TIME ZONE 'UTC')::date
                    THEN l.quantity * (p.price - p.previous_close) * now_at.rate
                -- Fees below 0 that have cancelled the price: whoever has the lot alone cannot tell the rate of its day.
                WHEN l.cost <> 0 OR l.fees = 0 THEN l.quantity * p.price * now_at.rate - l.paid END AS day_change
        FROM lot_costs_view l
        JOIN activities y ON y.id = l.id AND y.user_id = l.user_id
        LEFT JOIN assets a ON a.asset_id = l.asset_id
        LEFT JOIN own_assets o ON o.asset_id = l.asset_id AND o.user_id = l.user_id
        LEFT JOIN prices_current p ON p.asset_id = l.asset_id AND l.quantity <> 0
        LEFT JOIN LATERAL (
            SELECT portfolio_rate(p.currency, usd_now(p.currency), l.portfolio_currency, usd_now(l.portfolio_currency))
                AS rate
            OFFSET 0
        ) AS now_at ON p.price IS NOT NULL
    ) AS valued;

-- What a portfolio comes to: `totals` of src/portfolio/totals.ts gives the same. One row for each profile.
CREATE VIEW portfolio_totals_view WITH (security_invoker = TRUE) AS
    SELECT user_id, currency, version, positions, invested, present_value, gain_loss,
        portfolio_ratio(gain_loss * 100, abs(gain_base), 4) AS gain_loss_percent,
        day_change,
        portfolio_ratio(day_change * 100, abs(day_base), 4) AS day_change_percent,
        realised_gain, income, expenses, cardinality(missing) > 0 AS incomplete, missing
    FROM (
        SELECT u.user_id, u.currency, coalesce(v.version, 0) AS version,
            count(*) FILTER (WHERE p.lots > 0)::integer AS positions,
            coalesce(sum(p.invested), 0) AS invested,
            coalesce(sum(p.present_value), 0) AS present_value,
            coalesce(sum(p.gain_loss), 0) AS gain_loss,
            sum(p.invested) FILTER (WHERE p.gain_loss IS NOT NULL) AS gain_base,
            coalesce(sum(p.day_change), 0) AS day_change,
            sum(p.present_value - p.day_change) AS day_base,
            coalesce(sum(p.realised_gain), 0) AS realised_gain,
            coalesce(sum(p.income), 0) AS income,
            coalesce(sum(p.expenses), 0) AS expenses,
            -- What an asset of the user's own has gained is not missed: it is kept at cost.
            coalesce(array_agg(DISTINCT p.symbol COLLATE "C" ORDER BY p.symbol COLLATE "C") FILTER (
                WHERE p.user_id IS NOT NULL
                    AND (num_nulls(p.invested, p.present_value, p.realised_gain, p.income, p.expenses) > 0
                    OR p.asset_id >= 0 AND num_nulls(p.gain_loss, p.day_change) > 0)), '{}') AS missing
        FROM profiles u
        LEFT JOIN portfolios v ON v.user_id = u.user_id
        LEFT JOIN positions_view p ON p.user_id = u.user_id
        GROUP BY u.user_id, u.currency, v.version
    ) AS summed;

-- Fills the rates of days that are wanted and can be known by now, and gives how many; those whose figures have changed
-- are told.
CREATE FUNCTION fill_fx_rates() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    filled jsonb;
BEGIN
    WITH known AS (
        SELECT w.currency, w.day, usd_of_day(s.asset_id, s.inverse, w.day) AS usd
        FROM (SELECT DISTINCT currency FROM fx_rates WHERE usd IS NULL) AS c
        CROSS JOIN LATERAL rate_source(c.currency) AS s
        JOIN fx_rates w ON w.currency = c.currency AND w.usd IS NULL
        ORDER BY 1, 2
    ), done AS (
        UPDATE fx_rates r SET usd = known.usd
        FROM known
        WHERE r.currency = known.currency AND r.day = known.day AND r.usd IS NULL AND known.usd IS NOT NULL
        RETURNING r.currency, r.day
    )
    SELECT jsonb_agg(to_jsonb(done)) INTO filled FROM done;
    IF filled IS NULL THEN
        RETURN 0;
    END IF;

    WITH concerned AS (
        SELECT DISTINCT m.user_id
        FROM jsonb_to_recordset(filled) AS f (currency text, day date)
        JOIN portfolio_movements_view m ON m.day = f.day
        JOIN profiles u ON u.user_id = m.user_id
        WHERE m.currency <> u.currency AND f.currency IN (m.currency, u.currency)
    ), told AS (
        INSERT INTO portfolio_outbox (user_id, derive) SELECT user_id, FALSE FROM concerned
    )
    UPDATE portfolios v SET version = v.version + 1, updated_at = now()
    FROM concerned WHERE v.user_id = concerned.user_id;
    RETURN jsonb_array_length(filled);
END
$$;

-- Has everything wanted that a portfolio needs: the rates of its days, of which those are filled that can be known, and
-- the prices of what is open with the rates that bring them to the portfolio's currency.
CREATE FUNCTION want_for_portfolio(p_user uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    own profiles;
BEGIN
    SELECT * INTO own FROM profiles WHERE user_id = p_user;

    WITH wanted AS (
        SELECT DISTINCT c.currency, m.day
        FROM portfolio_movements_view m CROSS JOIN LATERAL (VALUES (m.currency), (own.currency)) AS c (currency)
        WHERE m.user_id = p_user AND m.currency <> own.currency AND c.currency <> 'USD'
            AND NOT EXISTS (SELECT FROM fx_rates r WHERE r.currency = c.currency AND r.day = m.day)
        UNION
        -- What a sale has realised is told in its own currency, too.
        SELECT c.currency, (l.traded_at AT TIME ZONE 'UTC')::date
        FROM lot_closures x JOIN lots l ON l.id = x.lot_id AND l.user_id = x.user_id
        CROSS JOIN LATERAL (VALUES (l.currency), (x.currency)) AS c (currency)
        WHERE x.user_id = p_user AND x.currency <> l.currency AND c.currency <> 'USD'
            AND NOT EXISTS (SELECT FROM fx_rates r
                WHERE r.currency = c.currency AND r.day = (l.traded_at AT TIME ZONE 'UTC')::date)
    ), sources AS (
        SELECT c.currency, s.* FROM (SELECT DISTINCT currency FROM wanted) AS c CROSS JOIN LATERAL rate_source(c.currency) s
    )
    INSERT INTO fx_rates (currency, day, usd)
    SELECT w.currency, w.day, usd_of_day(s.asset_id, s.inverse, w.day)
    FROM wanted w LEFT JOIN sources s ON s.currency = w.currency
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING;

    WITH wanted AS (
        SELECT asset_id FROM lots WHERE user_id = p_user AND asset_id > 0 AND quantity <> 0
        UNION
        SELECT asset_id FROM portfolio_rate_sources(p_user)
    ), gone AS (
        DELETE FROM asset_watches w
        WHERE w.user_id = p_user AND NOT EXISTS (SELECT FROM wanted WHERE wanted.asset_id = w.asset_id)
    )
    INSERT INTO asset_watches AS w (user_id, asset_id, interval_seconds)
    SELECT p_user, asset_id, own.refresh_interval_seconds FROM wanted ORDER BY asset_id
    ON CONFLICT (user_id, asset_id) DO UPDATE SET interval_seconds = excluded.interval_seconds
    WHERE w.interval_seconds IS DISTINCT FROM excluded.interval_seconds;

    -- Of the thousand histories of a new database those come first that somebody waits for: of rates that past days lack,
    -- then of what is held.
    INSERT INTO asset_history (asset_id, next_attempt_at)
    SELECT asset_id, min(at)
    FROM (
        SELECT s.asset_id, now() - INTERVAL '1 day' AS at
        FROM (SELECT DISTINCT currency FROM fx_rates WHERE usd IS NULL) AS c
        CROSS JOIN LATERAL rate_source(c.currency) AS s
        UNION ALL
        SELECT asset_id, now() FROM asset_watches WHERE user_id = p_user
    ) AS waiting
    GROUP BY asset_id
    ORDER BY asset_id
    ON CONFLICT DO NOTHING;
END
$$;

-- Called at the end of every derivation of a user's lots, by that user.
CREATE FUNCTION portfolio_derived(p_user uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF p_user IS DISTINCT FROM kerb_user_id() THEN
        RAISE EXCEPTION 'portfolio_derived: only for the user whose claims the transaction carries'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM want_for_portfolio(p_user);
END
$$;

-- P7: whatever changes activities, lots or closures, the version rises and the user's object will be told. Who has derived
-- the lots says so (kerb.derived is 'yes' in its transaction): then they need not be derived, nor told of again.
CREATE FUNCTION note_portfolio_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    derived boolean := coalesce(current_setting('kerb.derived', TRUE), '') = 'yes';
    touched jsonb;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT jsonb_agg(t) INTO touched FROM (
            SELECT user_id, coalesce(asset_id, 0) AS asset_id FROM changed
            UNION SELECT user_id, coalesce(asset_id, 0) FROM former) AS t;
    ELSE
        SELECT jsonb_agg(t) INTO touched FROM (
            SELECT DISTINCT user_id, coalesce(asset_id, 0) AS asset_id FROM changed) AS t;
    END IF;
    IF touched IS NULL THEN
        RETURN NULL;
    END IF;

    UPDATE portfolios v SET version = v.version + 1, updated_at = now()
    FROM (SELECT DISTINCT user_id FROM jsonb_to_recordset(touched) AS t (user_id uuid)) AS t
    WHERE v.user_id = t.user_id;
    IF TG_TABLE_NAME = 'activities' OR NOT derived THEN
        -- A portfolio that is gone with them is told of by nobody.
        INSERT INTO portfolio_outbox (user_id, asset_id, derive)
        SELECT t.user_id, t.asset_id, NOT derived
        FROM jsonb_to_recordset(touched) AS t (user_id uuid, asset_id integer)
        JOIN portfolios v ON v.user_id = t.user_id
        ORDER BY t.asset_id;
    END IF;
    RETURN NULL;
END
$$;

DO $do$
DECLARE
    noted text;
BEGIN
    FOREACH noted IN ARRAY ARRAY['activities', 'lots', 'lot_closures'] LOOP
        EXECUTE format('CREATE TRIGGER note_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION note_portfolio_change()', noted);
        EXECUTE format('CREATE TRIGGER note_update AFTER UPDATE ON %I REFERENCING NEW TABLE AS changed OLD TABLE AS former
            FOR EACH STATEMENT EXECUTE FUNCTION note_portfolio_change()', noted);
        EXECUTE format('CREATE TRIGGER note_delete AFTER DELETE ON %I REFERENCING OLD TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION note_portfolio_change()', noted);
    END LOOP;
END
$do$;

-- A split that the market tells of, corrects or takes back: lots of that asset are to be derived again, whosever they are.
CREATE FUNCTION note_market_split() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO portfolio_outbox (user_id, asset_id, derive)
    SELECT DISTINCT l.user_id, l.asset_id, TRUE
    FROM changed c JOIN lots l ON l.asset_id = c.asset_id
    WHERE c.kind = 'split';
    RETURN NULL;
END
$$;

CREATE TRIGGER note_insert AFTER INSERT ON corporate_actions REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_market_split();
CREATE TRIGGER note_update AFTER UPDATE ON corporate_actions REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_market_split();
CREATE TRIGGER note_delete AFTER DELETE ON corporate_actions REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_market_split();

-- Another currency, another interval: what is wanted changes, and every figure may. Who holds nothing yet may have a page
-- open all the same.
CREATE FUNCTION note_profile_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE portfolios SET version = version + 1, updated_at = now() WHERE user_id = NEW.user_id;
    IF FOUND THEN
        PERFORM want_for_portfolio(NEW.user_id);
    END IF;
    INSERT INTO portfolio_outbox (user_id, derive) VALUES (NEW.user_id, FALSE);
    RETURN NULL;
END
$$;

CREATE TRIGGER note_change AFTER UPDATE ON profiles
    FOR EACH ROW WHEN ((OLD.currency, OLD.refresh_interval_seconds) IS DISTINCT FROM
        (NEW.currency, NEW.refresh_interval_seconds))
    EXECUTE FUNCTION note_profile_change();

-- Another source of a currency's rate, or none any more: all figures of whoever needs that rate may change.
CREATE FUNCTION note_rate_sources() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    currencies text[];
    concerned uuid[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(DISTINCT rate_of(c.type, c.code)) INTO currencies FROM changed c
        WHERE c.type IN ('forex', 'crypto');
    ELSE
        SELECT array_agg(DISTINCT rate_of(c.type, c.code)) INTO currencies
        FROM changed c JOIN former f ON f.asset_id = c.asset_id
        WHERE c.type IN ('forex', 'crypto')
            AND (f.active, f.type, f.code, f.currency) IS DISTINCT FROM (c.active, c.type, c.code, c.currency);
    END IF;
    IF currencies IS NULL THEN
        RETURN NULL;
    END IF;

    SELECT array_agg(user_id) INTO concerned FROM (
        SELECT u.user_id FROM profiles u JOIN portfolios v ON v.user_id = u.user_id WHERE u.currency = ANY (currencies)
        UNION
        SELECT w.user_id
        FROM asset_watches w
        JOIN portfolios v ON v.user_id = w.user_id
        JOIN assets a ON a.asset_id = w.asset_id
        LEFT JOIN prices_current p ON p.asset_id = a.asset_id
        WHERE coalesce(p.currency, a.currency) = ANY (currencies)
    ) AS c;
    UPDATE portfolios SET version = version + 1, updated_at = now() WHERE user_id = ANY (concerned);
    PERFORM want_for_portfolio(user_id) FROM unnest(concerned) AS c (user_id);
    INSERT INTO portfolio_outbox (user_id, derive) SELECT user_id, FALSE FROM unnest(concerned) AS c (user_id);
    RETURN NULL;
END
$$;

CREATE TRIGGER note_insert AFTER INSERT ON assets REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_rate_sources();
CREATE TRIGGER note_update AFTER UPDATE ON assets REFERENCING NEW TABLE AS changed OLD TABLE AS former
    FOR EACH STATEMENT EXECUTE FUNCTION note_rate_sources();

-- Nobody watches any more for a portfolio that is gone, and the user's object is told.
CREATE FUNCTION forget_portfolio() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM asset_watches WHERE user_id = OLD.user_id;
    INSERT INTO portfolio_outbox (user_id, derive) VALUES (OLD.user_id, FALSE);
    RETURN NULL;
END
$$;

CREATE TRIGGER forget AFTER DELETE ON portfolios FOR EACH ROW EXECUTE FUNCTION forget_portfolio();
-- Who had none may have a page open all the same.
CREATE TRIGGER forget_portfolio AFTER DELETE ON profiles FOR EACH ROW EXECUTE FUNCTION forget_portfolio();

SELECT secure_function(own) FROM unnest(ARRAY['fill_fx_rates()', 'want_for_portfolio(uuid)', 'portfolio_derived(uuid)',
    'note_portfolio_change()', 'note_market_split()', 'note_profile_change()', 'note_rate_sources()', 'forget_portfolio()']::regprocedure[]) AS own;
GRANT EXECUTE ON FUNCTION portfolio_derived(uuid) TO kerb_user;

-- P8: a view has no policies, and reads with the rights of whoever asks: for clients of the platform it is closed as the
-- tables are.
DO $do$
DECLARE
    own text;
    reader name;
BEGIN
    FOREACH own IN ARRAY ARRAY['lot_costs_view', 'portfolio_movements_view', 'holdings_view', 'positions_view',
        'lot_performance_view', 'portfolio_totals_view'] LOOP
        EXECUTE format('GRANT SELECT ON %I TO kerb_user', own);
        FOR reader IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
            EXECUTE format('REVOKE ALL ON %I FROM %I', own, reader);
        END LOOP;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role') THEN
            EXECUTE format('REVOKE ALL ON %I FROM service_role', own);
            EXECUTE format('GRANT SELECT ON %I TO service_role', own);
        END IF;
    END LOOP;
END
$do$;
