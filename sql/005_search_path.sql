-- What every function is pinned to (SET search_path FROM CURRENT): the extensions wherever they
-- live, temporary objects last.

DO $$
BEGIN
    PERFORM set_config('search_path', concat_ws(', ', 'pg_catalog', 'dcsh', (
        SELECT string_agg(DISTINCT quote_ident(n.nspname), ', ')
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname IN ('vector', 'postgis', 'dcsh_hamming') AND n.nspname NOT IN ('pg_catalog', 'dcsh')
    ), 'pg_temp'), true);
END
$$;
