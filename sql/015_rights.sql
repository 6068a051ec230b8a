-- Rights in a schema.

-- The owner of a database is a member of pg_database_owner. Without settings, so that queries inline it.
CREATE OR REPLACE FUNCTION dcsh_private.creators(schema oid) RETURNS SETOF oid
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT DISTINCT CASE c.role WHEN (SELECT r.oid FROM pg_roles r WHERE r.rolname = 'pg_database_owner') THEN (
        SELECT d.datdba FROM pg_database d WHERE d.datname = current_database()) ELSE c.role END
    FROM (SELECT n.nspowner AS role FROM pg_namespace n WHERE n.oid = schema
          UNION ALL
          SELECT a.grantee FROM pg_namespace n, aclexplode(n.nspacl) a
          WHERE n.oid = schema AND a.privilege_type = 'CREATE') c;
END;
COMMENT ON FUNCTION dcsh_private.creators IS 'The roles that own a schema or were granted CREATE on it; 0 is PUBLIC';

CREATE OR REPLACE FUNCTION dcsh_private.is_shared(schema oid) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM dcsh_private.creators(schema) role
        WHERE role <> (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'dcsh')
            AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = role AND r.rolsuper));
END
$$;
COMMENT ON FUNCTION dcsh_private.is_shared IS 'Whether roles other than superusers and the owner of schema dcsh may create objects in a schema';

-- Row-level security and revoked rights apply to the reader of a view only if the view runs with the
-- reader's rights.
CREATE OR REPLACE FUNCTION dcsh_private.view_options() RETURNS text
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
    RETURN CASE WHEN current_setting('server_version_num')::integer >= 150000
                THEN 'WITH (security_invoker = true)' ELSE '' END;
COMMENT ON FUNCTION dcsh_private.view_options IS 'Options that let a view run with its reader''s rights; none before PostgreSQL 15, which lacks them';
