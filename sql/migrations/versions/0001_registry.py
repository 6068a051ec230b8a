"""Registry tables, types of the spatial layer."""

from dcsh_pg.sql.migrations.run import run_sql, spatial_layer

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql("0001_registry.sql")
    run_sql(f"0001_types_{spatial_layer()}.sql")
