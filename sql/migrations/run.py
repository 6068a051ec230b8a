"""Run a revision's SQL files: on the connection, or into the script of ``--sql``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import psycopg
from alembic import context

from dcsh_pg.sql import Layer

VERSIONS = Path(__file__).parent / "versions"


def spatial_layer() -> Layer:
    """The spatial layer that this upgrade is for."""
    return cast(Layer, context.config.attributes["layer"])


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
_HEADER = re.compile(
    r"^CREATE OR REPLACE FUNCTION (dcsh(?:_private)?\.\w+)(.*?)\n    LANGUAGE", re.M | re.S
)
# Citus warns about every function in pg_temp, which it cannot create on the workers.
_LOCALLY = """\
SET LOCAL citus.enable_ddl_propagation = off;
{}
RESET citus.enable_ddl_propagation;
"""
_SIGNATURE = 'CREATE OR REPLACE FUNCTION pg_temp."{}"{} LANGUAGE plpgsql AS $$BEGIN END$$;'


def run_sql(file: str | Path) -> None:
    """Run a file of statements; a bare name is one in ``versions``."""
    run_statements((VERSIONS / file).read_text(encoding="utf-8"))


def create_signatures(files: Sequence[Path]) -> None:
    """Create the functions of the files in ``pg_temp`` without their bodies, named ``"schema.name"``.

    ``010_former_functions.sql`` compares them with the functions in place and drops them.
    """
    headers = [header for file in files for header in _HEADER.findall(file.read_text("utf-8"))]
    signatures = "\n".join(_SIGNATURE.format(*header) for header in headers)
    run_statements(_LOCALLY.format(signatures))


def run_statements(statements: str) -> None:
    """Run SQL, or add it to the script.

    ``@vector@`` and ``@postgis@`` are the schemas of the extensions, which only the server knows.
    """
    if _SCHEMAS.search(statements):
        statements = _QUALIFIED.format(statements)
    migration = context.get_context()
    if migration.as_sql:
        migration.impl.static_output(statements)
        return
    assert migration.connection is not None
    # Many statements in one string, without placeholders: psycopg runs them, SQLAlchemy cannot.
    connection = cast("psycopg.Connection", migration.connection.connection.driver_connection)
    connection.execute(statements.encode())
