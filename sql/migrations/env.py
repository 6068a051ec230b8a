"""Alembic's environment: preparation, revisions and functions in one transaction.

``dcsh_pg.database.server.migrate`` passes the connection and the spatial layer in ``config.attributes``.
"""

from __future__ import annotations

from alembic import context

from dcsh_pg import sql
from dcsh_pg.sql.migrations.run import create_signatures, run_sql, run_statements, spatial_layer

# Kept as a function, so that it is replaced, dumped and restored with the others.
DIGEST = """
CREATE OR REPLACE FUNCTION dcsh_private.functions_digest() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '{}';
COMMENT ON FUNCTION dcsh_private.functions_digest IS
    'SHA-256 of the SQL files from which ''dcsh-pg db upgrade'' created the functions';
"""

# Transfers existing objects; the owner creates the others (004_owner.sql).
OWNER = """
DO $dcsh_owner$
DECLARE
    handed text;
    homes oid[] := ARRAY(SELECT oid FROM pg_namespace WHERE nspname IN ('dcsh', 'dcsh_private'));
BEGIN
    FOR handed IN
        SELECT format('ALTER SCHEMA %s OWNER TO {owner}', home::regnamespace) FROM unnest(homes) home
        UNION ALL
        SELECT format('ALTER TABLE %s OWNER TO {owner}', c.oid::regclass)
        FROM pg_class c WHERE c.relnamespace = ANY (homes) AND c.relkind IN ('r', 'p', 'v', 'm')
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO {owner}', p.oid::regprocedure)
        FROM pg_proc p WHERE p.pronamespace = ANY (homes)
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
        UNION ALL
        SELECT format('ALTER TYPE %s OWNER TO {owner}', t.oid::regtype)
        FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE t.typnamespace = ANY (homes) AND (t.typtype = 'd' OR c.relkind = 'c')
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e')
    LOOP
        EXECUTE handed;
    END LOOP;
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {owner}', current_database());
END
$dcsh_owner$;
"""

connection = context.config.attributes.get("connection")
context.configure(
    connection=connection,
    dialect_name="postgresql",
    output_buffer=context.config.output_buffer,
    version_table_schema="dcsh",
    transactional_ddl=True,
)
with context.begin_transaction():
    owner = context.config.attributes.get("owner")
    for file in sql.preparing(spatial_layer()):
        if owner is not None and file.name == "004_owner.sql":
            run_statements(OWNER.format(owner=owner))
        run_sql(file)
    context.run_migrations()
    create_signatures(sql.functions(spatial_layer()))
    for file in sql.functions(spatial_layer()):
        run_sql(file)
    run_statements(DIGEST.format(sql.digest(spatial_layer())))
