"""Approximate indexes on the codes of an archive, for servers that cannot have the exact one.

pgvector's hnsw and ivfflat.  They are built CONCURRENTLY, so ingests and searches continue; a build
that was stopped leaves an invalid index, which the next one drops.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import sql

from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.approximation import Method
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import one_row, scalar
from dcsh_pg.errors import InputError, ServerError, UsageError
from dcsh_pg.progress import SILENT, Progress

MEMORY_BYTES = 2**30
"""Memory that a build takes at most, unless another limit is given."""

RANGES = {"lists": (1, 32768), "m": (2, 100), "ef_construction": (4, 1000)}
"""What pgvector allows."""


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How an index is built; None is chosen by rule.

    Attributes:
        lists: of ivfflat; default: one per 1000 chips, above a million chips the square root of their
            number, and fewer where their training needs more than ``memory_bytes``.
        m: connections a node of hnsw; default 16.
        ef_construction: candidates for the neighbours of a node of hnsw; default 64, at least 2 m.
        memory_bytes: limit for the server's memory.

    Raises:
        UsageError: a value out of range.
    """

    lists: int | None = None
    m: int | None = None
    ef_construction: int | None = None
    memory_bytes: int = MEMORY_BYTES

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise UsageError(
                    f"--{name.replace('_', '-')} must be from {least} to {most}, not {value}"
                )
        if self.ef_construction is not None and self.ef_construction < 2 * (self.m or 16):
            raise UsageError(
                f"--ef-construction must be at least twice --m, not {self.ef_construction}"
            )


@dataclass(frozen=True)
class Plan:
    """How an index of an archive is built.

    Attributes:
        method: its access method.
        parameters: its storage parameters.
        memory_bytes: memory that the build needs.
    """

    method: Method
    parameters: dict[str, int]
    memory_bytes: int


@dataclass(frozen=True)
class _Index:
    name: str
    method: str
    parameters: dict[str, int]
    is_valid: bool
    is_building: bool


def build_plan(
    method: Method, rows: int, bits: int, options: BuildOptions = BuildOptions()
) -> Plan:
    """How an index on ``rows`` codes of ``bits`` bits is built.

    Raises:
        UsageError: an option of the other method, or ``lists`` whose training needs more memory
            than the limit.
    """
    stray = {"hnsw": ("lists",), "ivfflat": ("m", "ef_construction")}[method]
    for name in stray:
        if getattr(options, name) is not None:
            raise UsageError(
                f"--{name.replace('_', '-')} is not an option of {method}", hint="leave it out"
            )
    if method == "hnsw":
        m = options.m or 16
        parameters = {"m": m, "ef_construction": options.ef_construction or max(64, 2 * m)}
        return Plan(
            method, parameters, min(rows * (250 + bits // 8 + 36 * m), options.memory_bytes)
        )
    lists = options.lists or default_lists(rows)
    while (needed := _training_bytes(lists, bits)) > options.memory_bytes and lists > 1:
        if options.lists is not None:
            raise UsageError(
                f"--lists {lists} needs {_megabytes(needed)} MB of the server's memory, more than "
                f"{_megabytes(options.memory_bytes)}",
                hint=f"add --memory {_megabytes(needed)}, or choose fewer lists",
            )
        lists = lists * 9 // 10
    return Plan(method, {"lists": lists}, needed)


def default_lists(rows: int) -> int:
    """What pgvector's manual advises."""
    return max(1, rows // 1000 if rows <= 1_000_000 else round(rows**0.5))


def _training_bytes(lists: int, bits: int) -> int:
    """Memory of pgvector's k-means: 50 samples a list, and a bound for each sample and list."""
    samples, code = max(50 * lists, 10_000), bits // 8 + 16
    needed = (
        samples * (code + 8) + 4 * samples * lists + 4 * lists**2 + lists * (4 * bits + 2 * code)
    )
    return needed * 21 // 20 + 2**21


def _megabytes(size: int) -> int:
    return -(-size // 2**20)


def create_approximate_index(
    conn: psycopg.Connection,
    name: str,
    method: Method,
    options: BuildOptions = BuildOptions(),
    *,
    progress: Progress = SILENT,
) -> str:
    """Creates an approximate index on the codes of an archive; returns its name.

    One with the same parameters is kept; others are dropped once the new one is there.

    Raises:
        NotFound: no such archive.
        InputError: the archive is empty.
        UsageError: the archive can have the exact index or is distributed, or as
            :func:`build_plan`.
        ServerError: this role does not own the archive, or another session builds an index on it.
    """
    record = registry.get_archive(conn, name)
    plan = build_plan(method, record.chips, record.bits, options)
    _check_sensible(conn, record)
    _check_owner(conn, name)
    existing = _indexes(conn, name)
    if any(index.is_building for index in existing):
        raise ServerError(
            f"another session is building an index on archive '{name}'",
            hint="wait for it: SELECT * FROM pg_stat_progress_create_index",
        )
    _drop(conn, [index for index in existing if not index.is_valid])
    former = [index for index in existing if index.is_valid]
    for index in former:
        if (index.method, index.parameters) == (method, plan.parameters):
            return index.name
    progress.start(f"building {method} on {record.chips:,} codes")
    try:
        with sql_errors(), _memory(conn, plan.memory_bytes):
            conn.execute(_statement(conn, name, plan))
    except ServerError:
        _drop(conn, [index for index in _indexes(conn, name) if not index.is_valid])
        raise
    _drop(conn, former)
    return next(index.name for index in _indexes(conn, name) if index.is_valid)


def drop_approximate_index(
    conn: psycopg.Connection, name: str, method: Method | None = None
) -> list[str]:
    """Drops the approximate indexes of an archive, or those of one method; returns their names.

    Raises:
        NotFound: no such archive.
        ServerError: this role does not own the archive.
    """
    registry.get_archive(conn, name)
    dropped = [index for index in _indexes(conn, name) if method in (None, index.method)]
    if dropped:
        _check_owner(conn, name)
    _drop(conn, dropped)
    return [index.name for index in dropped]


def _statement(conn: psycopg.Connection, name: str, plan: Plan) -> sql.Composed:
    vector = scalar(
        conn,
        str,
        "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
        "WHERE e.extname = 'vector'",
    )
    return sql.SQL("CREATE INDEX CONCURRENTLY ON {} USING {} (code {}) WITH ({})").format(
        sql.Identifier("dcsh", name),
        sql.Identifier(plan.method),
        sql.Identifier(vector, "bit_hamming_ops"),
        sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(key), sql.Literal(value))
            for key, value in plan.parameters.items()
        ),
    )


def _indexes(conn: psycopg.Connection, name: str) -> list[_Index]:
    """The approximate indexes on all codes of an archive, the oldest first."""
    with sql_errors():
        rows = conn.execute(
            """
            SELECT x.relname, o.method, x.reloptions, o.is_valid, EXISTS (
                SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = o.index)
            FROM dcsh_private.ordering_indexes(%s) o JOIN pg_class x ON x.oid = o.index
            WHERE o.is_whole AND o.method IN ('hnsw', 'ivfflat')
            """,
            [name],
        ).fetchall()
    return [
        _Index(
            f"dcsh.{index}",
            method,
            {key: int(value) for key, _, value in (one.partition("=") for one in given or ())},
            *states,
        )
        for index, method, given, *states in rows
    ]


def _drop(conn: psycopg.Connection, indexes: list[_Index]) -> None:
    with sql_errors():
        for index in indexes:
            identifier = sql.Identifier("dcsh", index.name.removeprefix("dcsh."))
            conn.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(identifier))


@contextmanager
def _memory(conn: psycopg.Connection, needed: int) -> Iterator[None]:
    """Lets the session's builds take so much memory.

    Behind a pooler nothing is set: the setting would reach the sessions of other clients.
    """
    pid, given = one_row(conn, "SELECT pg_backend_pid(), current_setting('maintenance_work_mem')")
    if pid != conn.info.backend_pid:
        yield
        return
    set_memory(conn, needed)
    try:
        yield
    finally:
        if not conn.broken:
            conn.execute(f"SET maintenance_work_mem = '{given}'")


def set_memory(conn: psycopg.Connection, needed: int, scope: Literal["", "LOCAL "] = "") -> None:
    """Raises ``maintenance_work_mem`` to ``needed`` bytes, where it is lower."""
    given = scalar(conn, int, "SELECT pg_size_bytes(current_setting('maintenance_work_mem'))")
    if given < needed:
        conn.execute(f"SET {scope}maintenance_work_mem = {_megabytes(needed) * 1024}")


def _check_sensible(conn: psycopg.Connection, record: registry.ArchiveRecord) -> None:
    has_exact, is_distributed = one_row(
        conn, "SELECT dcsh_private.has_hamming(), dcsh_private.is_distributed(%s)", [record.name]
    )
    if has_exact:
        raise UsageError(
            "this database has the exact index, and searches use none beside an approximate one",
            hint=f"create the exact one: dcsh-pg archive index {record.name}",
        )
    if is_distributed:
        raise UsageError(
            f"archive '{record.name}' is distributed, and its searches are exact",
            hint=f"to bring it back to one server: dcsh-pg archive undistribute {record.name}",
        )
    if not record.chips:
        raise InputError(
            f"archive '{record.name}' is empty",
            hint="ingest scenes first: the index is fitted to them",
        )


def _check_owner(conn: psycopg.Connection, name: str) -> None:
    owner, owns = one_row(
        conn,
        "SELECT r.relowner::regrole::text, pg_has_role(r.relowner, 'USAGE') FROM pg_class r "
        "WHERE r.oid = to_regclass(format('dcsh.%%I', %s::text))",
        [name],
    )
    if not owns:
        raise ServerError(
            f"only the owner of archive '{name}' can create and drop its indexes",
            hint=f"run the command as role {owner}",
        )
