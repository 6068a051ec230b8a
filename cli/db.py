"""``dcsh-pg db``: the schema, rights and the embedded server.

Library: :mod:`dcsh_pg.database.server`.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.commands import Commands
from dcsh_pg.cli.console import answer, as_json, done, print_json, progress, say
from dcsh_pg.errors import UsageError

if TYPE_CHECKING:
    from dcsh_pg.database.server.schema import DatabaseStatus

db = Commands(no_args_is_help=True, help="Manage the schema, rights and the embedded server.")
app.add_typer(db, name="db")

Spatial = Annotated[
    Literal["auto", "postgis", "core"],
    typer.Option(
        "--spatial",
        help="Type of footprints: postgis is geometry, core is PostgreSQL's own polygon; auto uses "
        "PostGIS if the database has it.",
    ),
]


@db.command()
def upgrade(
    sql: Annotated[
        bool,
        typer.Option(
            "--sql", help="Print the SQL for an administrator to run, and change nothing."
        ),
    ] = False,
    spatial: Spatial = "auto",
    owner: Annotated[
        str | None,
        typer.Option(
            "--owner",
            metavar="ROLE",
            help="With --sql: owner of schemas dcsh and dcsh_private and all that is in them.",
        ),
    ] = None,
    database: options.Database = options.DATABASE,
) -> None:
    """Create the schema or bring it up to date; safe to repeat.

    Needs no superuser if the extensions and schemas dcsh and dcsh_private exist.
    With --sql and --spatial no database is needed.

    [dim]dcsh-pg db upgrade --dsn service=maps[/dim]
    """
    from dcsh_pg.database.server import migrate
    from dcsh_pg.database.server.connect import is_embedded, resolve
    from dcsh_pg.database.server.embedded import EmbeddedServer

    if owner is not None and not sql:
        raise UsageError(
            "--owner needs --sql", hint="add --sql and have an administrator run the script"
        )
    if sql:
        look = spatial == "auto" or database.dsn is not None
        conninfo = resolve(database.dsn, pg_bin=database.pg_bin) if look else None
        script = migrate.script(conninfo, spatial=spatial, owner=owner)
        answer(script.rstrip("\n"), sql=script)
        return
    conninfo = resolve(database.dsn, pg_bin=database.pg_bin)
    if is_embedded(database.dsn, pg_bin=database.pg_bin):
        EmbeddedServer.of(database.pg_bin).try_native()
    with progress() as shown:
        status = migrate.upgrade(conninfo, spatial=spatial, progress=shown)
    if as_json():
        answer("", **dataclasses.asdict(status))


@db.command()
def grant(
    read: Annotated[
        list[str] | None,
        typer.Option("--read", metavar="ROLE", help="Role that may search archives."),
    ] = None,
    write: Annotated[
        list[str] | None,
        typer.Option(
            "--write", metavar="ROLE", help="Role that may search archives, load and remove scenes."
        ),
    ] = None,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL and change nothing.")] = False,
    database: options.Database = options.DATABASE,
) -> None:
    """Grant roles the rights to read or write all archives, including future ones.

    For the owner of schema dcsh, the only role that creates and drops archives.

    [dim]dcsh-pg db grant --read analyst --write loader --dsn service=maps[/dim]
    """
    from dcsh_pg.database.server import rights

    if not read and not write:
        raise UsageError("name at least one role", hint="add --read ROLE or --write ROLE")
    roles = [(role, False) for role in read or ()] + [(role, True) for role in write or ()]
    with database.connect() as conn:
        if sql:
            lines = [
                line
                for role, writes in roles
                for line in (
                    *rights.statements(conn, role, write=writes),
                    *rights.elsewhere(conn, role, write=writes),
                )
            ]
            answer("\n".join(lines), sql=lines)
            return
        for role, writes in roles:
            rights.grant(conn, role, write=writes)
    done(
        "\n".join(
            f"role '{role}' may {'read and write' if writes else 'read'} all archives"
            for role, writes in roles
        ),
        read=read or [],
        write=write or [],
    )


@db.command()
def status(database: options.Database = options.DATABASE) -> None:
    """Show the server, its extensions, the schema and the archives."""
    from dcsh_pg.database.archives import registry
    from dcsh_pg.database.archives.plan import managed_by, search_plan
    from dcsh_pg.database.server import schema
    from dcsh_pg.database.server.connect import connect, is_embedded
    from dcsh_pg.doctor.server import pgvector

    embedded = is_embedded(database.dsn, pg_bin=database.pg_bin)
    with connect(database.dsn, pg_bin=database.pg_bin) as conn:
        state = schema.status(conn)
        archives = registry.list_archives(conn) if state.current else []
        plans = [search_plan(conn, archive) for archive in archives]
        service = managed_by(conn)
        vector = pgvector(conn)
        where = f"{conn.info.host}, port {conn.info.port}, database {conn.info.dbname}"
    if as_json():
        report = dataclasses.asdict(state) | {
            "embedded": embedded,
            "where": where,
            "managed_by": service,
            "archives": [archive.name for archive in archives],
            "plans": [dataclasses.asdict(plan) for plan in plans],
        }
        print_json(report)
        return
    revision = state.revision or "none; create it with 'dcsh-pg db upgrade'"
    if state.revision and state.revision != state.wanted:
        revision += f" (this dcsh-pg works with {state.wanted})"
    elif state.revision and not state.current:
        revision += ", functions of another dcsh-pg; run 'dcsh-pg db upgrade'"
    lines = {
        "server": f"PostgreSQL {state.server}{', embedded' if embedded else ''}",
        "at": where,
        "pgvector": vector.found + (f"; {vector.fix}" if vector.fix else ""),
        "PostGIS": state.postgis or "not in this database",
        "index": _native_index(state, service, embedded=embedded),
        "schema": revision,
        "footprints": {"postgis": "PostGIS geometry", "core": "polygon", None: "-"}[state.layer],
        "archives": ", ".join(archive.name for archive in archives) or "-",
    }
    for name, value in lines.items():
        typer.echo(f"{name:<11}{value}")
    for stale in state.stale_indexes:
        known = stale.page_format is not None
        format = f"{stale.page_format}, not {stale.supported}" if known else "unreadable"
        typer.echo(
            f"{'stale':<11}index {stale.name}: page format {format}; "
            f"'dcsh-pg db upgrade' or REINDEX INDEX {stale.name} rebuilds it"
        )
    for plan in plans:
        fix = f"; to use the index: {plan.fix}" if plan.fix else ""
        typer.echo(f"{'search':<11}{plan.archive}: {plan.uses or 'empty'}{fix}")
        if plan.approximate:
            is_old = (state.pgvector or "").startswith("0.7.")
            note = "; exact under a filter, before pgvector 0.8" if is_old else ""
            typer.echo(f"{'':<11}{plan.archive} --approximate: {plan.approximate}{note}")
        if plan.advice:
            typer.echo(f"{'':<11}{plan.advice}")


def _native_index(state: DatabaseStatus, service: str | None, *, embedded: bool) -> str:
    """The state of the extension ``dcsh_hamming``, in words."""
    if state.hamming:
        newer = state.hamming_available not in (None, state.hamming)
        more = f"; 'dcsh-pg db upgrade' installs {state.hamming_available}" if newer else ""
        return f"dcsh_hamming {state.hamming}{more}"
    if state.hamming_available:
        return "not in this database; run 'dcsh-pg db upgrade' or CREATE EXTENSION dcsh_hamming"
    if service:
        return f"not on the server, and {service} takes no extension of your own; searches compare every code"
    how = "'dcsh-pg native install'" if embedded else "'dcsh-pg native install --pg-config PATH'"
    return f"not on the server, searches compare every code; run {how} there"


@db.command()
def url(
    require_auth: Annotated[
        bool,
        typer.Option(
            help="Include require_auth in the embedded server's URL; libpq before PostgreSQL 16 does "
            "not know it."
        ),
    ] = True,
    database: options.Database = options.DATABASE,
) -> None:
    """Print the database's URL, with its password, for psql or QGIS; starts the embedded server.

    [dim]psql "$(dcsh-pg db url)"[/dim]
    """
    from dcsh_pg.database.server.connect import resolve
    from dcsh_pg.database.server.dsn import url

    text = url(resolve(database.dsn, pg_bin=database.pg_bin), require_auth=require_auth)
    if "require_auth" in text and (version := _old_psql()):
        say(
            f"psql {version} on this machine does not know require_auth, which protects the password "
            "from a program that takes the server's port while it is down; for this psql use "
            "'dcsh-pg db url --no-require-auth'"
        )
    answer(text, url=text)


def _old_psql() -> int | None:
    """The major version of psql on the PATH if it is older than 16."""
    try:
        output = subprocess.run(["psql", "--version"], capture_output=True, text=True).stdout
    except OSError:
        return None
    found = re.search(r"(\d+)", output.partition("PostgreSQL")[2])
    return int(found[1]) if found and int(found[1]) < 16 else None


@db.command()
def password(pg_bin: options.PgBin = None) -> None:
    """Set a new password for the embedded server, even if the old one is lost, and restart it."""
    from dcsh_pg.database.server.embedded import EmbeddedServer

    EmbeddedServer.of(pg_bin).change_password()
    done("the embedded server has a new password: 'dcsh-pg db url' prints it", changed=True)


@db.command()
def start(pg_bin: options.PgBin = None) -> None:
    """Start the embedded server; commands that need it do so themselves."""
    from dcsh_pg.database.server.embedded import EmbeddedServer

    server = EmbeddedServer.of(pg_bin)
    server.start()
    done(
        f"the embedded server is running; its data folder is {server.cluster}",
        running=True,
        folder=server.cluster,
    )


@db.command()
def stop(pg_bin: options.PgBin = None) -> None:
    """Stop the embedded server."""
    from dcsh_pg.database.server.embedded import EmbeddedServer

    stopped = EmbeddedServer.of(pg_bin).stop()
    done(
        "the embedded server is stopped" if stopped else "the embedded server was not running",
        running=False,
        stopped=stopped,
    )
