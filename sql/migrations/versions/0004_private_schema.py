"""The schema for what only dcsh-pg uses."""

from dcsh_pg.sql.migrations.run import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql("0004_private_schema.sql")
