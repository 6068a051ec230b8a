"""``dcsh-pg report``: several benchmarks on one page.

Library: :func:`dcsh_pg.benchmark.page.write`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcsh_pg.cli import app, console
from dcsh_pg.extras import requires


@app.command()
def report(
    benchmarks: Annotated[
        list[Path], typer.Argument(metavar="DIR", help="Output folders of 'dcsh-pg benchmark'.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.md",
            help="Output page; its numbers go to FILE.json and its figures to FILE/*.png.",
        ),
    ],
    title: Annotated[str, typer.Option(help="Title of the page.")] = "Results",
) -> None:
    """Write one page from several benchmarks.

    Reads the results of 'dcsh-pg benchmark', complete or not, and needs no imagery.

    [dim]dcsh-pg report results/ucmd results/aid --out docs/results.md[/dim]
    """
    with requires("train,plot", "write a report"):
        from dcsh_pg.benchmark import page, summary

    files = page.write([summary.read(folder) for folder in benchmarks], out, title=title)
    console.done("\n".join(f"wrote {path}" for path in files), files=files)
