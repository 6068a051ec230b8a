"""``dcsh-pg recall``: recall and latency of an index on codes.

Library: :func:`dcsh_pg.evaluation.recall.measure_recall`.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from dcsh_pg.cli import app, console, options


@app.command()
def recall(
    archive: options.ArchiveName,
    index: Annotated[
        Literal["hnsw", "ivfflat", "hamming"],
        typer.Option("--index", help="Index to measure; hamming is the exact one."),
    ],
    k: Annotated[int, typer.Option("-k", "--k", help="Number of neighbours.")] = 10,
    queries: Annotated[
        int, typer.Option("--queries", help="Number of queries, codes of the archive.")
    ] = 100,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Values of ef_search (hnsw) or probes (ivfflat). Default: a range of them.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the sample of queries.")] = 0,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    dsn: options.Dsn = None,
    pg_bin: options.PgBin = None,
) -> None:
    """Measure an index on an archive's codes: recall, latency, size and time to build.

    An item counts as found if it is as near as the k-th of the exact answer, so ties cost nothing.
    The index is built on a temporary copy; the archive is not changed.

    [dim]dcsh-pg recall naip --index hnsw --sweep 40,100,400[/dim]
    """
    settings = options.parse_integers(sweep, "--sweep")

    from dcsh_pg.database.server import schema
    from dcsh_pg.database.server.connect import connect
    from dcsh_pg.evaluation.recall import measure_recall

    with connect(dsn, pg_bin=pg_bin) as conn, console.progress(quiet=quiet) as progress:
        schema.require_current(conn)
        report = measure_recall(
            conn,
            archive,
            index,
            k=k,
            queries=queries,
            settings=settings,
            seed=seed,
            progress=progress,
        )
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    console.say(
        f"{report.index} on {report.rows:,} codes of {report.bits} bits: built in "
        f"{report.build_seconds:.2f} s, {report.index_bytes / 1e6:.1f} MB; "
        f"{report.queries} queries, warm, one connection"
    )
    table = Table(report.option or "index", f"recall@{report.k}", "median ms", "95 % ms", box=None)
    for name, point in [
        *((str(point.setting or report.index), point) for point in report.points),
        ("no index", report.scan),
    ]:
        table.add_row(name, f"{point.recall:.4f}", f"{point.median_ms:.2f}", f"{point.p95_ms:.2f}")
    Console().print(table)
