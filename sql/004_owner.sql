-- Create the schema for what only dcsh-pg uses.
--
-- Everything that follows belongs to the owner of the schema's objects, whoever runs the upgrade: so the
-- owner can run the next one, and a superuser calls no function of the schema.

DO $$
DECLARE
    owner oid := coalesce(
        (SELECT relowner FROM pg_class WHERE oid = to_regclass('dcsh.alembic_version')),
        (SELECT nspowner FROM pg_namespace WHERE nspname = 'dcsh'));
    home name;
    private_owner regrole := (SELECT nspowner FROM pg_namespace WHERE nspname = 'dcsh_private');
BEGIN
    IF private_owner IS NULL THEN
        EXECUTE format('CREATE SCHEMA dcsh_private AUTHORIZATION %s', owner::regrole);
    ELSIF private_owner NOT IN (owner, (SELECT nspowner FROM pg_namespace WHERE nspname = 'dcsh'))
        AND NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = private_owner)
    THEN
        RAISE EXCEPTION 'schema dcsh_private belongs to role %, not to the owner of schema dcsh', private_owner
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('rename it, or have an administrator run: ALTER SCHEMA dcsh_private OWNER TO %s',
                                owner::regrole);
    END IF;
    FOR home IN
        SELECT DISTINCT n.nspname
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname IN ('vector', 'postgis', 'dcsh_hamming')
            AND NOT has_schema_privilege(owner, n.oid, 'USAGE')
    LOOP
        IF NOT has_schema_privilege(home::text, 'USAGE WITH GRANT OPTION') THEN
            RAISE EXCEPTION 'permission denied for schema "%", which holds an extension', home
                USING ERRCODE = 'insufficient_privilege', HINT = format(
                    'ask its owner for: GRANT USAGE ON SCHEMA %I TO %s', home, owner::regrole);
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %s', home, owner::regrole);
    END LOOP;
    IF owner <> (SELECT oid FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('SET LOCAL ROLE %s', owner::regrole);
    END IF;
END
$$;
