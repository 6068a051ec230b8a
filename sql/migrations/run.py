"""How a revision runs its SQL files: on the connection, or into the script of ``--sql``."""

from __future__ import annotations

import re
from pathlib import Path

from alembic import context

from dcsh_pg.sql import Layer

VERSIONS = Path(__file__).parent / "versions"


def spatial_layer() -> Layer:
    """The spatial layer that this upgrade is for."""
    return context.config.attributes["layer"]


_SCHEMAS = re.compile("@(vector|postgis)@")
_QUALIFIED = """
DO $dcsh_qualify$
BEGIN
    EXECUTE replace(replace($dcsh_statements$
{}
    $dcsh_statements$,
    '@vector@', current_setting('dcsh.vector')),
    '@postgis@', coalesce(current_setting('dcsh.postgis', true), ''));
END
$dcsh_qualify$;
"""


def run_sql(file: str | Path) -> None:
    """Runs a file of statements; a bare name is one in ``versions``."""
    run_statements((VERSIONS / file).read_text(encoding="utf-8"))


def run_statements(statements: str) -> None:
    """Runs SQL, or adds it to the script.

    ``@vector@`` and ``@postgis@`` are the schemas of the extensions, which only the server knows.
    """
    if _SCHEMAS.search(statements):
        statements = _QUALIFIED.format(statements)
    migration = context.get_context()
    if migration.as_sql:
        migration.impl.static_output(statements)
    else:
        # Many statements in one go, and no placeholders: past SQLAlchemy to psycopg itself.
        migration.connection.connection.driver_connection.execute(statements)
