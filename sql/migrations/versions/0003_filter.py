"""The type of what narrows a search."""

from dcsh_pg.sql.migrations.run import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql("0003_filter.sql")
