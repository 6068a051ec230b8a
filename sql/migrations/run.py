"""How a revision runs its SQL files: on the connection, or into the script of ``--sql``."""

from __future__ import annotations

from pathlib import Path

from alembic import context

from dcsh_pg.sql import Layer

VERSIONS = Path(__file__).parent / "versions"


def spatial_layer() -> Layer:
    """The spatial layer that this upgrade is for."""
    return context.config.attributes["layer"]


def run_sql(file: str | Path) -> None:
    """Runs a file of statements; a bare name is one in ``versions``."""
    run_statements((VERSIONS / file).read_text(encoding="utf-8"))


def run_statements(statements: str) -> None:
    """Runs SQL, or adds it to the script."""
    migration = context.get_context()
    if migration.as_sql:
        migration.impl.static_output(statements)
    else:
        # Many statements in one go, and no placeholders: past SQLAlchemy to psycopg itself.
        migration.connection.connection.driver_connection.execute(statements)
