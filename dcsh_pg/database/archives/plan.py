"""The plan that a search of an archive uses, and how to make it use the index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from dcsh_pg.database.archives.registry import ArchiveRecord
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import one_row

SMALL = 20_000
"""With fewer chips, comparing all codes is as fast, and the server may choose to."""


@dataclass(frozen=True)
class SearchPlan:
    """How the server answers ``dcsh.similar`` on an archive.

    Attributes:
        archive: its name.
        uses: 'index' or 'sequential scan'; None for an empty archive.
        index: the exact index on the codes, used or not, or None.
        fix: the command that makes the search use the index, or None if none is needed.
    """

    archive: str
    uses: str | None
    index: str | None
    fix: str | None


def search_plan(conn: psycopg.Connection, archive: ArchiveRecord, *, k: int = 10) -> SearchPlan:
    """The plan that EXPLAIN shows for the query of the ``k`` nearest chips."""
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
