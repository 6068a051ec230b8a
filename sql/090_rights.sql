-- Rights that an upgrade corrects on existing objects, and rights that it can only warn of.

-- Views of pgstac items that were created to run with the rights of their owner.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT v.relname FROM dcsh.archive a
            JOIN pg_class v ON v.oid = to_regclass(format('dcsh.%I', a.name || '_items'))
        WHERE v.relkind = 'v' AND dcsh_private.view_options() <> '' AND obj_description(v.oid, 'pg_class')
            = format('Chips of archive %s with their STAC items in pgstac', a.name)
    LOOP
        EXECUTE format('ALTER VIEW dcsh.%I SET (security_invoker = true)', name);
    END LOOP;
    IF dcsh_private.view_options() = '' AND EXISTS (SELECT FROM dcsh.archive) THEN
        RAISE WARNING 'layers show all rows of their archives and ignore row-level security'
            USING HINT = 'PostgreSQL 15 and newer have views with the rights of their reader; until then grant dcsh.<archive>_layer only to roles that may read all rows';
    END IF;
END
$$;

-- Only roles with a grant ('dcsh-pg db grant') execute functions that write or lock.
DO $$
DECLARE
    writes regprocedure;
BEGIN
    FOR writes IN
        SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE p.pronamespace IN ('dcsh'::regnamespace, 'dcsh_private'::regnamespace)
            AND l.lanname <> 'c' AND p.provolatile = 'v' AND p.oid <> 'dcsh_private.explain'::regproc
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', writes);
    END LOOP;
END
$$;

DO $$
DECLARE
    home name;
    roles text;
BEGIN
    FOR home, roles IN
        SELECT n.nspname, string_agg(
            CASE c.role WHEN 0 THEN 'PUBLIC' ELSE c.role::regrole::text END, ', ' ORDER BY c.role)
        FROM pg_namespace n CROSS JOIN LATERAL dcsh_private.creators(n.oid) c(role)
        WHERE (n.nspname IN ('dcsh', 'dcsh_private') OR n.oid IN (
                SELECT e.extnamespace FROM pg_extension e
                WHERE e.extname IN ('vector', 'postgis', 'dcsh_hamming')))
            AND c.role <> (SELECT d.nspowner FROM pg_namespace d WHERE d.nspname = 'dcsh')
            AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = c.role AND r.rolsuper)
        GROUP BY n.nspname ORDER BY n.nspname
    LOOP
        RAISE WARNING 'other roles may create objects in schema "%", which searches use: %', home, roles
            USING HINT = format('REVOKE CREATE ON SCHEMA %I FROM %s', home, roles);
    END LOOP;
END
$$;
