"""Ways to query PostgreSQL for the nearest codes of an archive, with conditions on other columns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import shapely
from answers import Answer, Truth
from pgvector import Bit
from synthetic_archive import day, grid_side

from dcsh_pg.database.archives import spatial

NAME = "search_benchmark"
TABLE = f"dcsh.{NAME}"
SCENES = 100


@dataclass(frozen=True)
class Condition:
    """A condition on other columns, as SQL on ``c`` and as arguments of ``dcsh.similar``."""

    name: str
    sql: str
    arguments: dict[str, Any]
    truth: Truth

    def similar(self) -> str:
        return "".join(f", {name} => %({name})s" for name in self.arguments)


@contextmanager
def settings(conn: psycopg.Connection, **values: Any) -> Iterator[None]:
    """Applies server settings temporarily; __ in a name stands for a dot."""
    names = {name.replace("__", "."): str(value) for name, value in values.items()}
    for name, value in names.items():
        conn.execute("SELECT set_config(%s, %s, false)", [name, value])
    conn.execute("DISCARD PLANS")
    try:
        yield
    finally:
        for name in names:
            conn.execute(f"RESET {name}")
        conn.execute("DISCARD PLANS")


class Server:
    """Ways to query the ``k`` nearest rows of the archive; ``sample`` is a code."""

    def __init__(self, conn: psycopg.Connection, k: int, sample: bytes):
        self.conn, self.k, self.sample = conn, k, sample

    def raw(
        self, condition: Condition | None = None, *, order: str = "", plan: str | None = None
    ) -> Answer:
        """``ORDER BY code <~> q LIMIT k``; ``plan`` must occur in the plan.

        Raises:
            SystemExit: the server chose another plan.
        """
        return self._answer(
            f"SELECT c.id FROM {TABLE} c WHERE {condition.sql if condition else 'true'} "
            f"ORDER BY c.code <~> %(code)s{order} LIMIT {self.k}",
            condition,
            plan,
        )

    def ordered(self, index: str) -> Answer:
        """``ORDER BY code <~> q, id``, in a form that uses the index in every version."""
        if self.conn.info.server_version >= 170000:
            return self.raw(order=", c.id", plan=f"using {index}")
        return self._answer(
            f"SELECT id FROM (SELECT id, code <~> %(code)s AS distance FROM {TABLE} "
            f"ORDER BY 2 FETCH FIRST {self.k} ROWS WITH TIES) near "
            f"ORDER BY distance, id LIMIT {self.k}",
            None,
            f"using {index}",
        )

    def similar(self, condition: Condition | None = None) -> Answer:
        return self._answer(
            f"SELECT id, distance FROM dcsh.similar('{NAME}', %(code)s, k => {self.k}"
            f"{condition.similar() if condition else ''})",
            condition,
        )

    def _answer(self, query: str, condition: Condition | None, plan: str | None = None) -> Answer:
        arguments = condition.arguments if condition else {}
        if plan is not None:
            asked = {**arguments, "code": Bit(self.sample)}
            explained = self.conn.execute(f"EXPLAIN {query}", asked, prepare=False).fetchall()
            if not any(plan in line for (line,) in explained):
                raise SystemExit(f"not the plan '{plan}':\n" + "\n".join(x for (x,) in explained))

        def answer(code: bytes) -> list[int]:
            asked = {**arguments, "code": Bit(code)}
            return [row[0] - 1 for row in self.conn.execute(query, asked, prepare=True)]

        return answer


def conditions(
    conn: psycopg.Connection, codes: np.ndarray, queries: list[bytes], k: int, scene_chips: int
) -> list[Condition]:
    """1 % of the footprints, a square in the middle; and 1 % of the time, one day of a hundred."""
    rows, side = np.arange(len(codes)), grid_side(len(codes))
    low, high = int(0.4 * side), int(0.4 * side) + max(1, round(0.1 * side))
    x, y = rows % side, rows // side
    inside = (low <= x) & (x < high) & (low <= y) & (y < high)
    corner, opposite = (low + 0.5) / side, (high - 0.5) / side
    area = shapely.box(corner, corner, opposite, opposite)
    text = spatial.area_text(area, spatial.layer_of(conn))
    (predicate,) = conn.execute("SELECT dcsh_private.area_predicate(%s)", [text]).fetchone()
    return [
        Condition("1 % area", predicate, {"area": text}, Truth(codes, queries, k, inside)),
        Condition(
            "1 % time",
            "c.acquired >= %(since)s AND c.acquired < %(until)s",
            {"since": day(SCENES // 2), "until": day(SCENES // 2 + 1)},
            Truth(codes, queries, k, rows // scene_chips == SCENES // 2),
        ),
    ]
