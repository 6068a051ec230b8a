"""The schema in the database: what revision it is, and bringing it up to date with Alembic.

The revisions and all SQL are in ``dcsh_pg.sql``; the revision in place is in
``dcsh.alembic_version``, and ``dcsh._functions_digest`` returns the digest of the functions.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import errors as sqlstate

from dcsh_pg import sql
from dcsh_pg.database.server import connection
from dcsh_pg.database.server.native_build import EXTENSION
from dcsh_pg.database.server.rows import one_row, scalar
from dcsh_pg.errors import SchemaError, ServerError, UsageError
from dcsh_pg.progress import SILENT, Progress

UPGRADE_HINT = "bring it up to date with 'dcsh-pg db upgrade'"


@dataclass(frozen=True)
class StaleIndex:
    """An index on codes that the installed ``dcsh_hamming`` refuses.

    Attributes:
        name: its qualified name.
        page_format: its page format, or None where that cannot be read.
        supported: the page format that the library reads.
    """

    name: str
    page_format: int | None
    supported: int


@dataclass(frozen=True)
class Status:
    """What is in a database.

    Attributes:
        server: version of PostgreSQL.
        pgvector, postgis, hamming: versions of the extensions in the database, or None; the last
            is ``dcsh_hamming``, the native index.
        hamming_available: version of ``dcsh_hamming`` that the server has to offer, or None.
        revision: of the schema, or None where there is none.
        wanted: the revision that this dcsh-pg works with.
        current: whether revision and functions are those that this dcsh-pg works with.
        layer: spatial layer of the schema, 'postgis' or 'core', or None where there is none.
        stale_indexes: indexes that an upgrade rebuilds; found only where the schema is current.
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


def status(conn: psycopg.Connection) -> Status:
    """Looks, and changes nothing."""
    found = _in_place(conn)
    versions = dict(
        conn.execute(
            "SELECT extname, extversion FROM pg_extension WHERE extname = ANY (%s)",
            [["vector", "postgis", EXTENSION]],
        ).fetchall()
    )
    available = conn.execute(
        "SELECT default_version FROM pg_available_extensions WHERE name = %s", [EXTENSION]
    ).fetchone()
    return Status(
        server=conn.info.parameter_status("server_version"),
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
    with connection.sql_errors():
        rows = conn.execute(
            """
            SELECT format('dcsh.%I', x.relname), page_format, supported
            FROM dcsh._stale_indexes() JOIN pg_class x ON x.oid = index
            """
        )
        return [StaleIndex(*row) for row in rows]


def require_current(conn: psycopg.Connection) -> None:
    """Passes when the schema and its functions are those that this dcsh-pg works with.

    Raises:
        SchemaError: they are missing, older, newer or of another state of this release.
    """
    found = _in_place(conn)
    if found.is_current:
        return
    revision, where = found.revision, f"database '{conn.info.dbname}'"
    if revision is None:
        raise SchemaError(
            f"{where} has no dcsh-pg schema", hint="make it with 'dcsh-pg db upgrade'"
        )
    if found.is_newer:
        raise SchemaError(
            f"the schema in {where} is of a newer dcsh-pg (revision {revision}, not "
            f"{sql.REVISION})",
            hint="upgrade dcsh-pg: pip install --upgrade dcsh-pg",
        )
    if revision == sql.REVISION:
        raise SchemaError(
            f"the functions of schema dcsh in {where} are those of another dcsh-pg",
            hint=UPGRADE_HINT,
        )
    raise SchemaError(
        f"the schema in {where} is old (revision {revision}, not {sql.REVISION})",
        hint=UPGRADE_HINT,
    )


def ensure(conn: psycopg.Connection) -> None:
    """Upgrades a schema that is missing, older or has other functions; for the embedded server,
    which has no DBA."""
    found = _in_place(conn)
    if not (found.is_current or found.is_newer):
        _upgrade(conn, "auto", SILENT)


def upgrade(
    conninfo: str,
    *,
    spatial: Literal["auto", "postgis", "core"] = "auto",
    progress: Progress = SILENT,
) -> Status:
    """Brings the schema to this dcsh-pg's revision and remakes the functions; harmless to repeat.

    Needs no superuser where schema dcsh (owned by the user) and the extensions are there already.
    What it makes belongs to the owner of the schema.  Warnings of the server are notes of ``progress``.
    With 'auto' PostGIS is used where the database has it or the user may create it.

    Raises:
        SchemaError: the schema is newer, or of the other spatial layer.
        ServerError: the user may not create what is missing; as :func:`connection.connect`.
    """
    with connection.open_connection(conninfo) as conn:
        before = _in_place(conn)
        if before.is_newer:
            require_current(conn)
        _upgrade(conn, spatial, progress)
        after = status(conn)
    if before.revision is None:
        came = "made"
    elif before.revision != after.revision:
        came = f"was {before.revision}, is now"
    else:
        came = "up to date at" if before.is_current else "new functions,"
    progress.note(
        f"schema dcsh: {came} revision {after.revision}, "
        f"footprints as {'PostGIS geometry' if after.layer == 'postgis' else 'polygon'}"
    )
    return after


def script(
    conninfo: str | None = None,
    *,
    spatial: Literal["auto", "postgis", "core"] = "auto",
    owner: str | None = None,
) -> str:
    """The upgrade as one SQL script for a DBA, from the revision in place or from nothing.

    The script hands schema dcsh and all that is in it over to the role ``owner``, which can then do
    everything with dcsh-pg, later upgrades included.

    Raises:
        UsageError: 'auto' without a database to look at.
    """
    start = "base"
    if conninfo is not None:
        with connection.open_connection(conninfo) as conn:
            layer = _choose(conn, spatial)
            start = _in_place(conn).revision or "base"
    elif spatial == "auto":
        raise UsageError(
            "without a database there is no telling whether it has PostGIS",
            hint="add --spatial postgis or --spatial core, or name the database with --dsn",
        )
    else:
        layer = spatial
    out = io.StringIO()
    out.write(_header(layer, start, owner))
    quoted = None if owner is None else '"' + owner.replace('"', '""') + '"'
    _run_alembic(layer, f"{start}:{sql.REVISION}", sql_to=out, owner=quoted)
    return out.getvalue()


_HEADER = """\
-- Schema dcsh of dcsh-pg {version}, revision {revision}{before}, footprints as {footprints}.
-- It belongs to {owner}.
-- Run it as a superuser, or as a role that may create the extensions and is a member of the owner:
--     psql -X -v ON_ERROR_STOP=1 -d DATABASE -f FILE
-- It is one transaction, silent where nothing is wrong, and harmless to repeat.
-- Other roles get their rights with 'dcsh-pg db grant', run by the owner.

"""


def _header(layer: sql.Layer, start: str, owner: str | None) -> str:
    from dcsh_pg import __version__

    return _HEADER.format(
        version=__version__,
        revision=sql.REVISION,
        before="" if start in ("base", sql.REVISION) else f" from revision {start}",
        footprints="PostGIS geometry" if layer == "postgis" else "polygon",
        owner="the owner of the schema, or to the role that creates it"
        if owner is None
        else f"role {ascii(owner)[1:-1]}",
    )


def _upgrade(conn: psycopg.Connection, spatial: str, progress: Progress) -> None:
    layer = _choose(conn, spatial)
    _require_ownership(conn)

    def show(notice: psycopg.errors.Diagnostic) -> None:
        hint = f" ({notice.message_hint})" if notice.message_hint else ""
        progress.note(f"{notice.severity_nonlocalized.lower()}: {notice.message_primary}{hint}")

    try:
        with connection.engine(conn, show).connect() as sa:
            _run_alembic(layer, sql.REVISION, connection=sa)
    except Exception as error:
        cause = getattr(error, "orig", error)
        if isinstance(cause, (sqlstate.InsufficientPrivilege, sqlstate.UndefinedFile)):
            raise ServerError(
                f"the schema cannot be made: {cause.diag.message_primary}",
                hint=cause.diag.message_hint or _rights_hint(conn, layer),
            ) from error
        if isinstance(cause, psycopg.Error):
            raise connection.translated(cause) from error
        raise


def _require_ownership(conn: psycopg.Connection) -> None:
    """Passes when this role may change all that is in the schema."""
    owners = [
        name
        for (name,) in conn.execute(
            """
            SELECT DISTINCT r.rolname
            FROM (SELECT nspowner FROM pg_namespace WHERE nspname = 'dcsh'
                  UNION ALL
                  SELECT relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname = 'dcsh' AND c.relkind IN ('r', 'v')
                  UNION ALL
                  SELECT proowner
                  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                      JOIN pg_language l ON l.oid = p.prolang
                  WHERE n.nspname = 'dcsh' AND l.lanname <> 'c') o(role)
                JOIN pg_roles r ON r.oid = o.role
            WHERE NOT pg_has_role(current_user, o.role, 'USAGE')
            ORDER BY 1
            """
        )
    ]
    if owners:
        user = conn.info.user
        raise ServerError(
            f"what is in schema dcsh of database '{conn.info.dbname}' belongs to {', '.join(owners)}, "
            f"not to {user}",
            hint=f"upgrade as {owners[0]}, or have an administrator hand it over: 'dcsh-pg db upgrade "
            f"--sql --owner {user} --dsn ...' prints the script",
        )


def _run_alembic(
    layer: sql.Layer, revision: str, *, connection=None, sql_to=None, owner: str | None = None
) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(output_buffer=sql_to)
    config.set_main_option("script_location", str(Path(sql.__file__).parent / "migrations"))
    config.attributes.update(layer=layer, connection=connection, owner=owner)
    command.upgrade(config, revision, sql=sql_to is not None)


@dataclass(frozen=True)
class _InPlace:
    """What is in a database of the schema; None is what is not there."""

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


def _require_usage(conn: psycopg.Connection) -> None:
    """Passes when this role may use the schemas of dcsh and of the extensions that are there."""
    row = conn.execute(
        """
        SELECT n.nspname, quote_ident(n.nspname), quote_ident(current_user)
        FROM pg_namespace n
        WHERE (n.nspname = 'dcsh' OR n.oid IN (
                SELECT e.extnamespace FROM pg_extension e WHERE e.extname IN ('vector', 'postgis')))
            AND NOT has_schema_privilege(n.oid, 'USAGE')
        ORDER BY n.nspname <> 'dcsh' LIMIT 1
        """
    ).fetchone()
    if row is not None:
        name, schema, user = row
        raise ServerError(
            f"permission denied for schema {name}",
            hint="ask its owner for: dcsh-pg db grant --read " + conn.info.user
            if name == "dcsh"
            else f"ask its owner for: GRANT USAGE ON SCHEMA {schema} TO {user}",
        )


def _in_place(conn: psycopg.Connection) -> _InPlace:
    _require_usage(conn)
    with connection.sql_errors():
        versions, digest, layer = one_row(
            conn,
            """
            SELECT to_regclass('dcsh.alembic_version'), to_regproc('dcsh._functions_digest'), (
                SELECT CASE b.typname WHEN 'polygon' THEN 'core' ELSE 'postgis' END
                FROM pg_type t JOIN pg_type b ON b.oid = t.typbasetype
                WHERE t.oid = to_regtype('dcsh.area'))
            """,
        )
        if versions is None:
            return _InPlace(None, layer, None)
        asked = f"SELECT max(version_num), {'dcsh._functions_digest()' if digest else 'NULL'} "
        revision, digest = one_row(conn, asked + "FROM dcsh.alembic_version")
    return _InPlace(revision, layer, digest)


def _choose(conn: psycopg.Connection, spatial: str) -> sql.Layer:
    in_place = _in_place(conn).layer
    if in_place is not None:
        if spatial not in ("auto", in_place):
            raise SchemaError(
                f"database '{conn.info.dbname}' keeps its footprints the {in_place} way, not the "
                f"{spatial} way",
                hint="the spatial layer is fixed when the schema is made; use another database",
            )
        return in_place
    if spatial != "auto":
        return spatial
    postgis = scalar(
        conn,
        bool,
        """
        SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'postgis')
            OR EXISTS (SELECT FROM pg_available_extensions WHERE name = 'postgis')
               AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
        """,
    )
    return "postgis" if postgis else "core"


def _rights_hint(conn: psycopg.Connection, layer: sql.Layer) -> str:
    extensions = ["vector", "postgis"] if layer == "postgis" else ["vector"]
    steps = [f"CREATE EXTENSION IF NOT EXISTS {name};" for name in extensions]
    user = psycopg.sql.Identifier(conn.info.user).as_string(conn)
    steps.append(f"CREATE SCHEMA IF NOT EXISTS dcsh AUTHORIZATION {user};")
    return "once, as administrator of the database: " + " ".join(steps)
