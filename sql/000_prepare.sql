-- The schema and pgvector, if they are not there yet; a plain owner needs no more rights.

DO $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('dcsh.upgrade', 0));
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
