"""Options that several commands share, written once: name, type and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

Dsn = Annotated[
    Optional[str],
    typer.Option(
        "--dsn",
        metavar="DSN",
        help="PostgreSQL to use: a URL, a libpq string or service=NAME. Default: the libpq "
        "environment (PGHOST, PGSERVICE, ...), else the embedded server.",
        rich_help_panel="Database",
        show_default=False,
    ),
]
PgBin = Annotated[
    Optional[Path],
    typer.Option(
        "--pg-bin",
        metavar="DIR",
        help="Run the embedded server with the programs in DIR (an installed PostgreSQL that has "
        "pgvector) instead of the bundled ones.",
        rich_help_panel="Database",
        show_default=False,
    ),
]
ArchiveName = Annotated[str, typer.Argument(metavar="ARCHIVE", help="Name of the archive.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Device = Annotated[
    str, typer.Option("--device", help="Where the model runs: auto, cpu or cuda.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
