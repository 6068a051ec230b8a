"""Names of archives for the completion of a shell, which calls these while the user types."""

from __future__ import annotations

from typing import Any

import typer

SECONDS = 3
"""A server that does not answer for so long is given up."""


def archive_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The archives whose names begin so, of the server that the command line or environment names.

    Starts no server and raises nothing: a shell has no place for either.
    """
    try:
        return [name for name in _names(ctx.params) if name.startswith(incomplete)]
    except Exception:
        return []


def _names(options: dict[str, Any]) -> list[str]:
    import psycopg

    from dcsh_pg.database.server.connect import is_embedded, resolve
    from dcsh_pg.database.server.embedded import EmbeddedServer

    dsn, pg_bin = options.get("dsn"), options.get("pg_bin")
    if is_embedded(dsn, pg_bin=pg_bin) and not EmbeddedServer.of(pg_bin).is_running():
        return []
    with psycopg.connect(resolve(dsn, pg_bin=pg_bin), connect_timeout=SECONDS) as conn:
        rows = conn.execute("SELECT name FROM dcsh.archive ORDER BY name").fetchall()
    return [str(name) for (name,) in rows]
