"""The plan that a search of an archive uses, and how to make it use the index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from dcsh_pg.database.archives.approximation import Approximation, approximation
from dcsh_pg.database.archives.registry import ArchiveRecord
from dcsh_pg.database.server.rows import one_row

SMALL = 20_000
"""With fewer chips, comparing all codes is as fast, and the server may choose to."""

LARGE = 200_000
"""With more chips, comparing all codes takes a tenth of a second and longer."""

GROWTH = 1.5
"""An approximate index is measured again when the number of chips has changed by this factor."""


@dataclass(frozen=True)
class SearchPlan:
    """How the server answers ``dcsh.similar`` on an archive.

    Attributes:
        archive: its name.
        uses: 'index' or 'sequential scan'; None for an empty archive.
        index: the exact index on the codes, used or not, or None.
        fix: the command that makes the search use the index, or None if none is needed or possible.
        approximate: the approximate index that searches with ``exact=False`` use and its recall, or
            None.
        advice: what an approximate index would do here, or what the one that is there needs; None if
            nothing.
    """

    archive: str
    uses: str | None
    index: str | None
    fix: str | None
    approximate: str | None = None
    advice: str | None = None


def search_plan(conn: psycopg.Connection, archive: ArchiveRecord, *, k: int = 10) -> SearchPlan:
    """The plan that EXPLAIN shows for the query of the ``k`` nearest chips."""
    explained, index, offered, others = one_row(
        conn,
        """
        SELECT dcsh_private.plan(%(name)s, %(k)s), dcsh_private.code_index(%(name)s)::text,
               dcsh_private.has_hamming(),
               array(SELECT i.indexrelid::regclass::text
                     FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
                         JOIN pg_am m ON m.oid = x.relam
                     WHERE i.indrelid = to_regclass(format('dcsh.%%I', %(name)s::text))
                         AND m.amname IN ('hnsw', 'ivfflat') ORDER BY 1)
        """,
        {"name": archive.name, "k": k},
    )
    used = walks_an_index(explained)
    known = approximation(conn, archive.name)
    is_managed = managed_by(conn) is not None
    return SearchPlan(
        archive=archive.name,
        uses=None if explained is None else "index" if used else "sequential scan",
        index=index,
        fix=None if used or (is_managed and not offered) else _fix(archive, index, offered, others),
        approximate=None if known is None else str(known),
        advice=None if offered else _advice(conn, archive, known),
    )


def managed_by(conn: psycopg.Connection) -> str | None:
    """The service that runs the server, where no extension of one's own can be installed."""
    row = conn.execute(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY (%s) ORDER BY rolname LIMIT 1",
        [list(_SERVICES)],
    ).fetchone()
    return None if row is None else _SERVICES[row[0]]


_SERVICES = {
    "alloydbsuperuser": "AlloyDB",
    "avnadmin": "Aiven",
    "azure_pg_admin": "Azure Database for PostgreSQL",
    "cloudsqlsuperuser": "Cloud SQL",
    "doadmin": "DigitalOcean",
    "neon_superuser": "Neon",
    "rds_superuser": "Amazon RDS",
    "supabase_admin": "Supabase",
}
"""Managed service by a role that each of its servers has."""


def _advice(
    conn: psycopg.Connection, archive: ArchiveRecord, known: Approximation | None
) -> str | None:
    """What to do with an approximate index where the exact one is missing."""
    is_distributed, owner, owns = one_row(
        conn,
        "SELECT dcsh_private.is_distributed(%(name)s), relowner::regrole::text, "
        "pg_has_role(relowner, 'USAGE') FROM pg_class "
        "WHERE oid = to_regclass(format('dcsh.%%I', %(name)s::text))",
        {"name": archive.name},
    )
    if is_distributed:
        return None
    command, why = f"dcsh-pg archive index {archive.name} --approximate ivfflat", ""
    if known is None:
        if archive.chips < LARGE:
            return None
        why = f"{archive.chips:,} chips: an approximate index answers searches with --approximate"
    elif known.rows is None:
        command, why = f"dcsh-pg recall {archive.name}", "its recall is unknown"
    elif not 1 / GROWTH < archive.chips / known.rows < GROWTH:
        why = f"{archive.chips:,} chips, and its recall was measured on {known.rows:,}"
        if known.method == "hnsw":
            command = f"dcsh-pg recall {archive.name}"
    else:
        return None
    return f"{why}: {command}" + ("" if owns else f", as role {owner}")


def walks_an_index(explained: list[dict[str, Any]] | None) -> bool:
    """Whether a plan of EXPLAIN (FORMAT JSON) reads rows from an index in order of distance."""
    return any(
        node["Node Type"] == "Index Scan" and "Order By" in node for node in _nodes(explained)
    )


def _fix(archive: ArchiveRecord, index: str | None, offered: bool, others: list[str]) -> str | None:
    if index is not None:
        return None if archive.chips < SMALL else f'ANALYZE dcsh."{archive.name}"'
    if not offered:
        steps = ("native install", "db upgrade", f"archive index {archive.name}")
        return ", ".join(f"dcsh-pg {step}" for step in steps) if archive.chips >= SMALL else None
    if others:
        return f"DROP INDEX {', '.join(others)} (approximate, and may be used instead of the exact one)"
    return f"dcsh-pg archive index {archive.name}"


def _nodes(explained: list[dict[str, Any]] | None) -> Iterator[dict[str, Any]]:
    """All nodes of a plan, including those of the workers' plans that Citus shows."""
    waiting = [explained[0]["Plan"]] if explained else []
    while waiting:
        node = waiting.pop()
        waiting += node.get("Plans", [])
        for task in node.get("Distributed Query", {}).get("Job", {}).get("Tasks", []):
            waiting += [plan["Plan"] for [plan] in task.get("Remote Plan", [])]
        yield node
