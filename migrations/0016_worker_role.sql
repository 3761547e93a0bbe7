-- The role of the Worker: it reads and writes rows, and owns nothing, so that no statement of it can change a table, a
-- function or a policy. `npm run migrate` lets it log in when WORKER_PASSWORD is set. Like kerb_user, the role belongs to the
-- whole server. It does not inherit the rights of kerb_user; it becomes kerb_user for a transaction.
DO $do$
BEGIN
    CREATE ROLE kerb_worker NOLOGIN NOINHERIT;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$do$;
GRANT kerb_user TO kerb_worker;

DO $do$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO kerb_worker', current_schema());
    -- A temporary table would stand before a table of the same name in a search path that does not mention pg_temp.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$do$;

-- As in 0008, and gives the Worker's role access: a table that a later migration adds needs no other call.
CREATE OR REPLACE FUNCTION secure_table(secured regclass, readable boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    client name;
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', secured);
    EXECUTE format('DROP POLICY IF EXISTS public_read ON %s', secured);
    IF readable THEN
        EXECUTE format('CREATE POLICY public_read ON %s FOR SELECT USING (TRUE)', secured);
    END IF;
    EXECUTE format('DROP POLICY IF EXISTS worker_all ON %s', secured);
    EXECUTE format('CREATE POLICY worker_all ON %s TO kerb_worker USING (TRUE) WITH CHECK (TRUE)', secured);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO kerb_worker', secured);
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

-- As in 0008, and lets the Worker's role call the function.
CREATE OR REPLACE FUNCTION secure_function(secured regprocedure) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    client name;
BEGIN
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', secured);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO kerb_worker', secured);
    FOR client IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %I', secured, client);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role') THEN
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO service_role', secured);
    END IF;
END
$$;

DO $do$
DECLARE
    own oid;
    definer regprocedure;
BEGIN
    FOR own IN SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
        AND relrowsecurity AND relname <> 'pgmigrations'
    LOOP
        PERFORM secure_table(own, EXISTS (SELECT FROM pg_policy WHERE polrelid = own AND polname = 'public_read'));
    END LOOP;
    FOR own IN SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'v' LOOP
        EXECUTE format('GRANT SELECT ON %s TO kerb_worker', own::regclass);
    END LOOP;
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO kerb_worker', current_schema());
    EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %I TO kerb_worker', current_schema());
    -- A search path that does not mention pg_temp begins with it.
    FOR definer IN SELECT oid FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND prosecdef LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', definer, current_schema());
    END LOOP;
END
$do$;

-- A lot belongs to the user of its activity, a closure to the user of both its lot and its activity: not even SQL of a user
-- can point at another user's rows.
ALTER TABLE activities ADD UNIQUE (id, user_id);
ALTER TABLE lots
    ADD UNIQUE (id, user_id),
    DROP CONSTRAINT lots_id_fkey,
    ADD FOREIGN KEY (id, user_id) REFERENCES activities (id, user_id) ON DELETE CASCADE;
ALTER TABLE lot_closures
    DROP CONSTRAINT lot_closures_activity_id_fkey,
    DROP CONSTRAINT lot_closures_lot_id_fkey,
    ADD FOREIGN KEY (activity_id, user_id) REFERENCES activities (id, user_id) ON DELETE CASCADE,
    ADD FOREIGN KEY (lot_id, user_id) REFERENCES lots (id, user_id) ON DELETE CASCADE;
