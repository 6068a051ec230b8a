-- What every function is pinned to (SET search_path FROM CURRENT).  The schemas of the extensions are
-- left out, because others may create objects in them: a function or operator there that fits the
-- types of a call better than one of pg_catalog would be chosen.  Files put the schemas
-- before what the extensions have (migrations/run.py), and give it arguments of exactly its types.

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
            RAISE EXCEPTION 'extension "%" is in schema "%", which dcsh cannot name', extension, home
                USING ERRCODE = 'invalid_schema_name',
                      HINT = 'rename the schema without quote, dollar, percent sign and backslash';
        END IF;
        PERFORM set_config('dcsh.' || extension, quote_ident(home), true);
    END LOOP;
END
$$;
SET LOCAL search_path = pg_catalog, dcsh, pg_temp;
