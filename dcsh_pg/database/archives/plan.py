"""Which plan a search of an archive uses, and what to do where the index is not used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from dcsh_pg.database.archives.registry import ArchiveRecord
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import one_row

SMALL = 20_000
"""Below so many chips comparing all codes is as fast, and the server may well choose it."""


@dataclass(frozen=True)
class SearchPlan:
    """How the server answers ``dcsh.similar`` on an archive.

    Attributes:
        archive: its name.
        uses: 'index' or 'sequential scan'; None for an empty archive.
        index: the index on the codes that it uses or could use, or None.
        fix: what to do for the index to be used, or None where nothing need be done.
    """

    archive: str
    uses: str | None
    index: str | None
    fix: str | None


def search_plan(conn: psycopg.Connection, archive: ArchiveRecord, *, k: int = 10) -> SearchPlan:
    """Asks the server to EXPLAIN the very query that finds the ``k`` nearest chips."""
    with sql_errors():
        explained, index, offered, others = one_row(
            conn,
            """
            SELECT dcsh._plan(%(name)s, %(k)s), dcsh._code_index(%(name)s)::text,
                   dcsh._has_hamming(),
                   array(SELECT i.indexrelid::regclass::text
                         FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
                             JOIN pg_am m ON m.oid = x.relam
                         WHERE i.indrelid = to_regclass(format('dcsh.%%I', %(name)s::text))
                             AND m.amname IN ('hnsw', 'ivfflat') ORDER BY 1)
            """,
            {"name": archive.name, "k": k},
        )
    used = walks_an_index(explained)
    return SearchPlan(
        archive=archive.name,
        uses=None if explained is None else "index" if used else "sequential scan",
        index=index,
        fix=None if used else _fix(archive, index, offered, others),
    )


def walks_an_index(explained: list[dict[str, Any]] | None) -> bool:
    """Whether a plan, as EXPLAIN (FORMAT JSON) tells it, takes rows from an index by distance."""
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
        return (
            f"DROP INDEX {', '.join(others)} (approximate, and could be used in the other's stead)"
        )
    return f"dcsh-pg archive index {archive.name}"


def _nodes(explained: list[dict[str, Any]] | None) -> Iterator[dict[str, Any]]:
    """All nodes of a plan, with those that Citus shows of its workers' plans."""
    waiting = [explained[0]["Plan"]] if explained else []
    while waiting:
        node = waiting.pop()
        waiting += node.get("Plans", [])
        for task in node.get("Distributed Query", {}).get("Job", {}).get("Tasks", []):
            waiting += [plan["Plan"] for [plan] in task.get("Remote Plan", [])]
        yield node
