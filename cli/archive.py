"""``dcsh-pg archive``: what is in the database, its index, its servers, and dropping it.

Library: :mod:`dcsh_pg.database.registry`, :mod:`dcsh_pg.database.shards`; SQL: ``dcsh.archive``,
``dcsh.drop_archive``, ``dcsh.create_code_index``, ``dcsh.drop_code_index``, ``dcsh.shard_archive``.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import progress, say
from dcsh_pg.errors import UsageError

archive = typer.Typer(no_args_is_help=True, help="The archives in the database.")
app.add_typer(archive, name="archive")


@archive.command("list")
def list_archives(
    as_json: options.Json = False, dsn: options.Dsn = None, pg_bin: options.PgBin = None
) -> None:
    """List the archives."""
    from dcsh_pg.database import registry

    with _opened(dsn, pg_bin) as conn:
        records = registry.list_archives(conn)
    if as_json:
        typer.echo(json.dumps([record.summary() for record in records], indent=2))
        return
    if not records:
        say("no archive yet; 'dcsh-pg ingest' makes one")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("archive", "model", "bits", "scenes", "chips", "errors", box=None)
    for record in records:
        numbers = (record.bits, record.scenes, record.chips, record.errors)
        table.add_row(record.name, record.card.name, *(f"{number:,}" for number in numbers))
    Console().print(table)


@archive.command()
def show(
    name: options.ArchiveName,
    as_json: options.Json = False,
    dsn: options.Dsn = None,
    pg_bin: options.PgBin = None,
) -> None:
    """Tell all about an archive: model, reading, counts, extent, times, properties."""
    from dcsh_pg.database import registry

    with _opened(dsn, pg_bin) as conn:
        record = registry.get_archive(conn, name)
        told = record.summary() | registry.extent(conn, name)
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    for key, value in told.items():
        if isinstance(value, (dict, list)):
            value = json.dumps(value, ensure_ascii=False)
        typer.echo(f"{key.replace('_', ' '):<13}{'-' if value is None else value}")


@archive.command()
def errors(
    name: options.ArchiveName,
    as_json: options.Json = False,
    dsn: options.Dsn = None,
    pg_bin: options.PgBin = None,
) -> None:
    """List the scenes that could not be ingested, and why."""
    from dcsh_pg.database import registry

    with _opened(dsn, pg_bin) as conn:
        failures = registry.ingest_errors(conn, name)
    if as_json:
        fields = [vars(failure) | {"at": failure.at.isoformat()} for failure in failures]
        typer.echo(json.dumps(fields, indent=2))
        return
    for failure in failures:
        hint = f" ({failure.hint})" if failure.hint else ""
        typer.echo(f"{failure.uri}: {failure.message}{hint}")
    if not failures:
        say(f"archive '{name}' has no errors")


@archive.command()
def index(
    name: options.ArchiveName,
    drop: Annotated[bool, typer.Option("--drop", help="Drop it instead.")] = False,
    dsn: options.Dsn = None,
    pg_bin: options.PgBin = None,
) -> None:
    """Make the exact index on an archive's codes, which searches then use by themselves.

    Ingesting does so at its end where the server has the access method (dcsh-pg native install);
    this is for archives that were there before.

    [dim]dcsh-pg archive index naip[/dim]
    """
    from dcsh_pg.database import registry

    with _opened(dsn, pg_bin) as conn:
        if not drop:
            made = registry.create_code_index(conn, name)
            say(f"archive '{name}' has the index {made or 'on every shard'}")
        elif registry.drop_code_index(conn, name):
            say(f"the index of archive '{name}' is dropped; searches compare every code")
        else:
            say(f"archive '{name}' had no index")


@archive.command()
def shard(
    name: options.ArchiveName,
    servers: Annotated[
        list[str] | None,
        typer.Option(
            "--server",
            metavar="DSN",
            help="A database to hold a shard: once for each. Its own, on any server; both this "
            "machine and the archive's own server must reach it under this DSN.",
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        Literal["scene", "chip"],
        typer.Option(
            "--by",
            help="Keep the chips of a scene together, or spread the chips of every scene: for few "
            "large scenes.",
        ),
    ] = "scene",
    as_json: options.Json = False,
    dsn: options.Dsn = None,
    pg_bin: options.PgBin = None,
) -> None:
    """Lay an archive over several PostgreSQL servers; without --server, tell which it lies on.

    Everything works on it as before and gives the same rows. The archive's own server needs
    postgres_fdw. Passwords are kept there in user mappings. A run that was stopped changed
    nothing; repeat it.

    [dim]dcsh-pg archive shard naip --server postgresql://me@db1/maps --server postgresql://me@db2/maps[/dim]
    """
    from dcsh_pg.database import shards

    with _opened(dsn, pg_bin) as conn:
        if servers:
            with progress() as shown:
                moved = shards.shard(conn, name, servers, by=by, progress=shown)
            say(f"{moved:,} chips of archive '{name}' moved")
        found = shards.shards(conn, name)
    if as_json:
        typer.echo(json.dumps([vars(one) for one in found], indent=2))
        return
    for one in found:
        typer.echo(
            f"shard {one.shard}: {one.chips:,} chips, {one.host}, port {one.port}, "
            f"database {one.dbname} ({one.server})"
        )
    if not found:
        say(f"archive '{name}' lies on one server")


@archive.command()
def unshard(
    name: options.ArchiveName, dsn: options.Dsn = None, pg_bin: options.PgBin = None
) -> None:
    """Bring the chips of an archive back from other servers, and drop them there."""
    from dcsh_pg.database import shards

    with _opened(dsn, pg_bin) as conn, progress() as shown:
        moved = shards.unshard(conn, name, progress=shown)
    say(f"{moved:,} chips of archive '{name}' are back")


@archive.command()
def drop(
    name: options.ArchiveName,
    yes: Annotated[bool, typer.Option("--yes", help="Do it.")] = False,
    dsn: options.Dsn = None,
    pg_bin: options.PgBin = None,
) -> None:
    """Drop an archive with its chips, scenes and errors; its model stays in the database."""
    from dcsh_pg.database import registry

    with _opened(dsn, pg_bin) as conn:
        record = registry.get_archive(conn, name)
        if not yes:
            raise UsageError(
                f"archive '{name}' would lose {record.chips:,} chips of {record.scenes:,} scenes",
                hint="add --yes to drop it",
            )
        registry.drop_archive(conn, name)
    say(f"archive '{name}' is dropped")


def _opened(dsn, pg_bin):
    from dcsh_pg.database import connection, migrate

    conn = connection.connect(dsn, pg_bin=pg_bin)
    migrate.require_current(conn)
    return conn
