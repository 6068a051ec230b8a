"""The entry point: imports all commands and runs the command line."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from dcsh_pg.cli import COMMANDS, SUBCOMMANDS, app, stdout_failed

for _command in (*COMMANDS, *SUBCOMMANDS):
    import_module(f"dcsh_pg.cli.{_command}")


def run() -> None:
    """Runs the command line and exits with a documented code (docs/operations.md)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell: >&-
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        sys.exit(stdout_failed(error))
