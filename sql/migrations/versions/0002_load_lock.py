"""The table that loads lock."""

from dcsh_pg.sql.migrations.run import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql("0002_load_lock.sql")
