"""``dcsh-pg doctor``: what is there and what is missing.  Library: :func:`dcsh_pg.doctor.examine`."""

from __future__ import annotations

import dataclasses

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import as_json, print_json, say, show


@app.command()
def doctor(database: options.Database = options.DATABASE) -> None:
    """Check this machine and the database, and say what to do about what is missing.

    Looks at Python and its libraries, onnxruntime, the GPU, weights, the compiler, free disk, the
    server and its extensions, the index and the rights of your role. Changes nothing and starts
    no server. Ends with exit code 1 if something must be fixed.

    [dim]dcsh-pg doctor --dsn service=maps[/dim]
    """
    from dcsh_pg import doctor as library

    findings = []
    for finding in library.examine(database.dsn, pg_bin=database.pg_bin):
        findings.append(finding)
        if not as_json():
            show(f"{finding.status:<8} {finding.name:<12} {finding.found}")
            if finding.fix:
                show(f"{'':<21} fix: {finding.fix}")
    if as_json():
        print_json([dataclasses.asdict(one) for one in findings])
    problems = sum(finding.status == library.PROBLEM for finding in findings)
    if problems:
        say(f"{problems} to fix")
        raise typer.Exit(1)
