"""``dcsh-pg report``: one page of several benchmarks.

Library: :func:`dcsh_pg.protocol.page.write`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcsh_pg.cli import app, console


@app.command()
def report(
    benchmarks: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Folders that 'dcsh-pg benchmark' wrote."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.md",
            help="The page; its figures as JSON and its pictures are put beside it.",
        ),
    ],
    title: Annotated[str, typer.Option(help="Its heading.")] = "Results",
) -> None:
    """Put several benchmarks into one page.

    [dim]dcsh-pg report results/ucmd results/aid --out docs/results.md[/dim]
    """
    from dcsh_pg.protocol import page, summary

    for path in page.write([summary.read(folder) for folder in benchmarks], out, title=title):
        console.say(f"wrote {path}")
