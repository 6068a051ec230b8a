"""Alembic's environment: preparation, revisions and functions in one transaction.

``dcsh_pg.database.migrate`` passes the connection and the spatial layer in ``config.attributes``.
"""

from __future__ import annotations

from alembic import context

from dcsh_pg import sql
from dcsh_pg.sql.migrations.run import run_sql, spatial_layer

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
