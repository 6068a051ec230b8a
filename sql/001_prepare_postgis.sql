-- Create PostGIS if this database does not have it.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'postgis') THEN
        IF to_regnamespace('public') IS NOT NULL AND has_schema_privilege('public', 'CREATE') THEN
            CREATE EXTENSION postgis SCHEMA public;
        ELSE
            CREATE EXTENSION postgis SCHEMA dcsh;
        END IF;
    END IF;
END
$$;
