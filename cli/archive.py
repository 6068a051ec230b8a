"""``dcsh-pg archive``: list, show, distribute and drop archives.

Library: :mod:`dcsh_pg.database.archives.registry`, :mod:`dcsh_pg.database.search.statistics`;
SQL: ``dcsh.archive``, ``dcsh.code_statistics``,
``dcsh.bit_statistics``, ``dcsh.frequent_codes``, ``dcsh.coverage``, ``dcsh.drop_archive``,
``dcsh.distribute_archive``.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.commands import Commands
from dcsh_pg.cli.console import as_json, done, print_json, print_table, say, working
from dcsh_pg.cli.console import show as show_line
from dcsh_pg.cli.output_options import RowsOutput
from dcsh_pg.cli.search_options import ChipFilter
from dcsh_pg.database.search.period import Every
from dcsh_pg.errors import UsageError

archive = Commands(no_args_is_help=True, help="Show and manage the archives in the database.")
app.add_typer(archive, name="archive")


@archive.command("list")
def list_archives(database: options.Database = options.DATABASE) -> None:
    """List the archives."""
    from dcsh_pg.database.archives import registry

    with database.connect() as conn:
        records = registry.list_archives(conn)
    if as_json():
        print_json([record.summary() for record in records])
        return
    if not records:
        say("no archive yet; create one with 'dcsh-pg ingest'")
        return
    rows = []
    for record in records:
        numbers = (record.bits, record.scenes, record.chips, record.errors)
        rows.append((record.name, record.card.name, *(f"{number:,}" for number in numbers)))
    print_table(("archive", "model", "bits", "scenes", "chips", "errors"), rows)


@archive.command()
def show(name: options.ArchiveName, database: options.Database = options.DATABASE) -> None:
    """Show an archive's details: model, reading, counts, extent, times, properties."""
    from dcsh_pg.database.archives import distributed, registry
    from dcsh_pg.database.archives.approximation import approximation

    with database.connect() as conn:
        record = registry.get_archive(conn, name)
        details = record.summary() | registry.extent(conn, name)
        details["shards"] = distributed.workers(conn, name) or None
        known = approximation(conn, name)
    details["approximate"] = (
        None
        if known is None
        else asdict(known) | {"measured": known.measured and known.measured.isoformat()}
    )
    if as_json():
        print_json(details)
        return
    for key, value in details.items():
        if isinstance(value, (dict, list)):
            value = json.dumps(value, ensure_ascii=False)
        show_line(f"{key.replace('_', ' '):<13}{'-' if value is None else value}")


@archive.command()
def errors(
    name: options.ArchiveName,
    clear: Annotated[bool, typer.Option("--clear", help="Empty the list.")] = False,
    database: options.Database = options.DATABASE,
) -> None:
    """List the scenes that could not be ingested, and why.

    A scene leaves the list when it is stored. --clear empties the list, for example of files that
    are gone.
    """
    from dcsh_pg.database.archives import registry

    with database.connect() as conn:
        if clear:
            cleared = registry.clear_ingest_errors(conn, name)
            done(f"archive '{name}': {cleared:,} errors cleared", archive=name, cleared=cleared)
            return
        failures = registry.ingest_errors(conn, name)
    if as_json():
        fields = [vars(failure) | {"at": failure.at.isoformat()} for failure in failures]
        print_json(fields)
        return
    for failure in failures:
        hint = f" ({failure.hint})" if failure.hint else ""
        where = "" if failure.uri in failure.message else f"{failure.uri}: "
        show_line(f"{where}{failure.message}{hint}")
    if not failures:
        say(f"archive '{name}' has no errors")


@archive.command()
def statistics(
    name: options.ArchiveName,
    most: Annotated[int, typer.Option(min=1, help="Number of most frequent codes.")] = 10,
    database: options.Database = options.DATABASE,
) -> None:
    """Show how the codes of an archive use their bits, and which are the most frequent.

    Many chips with one code are often black pictures, clouds or calm water; search for the first of
    them to see. A bit that is nearly constant does not help to tell chips apart.

    [dim]dcsh-pg archive statistics naip --most 3[/dim]
    """
    from dcsh_pg.database.archives import registry
    from dcsh_pg.database.search.statistics import bit_statistics, code_statistics, frequent_codes

    with database.connect() as conn, working("counting codes"):
        registry.get_archive(conn, name)
        summary = code_statistics(conn, name)
        bits = bit_statistics(conn, name)
        frequent = frequent_codes(conn, name, most)
    if as_json():
        details = asdict(summary) | {
            "frequent_codes": [asdict(code) | {"code": code.code.hex()} for code in frequent],
            "bit_statistics": [asdict(bit) for bit in bits],
        }
        print_json(details)
        return
    for key, value in asdict(summary).items():
        shown = "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
        typer.echo(f"{key.replace('_', ' '):<16}{shown}")
    if not summary.chips:
        return
    typer.echo("\nmost frequent codes")
    print_table(
        ("code", "chips", "share", "scenes", "first chip", "valid"),
        [
            (
                code.code.hex(),
                f"{code.chips:,}",
                f"{code.share:.4%}",
                f"{code.scenes:,}",
                str(code.first_id),
                f"{code.valid_fraction:.2f}",
            )
            for code in frequent
        ],
    )
    typer.echo("\nleast balanced bits")
    least = sorted(bits, key=lambda bit: (bit.entropy, bit.bit_number))[:5]
    print_table(
        ("bit", "ones", "entropy"),
        [(str(bit.bit_number), f"{bit.share:.2%}", f"{bit.entropy:.4f}") for bit in least],
    )


@archive.command()
def coverage(
    name: options.ArchiveName,
    filter: ChipFilter,
    output: RowsOutput,
    cell: Annotated[
        float | None,
        typer.Option(
            metavar="DEGREES",
            help="Side of a cell. Default: a round number that gives at most 50 cells a side.",
        ),
    ] = None,
    every: Annotated[
        Every | None,
        typer.Option(help="Count each period of this length in rows of its own, in UTC."),
    ] = None,
    database: options.Database = options.DATABASE,
) -> None:
    """Summarise coverage by grid cell and date.

    [dim]dcsh-pg archive coverage naip --cell 0.1 --every year -o coverage.geojson[/dim]
    """
    from dcsh_pg.database.archives import registry
    from dcsh_pg.database.search.statistics import CoverageCell
    from dcsh_pg.database.search.statistics import coverage as find_coverage

    with database.connect() as conn:
        registry.get_archive(conn, name)
        with working("counting chips"):
            cells = find_coverage(conn, name, filter, cell=cell, every=every)
    period = () if every is None else ("period",)
    output.put(
        cells,
        columns=CoverageCell,
        shown=("id", *period, "chips", "scenes", "first_acquired", "last_acquired"),
        area=filter.area,
        title=f"{name}: chips a cell",
        colour_by="chips",
    )
    say(f"{sum(cell.chips for cell in cells):,} chips in {len(cells):,} cells")


@archive.command()
def distribute(
    name: options.ArchiveName,
    shards: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of shards. Default: one per worker. More allow for more workers later.",
        ),
    ] = None,
    database: options.Database = options.DATABASE,
) -> None:
    """Distribute an archive over the workers of a Citus cluster.

    Run it on the coordinator. Every command works on the archive as before and returns the same rows.

    [dim]dcsh-pg archive distribute naip --shards 8[/dim]
    """
    from dcsh_pg.database.archives import distributed

    with database.connect() as conn:
        with working("distributing chips"):
            made = distributed.distribute(conn, name, shards=shards)
        count = len(distributed.workers(conn, name))
    done(
        f"archive '{name}' is distributed: {many(made, 'shard')} on {many(count, 'worker')}",
        archive=name,
        shards=made,
        workers=count,
    )


@archive.command()
def undistribute(name: options.ArchiveName, database: options.Database = options.DATABASE) -> None:
    """Bring a distributed archive back to one server."""
    from dcsh_pg.database.archives import distributed

    with database.connect() as conn, working("collecting chips"):
        moved = distributed.undistribute(conn, name)
    done(
        f"archive '{name}' is {'back' if moved else 'already'} on one server",
        archive=name,
        moved=moved,
    )


@archive.command()
def drop(
    name: options.ArchiveName,
    yes: Annotated[bool, typer.Option("--yes", help="Drop without asking.")] = False,
    database: options.Database = options.DATABASE,
) -> None:
    """Drop an archive with its chips, scenes and errors; its model stays in the database."""
    from dcsh_pg.database.archives import registry

    with database.connect() as conn:
        record = registry.get_archive(conn, name)
        if not yes:
            raise UsageError(
                f"archive '{name}' would lose {record.chips:,} chips of {record.scenes:,} scenes",
                hint="add --yes to drop it",
            )
        registry.drop_archive(conn, name)
    done(f"archive '{name}' is dropped", archive=name, chips=record.chips, scenes=record.scenes)


def many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
