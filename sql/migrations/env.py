"""Alembic's environment: preparation, revisions and functions in one transaction.

``dcsh_pg.database.migrate`` passes the connection and the spatial layer in ``config.attributes``.
"""

from __future__ import annotations

from alembic import context

from dcsh_pg import sql
from dcsh_pg.sql.migrations.run import run_sql, run_statements, spatial_layer

# The functions are their own record of what they are: it is replaced, dumped and restored with them.
DIGEST = """
CREATE OR REPLACE FUNCTION dcsh._functions_digest() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '{}';
COMMENT ON FUNCTION dcsh._functions_digest IS
    'SHA-256 of the SQL files that ''dcsh-pg db upgrade'' made the functions of';
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
    for file in sql.preparing(spatial_layer()):
        run_sql(file)
    context.run_migrations()
    for file in sql.functions(spatial_layer()):
        run_sql(file)
    run_statements(DIGEST.format(sql.digest(spatial_layer())))
