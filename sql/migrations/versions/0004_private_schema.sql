-- What only dcsh-pg uses moves from dcsh._name to dcsh_private.name. Objects keep their rights and what
-- depends on them. 004_owner.sql creates the schema.
COMMENT ON SCHEMA dcsh_private IS 'What schema dcsh uses; names and arguments change without notice';

-- Left behind if only schema dcsh was dropped.
DROP TABLE IF EXISTS dcsh_private.load_lock;
DROP TYPE IF EXISTS dcsh_private.filter, dcsh_private.tile_feature CASCADE;

ALTER TABLE dcsh._load_lock SET SCHEMA dcsh_private;
ALTER TABLE dcsh_private._load_lock RENAME TO load_lock;
ALTER TYPE dcsh._filter SET SCHEMA dcsh_private;
ALTER TYPE dcsh_private._filter RENAME TO filter;

DO $$
DECLARE
    moved regprocedure;
    statement text;
BEGIN
    IF to_regtype('dcsh._tile_feature') IS NOT NULL THEN
        ALTER TYPE dcsh._tile_feature SET SCHEMA dcsh_private;
        ALTER TYPE dcsh_private._tile_feature RENAME TO tile_feature;
    END IF;
    FOR moved IN
        SELECT p.oid FROM pg_proc p
        WHERE p.pronamespace = 'dcsh'::regnamespace AND p.prokind = 'f' AND p.proname ^@ '_'
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
                            AND d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET SCHEMA dcsh_private', moved);
        EXECUTE format('ALTER FUNCTION %s RENAME TO %I', moved,
            (SELECT substr(p.proname, 2) FROM pg_proc p WHERE p.oid = moved));
    END LOOP;

    -- Roles that may use schema dcsh may use this one; future functions get the same rights in both.
    FOR statement IN
        SELECT format('GRANT USAGE ON SCHEMA dcsh_private TO %s',
                      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
        FROM pg_namespace n, aclexplode(n.nspacl) a
        WHERE n.nspname = 'dcsh' AND a.privilege_type = 'USAGE' AND a.grantee <> n.nspowner
        UNION ALL
        SELECT format('ALTER DEFAULT PRIVILEGES IN SCHEMA dcsh_private GRANT EXECUTE ON FUNCTIONS TO %s',
                      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
        FROM pg_default_acl d, aclexplode(d.defaclacl) a
        WHERE d.defaclnamespace = 'dcsh'::regnamespace AND d.defaclobjtype = 'f'
            AND d.defaclrole::regrole = current_user::regrole
    LOOP
        EXECUTE statement;
    END LOOP;
END
$$;

ALTER TABLE dcsh.archive ADD COLUMN IF NOT EXISTS pair_distances bigint[];
COMMENT ON COLUMN dcsh.archive.pair_distances IS 'Number of pairs at distance 0, 1, 2 ... of a sample of its chips; NULL if chips were stored since they were counted';

-- Roles that may load chips.
DO $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format('GRANT UPDATE (pair_distances) ON dcsh.archive TO %s',
                      CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END)
        FROM pg_attribute a, aclexplode(a.attacl) x
        WHERE a.attrelid = 'dcsh.archive'::regclass AND a.attname = 'last_chip_id' AND x.privilege_type = 'UPDATE'
    LOOP
        EXECUTE statement;
    END LOOP;
END
$$;
