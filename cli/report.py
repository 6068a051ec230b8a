"""``dcsh-pg report``: one page of several benchmarks.

Library: :func:`dcsh_pg.benchmark.page.write`.
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
        typer.Argument(
            metavar="DIR...",
            help="Folders that 'dcsh-pg benchmark' wrote.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.md",
            help="The page. Beside it come its numbers, FILE.json, and its pictures, FILE/*.png.",
            show_default=False,
        ),
    ],
    title: Annotated[str, typer.Option(help="Its heading.")] = "Results",
) -> None:
    """Put several benchmarks into one page.

    Works from what 'dcsh-pg benchmark' measured, finished or not, and needs no imagery.

    [dim]dcsh-pg report results/ucmd results/aid --out docs/results.md[/dim]
    """
    from dcsh_pg.errors import DcshError

    try:
        from dcsh_pg.benchmark import page, summary
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dcsh_pg"):
            raise
        raise DcshError(
            f"the report needs {error.name}, which is not installed",
            hint="pip install 'dcsh-pg[train,plot]'",
        ) from error

    for path in page.write([summary.read(folder) for folder in benchmarks], out, title=title):
        console.say(f"wrote {path}")
