-- An upgrade calls no object that another role created.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;

-- Create the schema and pgvector if they do not exist; a plain owner needs no more rights. One upgrade at a
-- time: any role could hold the advisory lock, so it is used only before there is a table to lock.
DO $$
BEGIN
    IF to_regclass('dcsh.alembic_version') IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('dcsh.upgrade', 0));
    END IF;
    IF to_regclass('dcsh.alembic_version') IS NOT NULL THEN
        LOCK TABLE dcsh.alembic_version IN EXCLUSIVE MODE;
    END IF;
    IF to_regnamespace('dcsh') IS NULL THEN
        CREATE SCHEMA dcsh;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector') THEN
        IF to_regnamespace('public') IS NOT NULL AND has_schema_privilege('public', 'CREATE') THEN
            CREATE EXTENSION vector SCHEMA public;
        ELSE
            CREATE EXTENSION vector SCHEMA dcsh;
        END IF;
    END IF;
END
$$;
