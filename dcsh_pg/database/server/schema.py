"""The schema in a database: its revision, whether it is current, and the extensions it uses.

The revision is in ``dcsh.alembic_version``; ``dcsh_private.functions_digest`` returns the digest of the
functions.  :mod:`dcsh_pg.database.server.migrate` changes both.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from dcsh_pg import sql
from dcsh_pg.database.server.native_build import EXTENSION
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import one_row
from dcsh_pg.errors import SchemaError, ServerError

UPGRADE_HINT = "run 'dcsh-pg db upgrade'"


@dataclass(frozen=True)
class StaleIndex:
    """An index on codes that the installed ``dcsh_hamming`` refuses.

    Attributes:
        name: its qualified name.
        page_format: its page format, or None if it cannot be read.
        supported: the page format that the library reads.
    """

    name: str
    page_format: int | None
    supported: int


@dataclass(frozen=True)
class DatabaseStatus:
    """The versions in a database.

    Attributes:
        server: version of PostgreSQL.
        pgvector, postgis, hamming: versions of the extensions in the database, or None; the last
            is ``dcsh_hamming``, the native index.
        hamming_available: version of ``dcsh_hamming`` that the server offers, or None.
        revision: of the schema, or None if there is no schema.
        wanted: the revision that this dcsh-pg works with.
        current: whether revision and functions are those that this dcsh-pg works with.
        layer: spatial layer of the schema, 'postgis' or 'core', or None if there is no schema.
        stale_indexes: indexes that an upgrade rebuilds; looked up only if the schema is current.
    """

    server: str
    pgvector: str | None
    postgis: str | None
    hamming: str | None
    hamming_available: str | None
    revision: str | None
    wanted: str
    current: bool
    layer: sql.Layer | None
    stale_indexes: list[StaleIndex]


@dataclass(frozen=True)
class InstalledSchema:
    """The schema that a database has; all None without one.

    Attributes:
        revision: of its tables.
        layer: its spatial layer.
        digest: of its functions.
    """

    revision: str | None
    layer: sql.Layer | None
    digest: str | None

    @property
    def is_current(self) -> bool:
        return (
            self.layer is not None
            and self.revision == sql.REVISION
            and self.digest == sql.digest(self.layer)
        )

    @property
    def is_newer(self) -> bool:
        return self.revision is not None and self.revision > sql.REVISION


def status(conn: psycopg.Connection) -> DatabaseStatus:
    """The versions in a database; changes nothing.

    Raises:
        ServerError: this role may not use schema dcsh, or that of an extension.
    """
    found = installed(conn)
    versions: dict[str, str] = dict(
        conn.execute(
            "SELECT extname, extversion FROM pg_extension WHERE extname = ANY (%s)",
            [["vector", "postgis", EXTENSION]],
        ).fetchall()
    )
    available = conn.execute(
        "SELECT default_version FROM pg_available_extensions WHERE name = %s", [EXTENSION]
    ).fetchone()
    return DatabaseStatus(
        server=conn.info.parameter_status("server_version") or "of an unknown version",
        pgvector=versions.get("vector"),
        postgis=versions.get("postgis"),
        hamming=versions.get(EXTENSION),
        hamming_available=available[0] if available else None,
        revision=found.revision,
        wanted=sql.REVISION,
        current=found.is_current,
        layer=found.layer,
        stale_indexes=_stale_indexes(conn) if found.is_current else [],
    )


def _stale_indexes(conn: psycopg.Connection) -> list[StaleIndex]:
    with sql_errors():
        rows = conn.execute(
            """
            SELECT format('dcsh.%I', x.relname), page_format, supported
            FROM dcsh_private.stale_indexes() JOIN pg_class x ON x.oid = index
            """
        )
        return [StaleIndex(*row) for row in rows]


def require_current(conn: psycopg.Connection) -> None:
    """Checks that the schema and its functions are those that this dcsh-pg works with.

    Raises:
        SchemaError: they are missing, older, newer or of another state of this release.
        ServerError: as :func:`status`.
    """
    found = installed(conn)
    if found.is_current:
        return
    revision, database = found.revision, f"database '{conn.info.dbname}'"
    if revision is None:
        raise SchemaError(
            f"{database} has no dcsh-pg schema", hint="create it with 'dcsh-pg db upgrade'"
        )
    if found.is_newer:
        raise SchemaError(
            f"the schema in {database} is of a newer dcsh-pg (revision {revision}, not "
            f"{sql.REVISION})",
            hint="upgrade dcsh-pg: pip install --upgrade dcsh-pg",
        )
    if revision == sql.REVISION:
        raise SchemaError(
            f"the functions of schema dcsh in {database} are those of another dcsh-pg",
            hint=UPGRADE_HINT,
        )
    raise SchemaError(
        f"the schema in {database} is old (revision {revision}, not {sql.REVISION})",
        hint=UPGRADE_HINT,
    )


def installed(conn: psycopg.Connection) -> InstalledSchema:
    """The schema that a database has.

    Raises:
        ServerError: as :func:`status`.
    """
    _require_usage(conn)
    versions, digest, layer = one_row(
        conn,
        """
        SELECT to_regclass('dcsh.alembic_version'), to_regproc('dcsh_private.functions_digest'), (
            SELECT CASE b.typname WHEN 'polygon' THEN 'core' ELSE 'postgis' END
            FROM pg_type t JOIN pg_type b ON b.oid = t.typbasetype
            WHERE t.oid = to_regtype('dcsh.area'))
        """,
    )
    if versions is None:
        return InstalledSchema(None, layer, None)
    digest = "dcsh_private.functions_digest()" if digest else "NULL"
    revision, digest = one_row(conn, f"SELECT max(version_num), {digest} FROM dcsh.alembic_version")
    return InstalledSchema(revision, layer, digest)


def _require_usage(conn: psycopg.Connection) -> None:
    """Checks that this role may use the schemas of dcsh and of the extensions that are there."""
    row = conn.execute(
        """
        SELECT n.nspname, quote_ident(n.nspname), quote_ident(current_user)
        FROM pg_namespace n
        WHERE (n.nspname IN ('dcsh', 'dcsh_private') OR n.oid IN (
                SELECT e.extnamespace FROM pg_extension e WHERE e.extname IN ('vector', 'postgis')))
            AND NOT has_schema_privilege(n.oid, 'USAGE')
        ORDER BY n.nspname NOT IN ('dcsh', 'dcsh_private'), n.nspname LIMIT 1
        """
    ).fetchone()
    if row is not None:
        name, schema, user = row
        raise ServerError(
            f"permission denied for schema {name}",
            hint="ask its owner for: dcsh-pg db grant --read " + conn.info.user
            if name in ("dcsh", "dcsh_private")
            else f"ask its owner for: GRANT USAGE ON SCHEMA {schema} TO {user}",
        )
