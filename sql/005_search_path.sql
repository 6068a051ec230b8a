-- The search_path that every function is pinned to (SET search_path FROM CURRENT). It leaves out the
-- schemas of the extensions, because other roles may create objects in them: a function or operator there
-- that matches the types of a call better than one of pg_catalog would be chosen. The files qualify the
-- extensions' objects (migrations/run.py) and pass them arguments of exactly their types.

DO $$
DECLARE
    extension name;
    home name;
BEGIN
    FOR extension, home IN
        SELECT e.extname, n.nspname
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname IN ('vector', 'postgis')
    LOOP
        IF home ~ '[''$%\\]' THEN
            RAISE EXCEPTION 'extension "%" is in schema "%", whose name dcsh does not support', extension, home
                USING ERRCODE = 'invalid_schema_name',
                      HINT = 'rename the schema to a name without quote, dollar, percent sign and backslash';
        END IF;
        PERFORM set_config('dcsh.' || extension, quote_ident(home), true);
    END LOOP;
END
$$;
SET LOCAL search_path = pg_catalog, dcsh, pg_temp;
