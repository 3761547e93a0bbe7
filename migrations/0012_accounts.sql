-- The accounts of the built-in issuer, as better-auth 1.7 wants them. Where Supabase Auth keeps the accounts they stay
-- empty. Passwords are there as scrypt hashes, session tokens and the names of resets as digests, signing keys encrypted.
CREATE TABLE auth_users (
    id              UUID PRIMARY KEY,
    name            TEXT NOT NULL,
    email           TEXT NOT NULL UNIQUE,
    email_verified  BOOLEAN NOT NULL DEFAULT FALSE,
    image           TEXT,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    CONSTRAINT auth_users_email_is_in_small_letters CHECK (email = lower(email))
);

CREATE TABLE auth_sessions (
    id              UUID PRIMARY KEY,
    -- SHA-256 of the token, in hexadecimal.
    token           TEXT NOT NULL UNIQUE CHECK (token ~ '^[0-9a-f]{64}$'),
    user_id         UUID NOT NULL REFERENCES auth_users ON DELETE CASCADE,
    expires_at      TIMESTAMPTZ NOT NULL,
    ip_address      TEXT,
    user_agent      TEXT,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at      TIMESTAMPTZ NOT NULL DEFAULT NOW()
);

CREATE INDEX idx_auth_sessions_user ON auth_sessions (user_id);
CREATE INDEX idx_auth_sessions_expires_at ON auth_sessions (expires_at);

CREATE TABLE auth_accounts (
    id                          UUID PRIMARY KEY,
    user_id                     UUID NOT NULL REFERENCES auth_users ON DELETE CASCADE,
    issuer                      TEXT NOT NULL,
    account_id                  TEXT NOT NULL,
    provider_id                 TEXT NOT NULL,
    password                    TEXT,
    access_token                TEXT,
    refresh_token               TEXT,
    id_token                    TEXT,
    access_token_expires_at     TIMESTAMPTZ,
    refresh_token_expires_at    TIMESTAMPTZ,
    scope                       TEXT,
    created_at                  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at                  TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    UNIQUE (issuer, account_id)
);

CREATE INDEX idx_auth_accounts_user ON auth_accounts (user_id);

CREATE TABLE auth_verifications (
    id              UUID PRIMARY KEY,
    identifier      TEXT NOT NULL,
    value           TEXT NOT NULL,
    expires_at      TIMESTAMPTZ NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at      TIMESTAMPTZ NOT NULL DEFAULT NOW()
);

CREATE INDEX idx_auth_verifications_identifier ON auth_verifications (identifier);
CREATE INDEX idx_auth_verifications_expires_at ON auth_verifications (expires_at);

CREATE TABLE auth_jwks (
    id              UUID PRIMARY KEY,
    public_key      TEXT NOT NULL,
    private_key     TEXT NOT NULL,
    alg             TEXT,
    crv             TEXT,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    expires_at      TIMESTAMPTZ
);

SELECT secure_table(own, FALSE) FROM unnest(ARRAY['auth_users', 'auth_sessions', 'auth_accounts', 'auth_verifications',
    'auth_jwks']::regclass[]) AS own;

-- Whom the Worker becomes, for one transaction at a time, before it touches what belongs to a user. Unlike the owner of
-- the tables, row level security holds for it. A role belongs to the whole server: another database may have made it.
DO $do$
BEGIN
    CREATE ROLE kerb_user NOLOGIN NOINHERIT;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$do$;

-- Who migrates, and whom the Worker is, must be able to become it: being a member does not say so since Postgres 16.
DO $do$
DECLARE
    own text := current_setting('role');
BEGIN
    PERFORM set_config('role', 'kerb_user', TRUE);
    PERFORM set_config('role', own, TRUE);
EXCEPTION WHEN insufficient_privilege THEN
    EXECUTE format('GRANT kerb_user TO %I', current_user);
END
$do$;

DO $do$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO kerb_user', current_schema());
END
$do$;

-- The user whose claims the transaction carries, as PostgREST and Supabase set them too; NULL where it carries none.
CREATE FUNCTION kerb_user_id() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (NULLIF(current_setting('request.jwt.claims', TRUE), '')::json ->> 'sub')::uuid
$$;

-- What a person says of themselves. The row is made when its user is first met: whoever keeps the accounts.
CREATE TABLE profiles (
    user_id                     UUID PRIMARY KEY,
    name                        TEXT NOT NULL,
    -- That in which totals are told.
    currency                    TEXT NOT NULL DEFAULT 'USD',
    -- How old a price may become; NULL is refresh_default_seconds of app_settings, whose bounds hold in any case.
    refresh_interval_seconds    INTEGER,
    created_at                  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at                  TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    CONSTRAINT profiles_name_is_short CHECK (length(name) <= 100),
    CONSTRAINT profiles_currency_is_a_code CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT profiles_interval_is_within_a_day CHECK (refresh_interval_seconds BETWEEN 1 AND 86400)
);

SELECT secure_table('profiles', FALSE);
CREATE POLICY own_rows ON profiles TO kerb_user USING (user_id = kerb_user_id()) WITH CHECK (user_id = kerb_user_id());
GRANT SELECT ON profiles TO kerb_user;
GRANT INSERT (user_id, name) ON profiles TO kerb_user;
GRANT UPDATE (name, currency, refresh_interval_seconds, updated_at) ON profiles TO kerb_user;
