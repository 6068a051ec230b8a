"""Creates the schema or brings it up to date.

Alembic knows which revisions a database lacks, runs them in one transaction, and writes the same
statements as a script; SQLAlchemy is only the connection that it needs.  The statements themselves
are the SQL files of ``dcsh_pg.sql``.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psycopg
from psycopg import errors as sqlstate
from psycopg.conninfo import make_conninfo

from dcsh_pg import __version__, sql
from dcsh_pg.database.server import search_path
from dcsh_pg.database.server.connection import open_connection
from dcsh_pg.database.server.pg_errors import translated
from dcsh_pg.database.server.rows import scalar
from dcsh_pg.database.server.schema import DatabaseStatus, installed, require_current, status
from dcsh_pg.errors import SchemaError, ServerError, UsageError
from dcsh_pg.progress import SILENT, Progress

if TYPE_CHECKING:
    import sqlalchemy

Spatial = Literal["auto", "postgis", "core"]
"""The spatial layer asked for; 'auto' is PostGIS if the database has it or the user may create it."""


def ensure(conn: psycopg.Connection) -> None:
    """Upgrades a schema that is missing, older or has other functions; for the embedded server,
    which has no administrator."""
    found = installed(conn)
    if not (found.is_current or found.is_newer):
        _upgrade(conn, "auto", SILENT)


def upgrade(
    conninfo: str, *, spatial: Spatial = "auto", progress: Progress = SILENT
) -> DatabaseStatus:
    """Brings the schema to this dcsh-pg's revision and replaces the functions; safe to repeat.

    Needs no superuser if schemas dcsh and dcsh_private (owned by the user) and the extensions exist.
    New objects belong to the owner of the schema.  Warnings of the server are notes of ``progress``.

    Raises:
        SchemaError: the schema is newer, or of the other spatial layer.
        ServerError: the user may not create what is missing; as
            :func:`dcsh_pg.database.server.connection.open_connection`.
    """
    with open_connection(conninfo) as conn:
        before = installed(conn)
        if before.is_newer:
            require_current(conn)
        _upgrade(conn, spatial, progress)
        after = status(conn)
    if before.revision is None:
        change = "created at"
    elif before.revision != after.revision:
        change = f"upgraded from {before.revision} to"
    else:
        change = "up to date at" if before.is_current else "new functions,"
    progress.note(
        f"schema dcsh: {change} revision {after.revision}, "
        f"footprints as {'PostGIS geometry' if after.layer == 'postgis' else 'polygon'}"
    )
    return after


def script(
    conninfo: str | None = None, *, spatial: Spatial = "auto", owner: str | None = None
) -> str:
    """The upgrade as one SQL script for an administrator, from the revision in place or from nothing.

    The script transfers both schemas and all that is in them to the role ``owner``, which can then do
    everything with dcsh-pg, later upgrades included.

    Raises:
        UsageError: ``spatial`` is 'auto' and there is no database to examine.
    """
    start = "base"
    if conninfo is not None:
        with open_connection(conninfo) as conn:
            layer = _choose(conn, spatial)
            start = installed(conn).revision or "base"
    elif spatial == "auto":
        raise UsageError(
            "--spatial auto needs a database to look for PostGIS in",
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
-- Owner: {owner}.
-- Run it as a superuser, or as a role that may create the extensions and is a member of the owner:
--     psql -X -q -v ON_ERROR_STOP=1 -d DATABASE -f FILE
-- It is one transaction, prints nothing unless something is wrong, and is safe to repeat.
-- Grant other roles their rights with 'dcsh-pg db grant', run by the owner.

"""


def _header(layer: sql.Layer, start: str, owner: str | None) -> str:
    return _HEADER.format(
        version=__version__,
        revision=sql.REVISION,
        before="" if start in ("base", sql.REVISION) else f" from revision {start}",
        footprints="PostGIS geometry" if layer == "postgis" else "polygon",
        owner="the owner of the schema, or the role that creates it"
        if owner is None
        else f"role {ascii(owner)[1:-1]}",
    )


def _upgrade(conn: psycopg.Connection, spatial: Spatial, progress: Progress) -> None:
    layer = _choose(conn, spatial)
    _require_ownership(conn)

    def show(notice: psycopg.errors.Diagnostic) -> None:
        # Functions and layers of local tables stay on the coordinator of a Citus cluster.
        if "is not in Citus' metadata" in (notice.message_primary or ""):
            return
        hint = f" ({notice.message_hint})" if notice.message_hint else ""
        severity = (notice.severity_nonlocalized or "notice").lower()
        progress.note(f"{severity}: {notice.message_primary}{hint}")

    try:
        with _engine(conn, show).connect() as connection:
            _run_alembic(layer, sql.REVISION, connection=connection)
    except Exception as error:
        cause = getattr(error, "orig", error)
        if isinstance(cause, (sqlstate.InsufficientPrivilege, sqlstate.UndefinedFile)):
            raise ServerError(
                f"cannot create the schema: {cause.diag.message_primary}",
                hint=cause.diag.message_hint
                if isinstance(cause, sqlstate.UndefinedFile)
                else _rights_hint(conn, layer),
            ) from error
        if isinstance(cause, psycopg.Error):
            raise translated(cause) from error
        raise


def _engine(
    conn: psycopg.Connection, on_notice: Callable[[psycopg.errors.Diagnostic], None]
) -> sqlalchemy.Engine:
    """SQLAlchemy connections to the database of ``conn``; ``on_notice`` gets the server's notices."""
    import sqlalchemy

    conninfo = make_conninfo(conn.info.dsn, password=conn.info.password or None)

    def connect() -> psycopg.Connection:
        made = psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)
        search_path.make_safe(made)
        made.add_notice_handler(on_notice)
        made.autocommit = False
        return made

    return sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=connect, poolclass=sqlalchemy.NullPool
    )


def _run_alembic(
    layer: sql.Layer,
    revision: str,
    *,
    connection: sqlalchemy.Connection | None = None,
    sql_to: io.StringIO | None = None,
    owner: str | None = None,
) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(output_buffer=sql_to)
    config.set_main_option("script_location", str(Path(sql.__file__).parent / "migrations"))
    config.attributes.update(layer=layer, connection=connection, owner=owner)
    command.upgrade(config, revision, sql=sql_to is not None)


def _require_ownership(conn: psycopg.Connection) -> None:
    """Checks that this role may change all that is in the schema."""
    rows = conn.execute(
        """
        SELECT DISTINCT r.rolname
        FROM (SELECT nspowner FROM pg_namespace WHERE nspname = 'dcsh'
              UNION ALL
              SELECT relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname IN ('dcsh', 'dcsh_private') AND c.relkind IN ('r', 'v')
              UNION ALL
              SELECT proowner
              FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                  JOIN pg_language l ON l.oid = p.prolang
              WHERE n.nspname IN ('dcsh', 'dcsh_private') AND l.lanname <> 'c') o(role)
            JOIN pg_roles r ON r.oid = o.role
        WHERE NOT pg_has_role(current_user, o.role, 'USAGE')
        ORDER BY 1
        """
    )
    if owners := [name for (name,) in rows]:
        user = conn.info.user
        raise ServerError(
            f"role '{user}' cannot upgrade schema dcsh of database '{conn.info.dbname}': it belongs to "
            f"{', '.join(owners)}",
            hint=f"upgrade as {owners[0]}, or have an administrator transfer it: 'dcsh-pg db upgrade "
            f"--sql --owner {user} --dsn ...' prints the script",
        )


def _choose(conn: psycopg.Connection, spatial: Spatial) -> sql.Layer:
    in_place = installed(conn).layer
    if in_place is not None:
        if spatial not in ("auto", in_place):
            raise SchemaError(
                f"database '{conn.info.dbname}' stores footprints as {_TYPES[in_place]}, not as "
                f"{_TYPES[spatial]}",
                hint="the spatial layer is fixed when the schema is created; use another database",
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


_TYPES = {"postgis": "PostGIS geometry", "core": "polygon"}


def _rights_hint(conn: psycopg.Connection, layer: sql.Layer) -> str:
    extensions = ["vector", "postgis"] if layer == "postgis" else ["vector"]
    steps = [f"CREATE EXTENSION IF NOT EXISTS {name};" for name in extensions]
    user = psycopg.sql.Identifier(conn.info.user).as_string(conn)
    steps += [
        f"CREATE SCHEMA IF NOT EXISTS {name} AUTHORIZATION {user};"
        for name in ("dcsh", "dcsh_private")
    ]
    return "once, as administrator of the database: " + " ".join(steps)
