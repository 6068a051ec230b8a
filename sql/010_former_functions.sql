-- Functions whose signature this version changes, or that it no longer has, get another name until
-- 095_former_functions.sql drops them: then no new function is an overload, and none uses an old one.
-- The functions in pg_temp have the signatures of this version (migrations/run.py).

DO $$
DECLARE
    former regprocedure;
    signature regprocedure;
BEGIN
    FOR former IN
        SELECT p.oid
        FROM pg_proc p
            JOIN pg_namespace s ON s.oid = p.pronamespace
        WHERE s.nspname IN ('dcsh', 'dcsh_private') AND p.prokind = 'f'
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
                            AND d.objid = p.oid AND d.deptype = 'e')
            AND (s.nspname = 'dcsh_private'
                OR s.nspname || '.' || p.proname IN (
                    SELECT n.proname FROM pg_proc n WHERE n.pronamespace = pg_my_temp_schema())
                OR p.proname IN ('create_shard_server', 'drop_former_shards', 'shard_archive',
                                 'shards', 'similar_in_stac', 'unshard_archive'))
            AND NOT EXISTS (
                SELECT FROM pg_proc n
                WHERE n.pronamespace = pg_my_temp_schema()
                    AND (n.proname, n.proargtypes, n.prorettype, n.proretset)
                        = (s.nspname || '.' || p.proname, p.proargtypes, p.prorettype, p.proretset)
                    AND (n.proargnames, n.proargmodes, n.proallargtypes)
                        IS NOT DISTINCT FROM (p.proargnames, p.proargmodes, p.proallargtypes))
    LOOP
        EXECUTE format('ALTER FUNCTION %s RENAME TO %I', former,
            '_former_' || (SELECT p.proname FROM pg_proc p WHERE p.oid = former));
    END LOOP;
    FOR signature IN SELECT n.oid FROM pg_proc n WHERE n.pronamespace = pg_my_temp_schema() LOOP
        EXECUTE format('DROP FUNCTION %s', signature);
    END LOOP;
END
$$;
