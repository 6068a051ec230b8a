"""What an approximate index of an archive finds: ``dcsh.recall``.

A query with ``exact=False`` permits an approximate index (hnsw, ivfflat).  Its answer is exact all the
same if the archive has the exact index or no approximate one, is distributed, or if the index finds
fewer than k.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

import psycopg

from dcsh_pg.database.server.pg_errors import sql_errors

Method = Literal["hnsw", "ivfflat"]
"""The access methods of pgvector."""
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Approximation:
    """An approximate index that searches use, and its recall when it was last measured.

    Attributes:
        index: its qualified name.
        method: its access method.
        option: the server's option that trades time for recall: ef_search or probes.
        setting: value of the option that searches use.
        recall: mean share of the k nearest that it found, 0 to 1; None before it is measured, like
            all that follow.
        k: number of neighbours.
        queries: number of queries.
        rows: chips in the archive at that time.
        measured: the time, UTC.
    """

    index: str
    method: Method
    option: str
    setting: int
    recall: float | None = None
    k: int | None = None
    queries: int | None = None
    rows: int | None = None
    measured: datetime | None = None

    def __str__(self) -> str:
        """One line, for people."""
        how = f"{self.method}, {self.option} {self.setting}"
        if self.recall is None or self.rows is None or self.measured is None:
            return f"{how}, recall not measured"
        return (
            f"{how}, recall@{self.k} {self.recall:.4f} measured {self.measured:%Y-%m-%d} "
            f"on {self.rows:,} chips"
        )


def approximation(conn: psycopg.Connection, archive_name: str) -> Approximation | None:
    """The approximate index that searches of an archive with ``exact=False`` use.

    None if these are exact.  Of several indexes PostgreSQL chooses one; this is the oldest.

    Raises:
        NotFound: no such archive.
    """
    with sql_errors():
        row = conn.execute(
            """
            SELECT format('dcsh.%%I', x.relname), method, option, setting, recall, k, queries, rows,
                   measured
            FROM dcsh.recall(%(name)s) JOIN pg_class x ON x.oid = index
            WHERE dcsh_private.code_index(%(name)s) IS NULL AND NOT dcsh_private.is_distributed(%(name)s)
            LIMIT 1
            """,
            {"name": archive_name},
        ).fetchone()
    return None if row is None else Approximation(*row)
