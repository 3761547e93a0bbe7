-- One a user; made with the first activity. Whoever writes activities locks the row: writes of one user come one after
-- the other.
CREATE TABLE portfolios (
    user_id         UUID PRIMARY KEY REFERENCES profiles ON DELETE CASCADE,
    -- Rises with every change of activities and lots, and of the currency (P7).
    version         BIGINT NOT NULL DEFAULT 0,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at      TIMESTAMPTZ NOT NULL DEFAULT NOW()
);

-- What a person owns that nobody prices: a house, a fund without a market. Numbered below 0, so that a number means one
-- asset, whosever it is. `assets` is for everybody to read: these are not.
CREATE TABLE own_assets (
    asset_id        INTEGER GENERATED ALWAYS AS IDENTITY (START WITH -1 INCREMENT BY -1) PRIMARY KEY,
    user_id         UUID NOT NULL REFERENCES portfolios ON DELETE CASCADE,
    symbol          TEXT NOT NULL,
    name            TEXT NOT NULL,
    currency        TEXT NOT NULL,

    UNIQUE (user_id, symbol, currency),
    -- For those who refer to it: nobody refers to what is another's.
    UNIQUE (asset_id, user_id),
    CONSTRAINT own_assets_name_is_short CHECK (length(symbol) BETWEEN 1 AND 100 AND length(name) BETWEEN 1 AND 200),
    CONSTRAINT own_assets_currency_is_a_code CHECK (currency ~ '^[A-Z][A-Z0-9]{1,11}$')
);

-- What a person enters or imports; `lots` and `lot_closures` follow from it.
CREATE TABLE activities (
    id                  UUID PRIMARY KEY,
    user_id             UUID NOT NULL REFERENCES portfolios ON DELETE CASCADE,
    kind                TEXT NOT NULL CHECK (kind IN ('buy', 'sell', 'dividend', 'fee', 'interest', 'tax', 'split',
        'transfer_in', 'transfer_out')),
    -- Below 0: of own_assets.
    asset_id            INTEGER,
    listed_asset_id     INTEGER GENERATED ALWAYS AS (CASE WHEN asset_id > 0 THEN asset_id END) STORED
        REFERENCES assets,
    own_asset_id        INTEGER GENERATED ALWAYS AS (CASE WHEN asset_id < 0 THEN asset_id END) STORED,
    quantity            NUMERIC NOT NULL,
    price               NUMERIC NOT NULL,
    fees                NUMERIC NOT NULL,
    currency            TEXT NOT NULL,
    traded_at           TIMESTAMPTZ NOT NULL,
    -- Of a split: so many new shares for so many old ones.
    split_numerator     NUMERIC,
    split_denominator   NUMERIC,
    -- Of a sale that names its lots: [{"lot_id", "quantity"}].
    named_lots          JSONB,
    note                TEXT,
    -- Whether it may open a short lot.
    short               BOOLEAN NOT NULL DEFAULT FALSE,
    -- The same of two rows that say the same thing; only imports have one.
    fingerprint         TEXT,
    version             INTEGER NOT NULL DEFAULT 1,
    created_at          TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at          TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    CONSTRAINT activities_amounts_are_numbers CHECK (quantity >= 0 AND quantity < 'Infinity' AND price >= 0
        AND price < 'Infinity' AND fees > '-Infinity' AND fees < 'Infinity'),
    CONSTRAINT activities_currency_is_a_code CHECK (currency ~ '^[A-Z][A-Z0-9]{1,11}$'),
    CONSTRAINT activities_asset_is_given CHECK (asset_id <> 0 AND (asset_id IS NOT NULL
        OR kind IN ('fee', 'interest', 'tax'))),
    CONSTRAINT activities_split_is_whole CHECK (CASE kind
        WHEN 'split' THEN split_numerator > 0 AND split_denominator > 0 AND split_numerator IS NOT NULL
            AND split_denominator IS NOT NULL
        ELSE split_numerator IS NULL AND split_denominator IS NULL END),
    CONSTRAINT activities_note_is_short CHECK (length(note) <= 500),
    FOREIGN KEY (own_asset_id, user_id) REFERENCES own_assets (asset_id, user_id),
    UNIQUE (user_id, fingerprint)
);

CREATE INDEX idx_activities_asset ON activities (user_id, asset_id, traded_at, id);
CREATE INDEX idx_activities_traded_at ON activities (user_id, traded_at DESC, id DESC);
CREATE INDEX idx_activities_listed_asset ON activities (listed_asset_id);
-- What was entered ahead of its time, by when it takes effect.
CREATE INDEX idx_activities_to_come ON activities (traded_at) WHERE updated_at < traded_at;
CREATE INDEX idx_activities_own_asset ON activities (own_asset_id);
-- What is earned and spent beside buying and selling, by position: 0 has what belongs to no asset.
CREATE INDEX idx_activities_earned_or_spent ON activities (user_id, (coalesce(asset_id, 0)))
    WHERE kind IN ('dividend', 'interest', 'fee', 'tax', 'transfer_in', 'transfer_out');

-- What remains of each purchase (of a sale that opened a short one): `Lot` of src/portfolio. A closed one has quantity 0.
CREATE TABLE lots (
    id                  UUID PRIMARY KEY REFERENCES activities ON DELETE CASCADE,
    user_id             UUID NOT NULL REFERENCES portfolios ON DELETE CASCADE,
    asset_id            INTEGER NOT NULL,
    currency            TEXT NOT NULL,
    traded_at           TIMESTAMPTZ NOT NULL,
    quantity            NUMERIC NOT NULL,
    opened_quantity     NUMERIC NOT NULL,
    price               NUMERIC NOT NULL,
    fees                NUMERIC NOT NULL,
    cost                NUMERIC NOT NULL
);

CREATE INDEX idx_lots_asset ON lots (user_id, asset_id, traded_at, id);
CREATE INDEX idx_lots_traded_at ON lots (user_id, traded_at DESC, id DESC);
CREATE INDEX idx_lots_of_asset ON lots (asset_id);

-- Which part of which lot an activity closed: `LotClosure` of src/portfolio.
CREATE TABLE lot_closures (
    activity_id         UUID NOT NULL REFERENCES activities ON DELETE CASCADE,
    lot_id              UUID NOT NULL REFERENCES lots ON DELETE CASCADE,
    user_id             UUID NOT NULL REFERENCES portfolios ON DELETE CASCADE,
    asset_id            INTEGER NOT NULL,
    quantity            NUMERIC NOT NULL CHECK (quantity > 0),
    cost                NUMERIC NOT NULL,
    proceeds            NUMERIC,
    currency            TEXT NOT NULL,
    traded_at           TIMESTAMPTZ NOT NULL,

    PRIMARY KEY (activity_id, lot_id)
);

CREATE INDEX idx_lot_closures_lot ON lot_closures (lot_id);
CREATE INDEX idx_lot_closures_asset ON lot_closures (user_id, asset_id);

-- What one of a currency was in US dollars on a day, for costs and gains of that day in another currency. A row without a
-- rate is wanted; one that has its rate keeps it.
CREATE TABLE fx_rates (
    currency        TEXT NOT NULL CHECK (currency ~ '^[A-Z][A-Z0-9]{1,11}$' AND currency <> 'USD'),
    day             DATE NOT NULL,
    usd             NUMERIC CHECK (usd > 0),

    PRIMARY KEY (currency, day)
);

CREATE INDEX idx_fx_rates_wanted ON fx_rates (currency, day) WHERE usd IS NULL;

-- What the users' objects have yet to be told: written by triggers, with whatever changed it, drained by cron. `derive`:
-- lots have not been made of the activities yet, since somebody else than Kerb wrote them. Without an asset: all of them.
CREATE TABLE portfolio_outbox (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id         UUID NOT NULL,
    asset_id        INTEGER,
    derive          BOOLEAN NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT NOW()
);

-- Answers to writes that carried an Idempotency-Key, for a day.
CREATE TABLE idempotency_keys (
    user_id         UUID NOT NULL REFERENCES profiles ON DELETE CASCADE,
    key             TEXT NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
    -- SHA-256 of method, path and body, in hexadecimal: the same key for another request is a mistake.
    request         TEXT NOT NULL,
    status          INTEGER NOT NULL,
    headers         JSONB NOT NULL,
    body            TEXT NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    PRIMARY KEY (user_id, key)
);

CREATE INDEX idx_idempotency_keys_created_at ON idempotency_keys (created_at);

SELECT secure_table(own, FALSE) FROM unnest(ARRAY['portfolios', 'own_assets', 'activities', 'lots', 'lot_closures',
    'portfolio_outbox', 'idempotency_keys']::regclass[]) AS own;
SELECT secure_table('fx_rates', TRUE);

-- P8: each user's rows alone, for the role that the Worker becomes. In a subquery the claims are read once a query, not
-- once a row.
DO $do$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['portfolios', 'own_assets', 'activities', 'lots', 'lot_closures', 'idempotency_keys'] LOOP
        EXECUTE format('CREATE POLICY own_rows ON %I TO kerb_user USING (user_id = (SELECT kerb_user_id()))
            WITH CHECK (user_id = (SELECT kerb_user_id()))', owned);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO kerb_user', owned);
    END LOOP;
END
$do$;
GRANT SELECT ON assets, prices_current, corporate_actions, fx_rates TO kerb_user;
