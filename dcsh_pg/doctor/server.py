"""The server: whether it can be reached, its extensions, the schema, the role's rights, the index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg

from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.plan import search_plan
from dcsh_pg.database.server import native, schema, search_path
from dcsh_pg.database.server.connect import is_embedded, resolve
from dcsh_pg.database.server.embedded import EmbeddedServer
from dcsh_pg.database.server.native_build import EXTENSION, PREBUILT, PgConfig, build_folder
from dcsh_pg.database.server.pg_errors import sql_errors, unreachable
from dcsh_pg.database.server.rows import one_row
from dcsh_pg.database.server.versions import check_versions
from dcsh_pg.doctor.finding import MISSING, OK, PROBLEM, Finding
from dcsh_pg.errors import DcshError

SECONDS = 30
"""Time limit of each statement."""

RIGHTS = """
SELECT current_user::text,
       rolsuper,
       has_database_privilege(current_database(), 'CREATE'),
       n.oid IS NOT NULL,
       coalesce(pg_has_role(n.nspowner, 'USAGE'), false),
       coalesce(has_schema_privilege(n.oid, 'USAGE'), false),
       coalesce(has_table_privilege(c.oid, 'INSERT'), false)
FROM pg_roles LEFT JOIN pg_namespace n ON n.nspname = 'dcsh'
    LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'scene'
WHERE rolname = current_user
"""


def compiler(dsn: str | None, pg_bin: Path | None) -> Iterator[Finding]:
    """Whether the index can be had for the embedded server."""
    if not is_embedded(dsn, pg_bin=pg_bin):
        return
    config = PgConfig.read(EmbeddedServer.of(pg_bin).programs / "pg_config")
    if build_folder(config).is_relative_to(PREBUILT):
        yield Finding("compiler", OK, f"not needed: {EXTENSION} for {config.version} is included")
        return
    state = native.status(config, None)
    if state.compiler is None:
        yield Finding(
            "compiler",
            MISSING,
            "no C compiler: searches compare every code",
            "install gcc and make, or the wheel for this platform, which has the index",
        )
    else:
        yield Finding("compiler", OK, state.compiler)


def server(dsn: str | None, pg_bin: Path | None) -> Iterator[Finding]:
    """Everything about the server in use."""
    if is_embedded(dsn, pg_bin=pg_bin):
        embedded = EmbeddedServer.of(pg_bin)
        if not embedded.is_running():
            exists = (embedded.cluster / "PG_VERSION").exists()
            state = "stopped" if exists else "not created yet"
            yield Finding(
                "server",
                OK,
                f"embedded, {state}: commands start it, also 'dcsh-pg db start' ({embedded.cluster})",
            )
            return
        conninfo = embedded.conninfo()
    else:
        conninfo = resolve(dsn)
    try:
        conn = psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)
    except psycopg.OperationalError as error:
        raise unreachable(conninfo, error) from None
    with conn, sql_errors():
        search_path.make_safe(conn)
        conn.execute(f"SELECT set_config('statement_timeout', '{SECONDS}s', false)")
        yield Finding(
            "server",
            OK,
            f"PostgreSQL {conn.info.parameter_status('server_version')} at {conn.info.host}, port "
            f"{conn.info.port}, database {conn.info.dbname}",
        )
        yield pgvector(conn)
        if not is_embedded(dsn, pg_bin=pg_bin):
            yield from _extension(conn, "postgis", "PostGIS", "footprints are of type polygon")
        yield from _extension(conn, EXTENSION, "index", "searches compare every code")
        yield from _rights(conn)
        yield from _schema(conn)


def pgvector(conn: psycopg.Connection) -> Finding:
    """The version of pgvector in a database, or how to get it there."""
    try:
        check_versions(conn)
    except DcshError as error:
        return Finding("pgvector", PROBLEM, error.message, error.hint)
    installed, _, may_create = _versions(conn, "vector")
    if installed:
        return Finding("pgvector", OK, installed)
    return Finding(
        "pgvector",
        PROBLEM,
        "the server has it, this database does not",
        "run: dcsh-pg db upgrade"
        if may_create
        else "an administrator runs: CREATE EXTENSION vector",
    )


def _extension(conn: psycopg.Connection, name: str, shown: str, without: str) -> Iterator[Finding]:
    installed, available, may_create = _versions(conn, name)
    if installed:
        yield Finding(shown, OK, installed)
    elif available:
        create = f"CREATE EXTENSION {name}"
        who = f"run: {create}" if may_create else f"an administrator runs: {create}"
        fix = "dcsh-pg db upgrade" if name == EXTENSION and may_create else who
        yield Finding(shown, MISSING, f"{available}, not in this database; {without}", fix)
    else:
        package = {
            "postgis": "package postgresql-NN-postgis-3",
            EXTENSION: "'dcsh-pg native install' there, or package postgresql-NN-dcsh-hamming; "
            "managed servers do not take it",
        }[name]
        yield Finding(shown, MISSING, f"not on the server; {without}", package)


def _versions(conn: psycopg.Connection, name: str) -> tuple[str | None, str | None, bool]:
    """The version of an extension in the database, the one that the server offers, and whether
    this role may create it."""
    installed, available, may_create = one_row(
        conn,
        """
        SELECT (SELECT extversion FROM pg_extension WHERE extname = %(name)s),
               (SELECT default_version FROM pg_available_extensions WHERE name = %(name)s),
               (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
                   OR has_database_privilege(current_database(), 'CREATE')
                   AND coalesce((SELECT bool_or(trusted) FROM pg_available_extension_versions
                                 WHERE name = %(name)s), false)
        """,
        {"name": name},
    )
    return installed, available, may_create


def _rights(conn: psycopg.Connection) -> Iterator[Finding]:
    role, is_super, may_create, exists, owns, uses, writes = one_row(conn, RIGHTS)
    if owns or (not exists and may_create):
        what = "owns schema dcsh" if exists else "may create schema dcsh"
        more = ", and is a superuser" if is_super else ""
        yield Finding("role", OK, f"{role} {what}{more}")
    elif not exists:
        yield Finding(
            "role",
            PROBLEM,
            f"{role} may not create schema dcsh in this database",
            f"an administrator runs what 'dcsh-pg db upgrade --sql --owner {role}' prints",
        )
    elif uses:
        may = "search and load" if writes else "search"
        yield Finding("role", OK, f"{role} may {may}")
    else:
        yield Finding(
            "role",
            PROBLEM,
            f"{role} may not use schema dcsh",
            f"its owner runs: dcsh-pg db grant --read {role}",
        )


def _schema(conn: psycopg.Connection) -> Iterator[Finding]:
    state = schema.status(conn)
    if not state.current:
        newer = state.revision is not None and state.revision > state.wanted
        yield Finding(
            "schema",
            PROBLEM,
            f"revision {state.revision}, this dcsh-pg needs {state.wanted}"
            if state.revision not in (None, state.wanted)
            else "functions of another dcsh-pg"
            if state.revision
            else "there is none",
            "upgrade dcsh-pg: pip install --upgrade dcsh-pg" if newer else "dcsh-pg db upgrade",
        )
        return
    archives = registry.list_archives(conn)
    yield Finding(
        "schema",
        OK,
        f"revision {state.revision}, {len(archives)} archive{'s' * (len(archives) != 1)}",
    )
    for stale in state.stale_indexes:
        yield Finding(
            "index",
            PROBLEM,
            f"{stale.name} was built by another version of {EXTENSION}",
            f"REINDEX INDEX {stale.name}",
        )
    for archive in archives:
        plan = search_plan(conn, archive)
        if plan.fix:
            yield Finding(
                "search", MISSING, f"archive {archive.name} is searched without index", plan.fix
            )
        elif plan.advice:
            yield Finding("search", OK, f"archive {archive.name}: {plan.advice}")
