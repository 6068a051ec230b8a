"""``dcsh-pg recall``: recall and latency of an index on codes.

Library: :func:`dcsh_pg.evaluation.index_recall.measure_index`,
:func:`dcsh_pg.evaluation.recall.measure_recall`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dcsh_pg.cli import app, console, options
from dcsh_pg.cli.console import as_json, print_json
from dcsh_pg.errors import UsageError

if TYPE_CHECKING:
    from dcsh_pg.evaluation.index_recall import IndexRecall
    from dcsh_pg.evaluation.recall import Point, RecallReport


@app.command()
def recall(
    archive: options.ArchiveName,
    index: Annotated[
        Literal["hnsw", "ivfflat", "hamming"] | None,
        typer.Option(
            "--index",
            help="Build this index on a temporary copy and measure it; hamming is the exact one. "
            "Default: measure the archive's own approximate index.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="Number of neighbours.")] = 10,
    queries: Annotated[
        int | None,
        typer.Option(
            "--queries",
            help="Number of queries, codes of the archive. Default: 300, with --index 100.",
            show_default=False,
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Values of ef_search (hnsw) or probes (ivfflat). Default: a range of them.",
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            help="Recall to reach. The lowest setting that reaches it is stored. Default: 0.99.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the sample of queries.")] = 0,
    database: options.Database = options.DATABASE,
) -> None:
    """Measure an index on an archive's codes: recall and latency.

    An item counts as found if it is as near as the k-th of the exact answer; ties are not misses.
    For the archive's own approximate index, the setting and its recall are stored: searches with
    --approximate use the setting and report the recall. With --index the archive is not changed.

    [dim]dcsh-pg recall naip --target 0.95[/dim]
    """
    settings = options.parse_integers(sweep, "--sweep")
    if index is not None and target is not None:
        raise UsageError(
            "--index and --target cannot be combined",
            hint="--target is for the index that the archive has",
        )

    from dcsh_pg.evaluation.index_recall import QUERIES, TARGET, IndexRecall, measure_index
    from dcsh_pg.evaluation.recall import measure_recall

    report: RecallReport | IndexRecall
    with database.connect() as conn, console.progress() as progress:
        if index is None:
            report = measure_index(
                conn,
                archive,
                k=k,
                queries=QUERIES if queries is None else queries,
                target=TARGET if target is None else target,
                efforts=settings,
                seed=seed,
                progress=progress,
            )
        else:
            report = measure_recall(
                conn,
                archive,
                index,
                k=k,
                queries=100 if queries is None else queries,
                settings=settings,
                seed=seed,
                progress=progress,
            )
    if as_json():
        print_json(report.to_dict())
    elif isinstance(report, IndexRecall):
        print_recall(report)
    else:
        console.say(
            f"{report.index} on {report.rows:,} codes of {report.bits} bits: built in "
            f"{report.build_seconds:.2f} s, {report.index_bytes / 1e6:.1f} MB; "
            f"{report.queries} queries, warm, one connection"
        )
        _print_points(report.option or "index", report.k, report.points, ("no index", report.scan))


def print_recall(report: IndexRecall) -> None:
    """Prints what the approximate index of an archive finds, and what searches use from now on."""
    console.say(
        f"{report.method} on {report.rows:,} codes of {report.bits} bits; {report.queries} queries, "
        "warm, one connection"
    )
    _print_points(report.option, report.k, report.points, ("exact", report.scan))
    kept = f"searches with --approximate use {report.option} {report.chosen.setting}"
    console.say(kept if report.stored else "not stored: only the archive's owner can")


def _print_points(option: str, k: int, points: list[Point], without: tuple[str, Point]) -> None:
    named = [*((str(point.setting or "exact"), point) for point in points), without]
    console.print_table(
        (option, f"recall@{k}", "median ms", "95 % ms"),
        [(n, f"{p.recall:.4f}", f"{p.median_ms:.2f}", f"{p.p95_ms:.2f}") for n, p in named],
    )
