"""Entry point: gathers the commands, runs one, turns an error into one line and an exit code."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import typer

from dcsh_pg.cli import app
from dcsh_pg.cli.console import say
from dcsh_pg.errors import INTERRUPTED, DcshError

COMMANDS = (
    "demo",
    "train",
    "export",
    "ingest",
    "search",
    "evaluate",
    "archive",
    "model",
    "db",
)
"""One module each, in the order of a user's tasks, which is their order in --help."""

for _command in COMMANDS:
    import_module(f"dcsh_pg.cli.{_command}")


def run() -> None:
    """Runs the command line and leaves with a documented exit code (docs/operations.md)."""
    debug = "--debug" in sys.argv[1:]
    if debug:
        sys.argv.remove("--debug")
    try:
        app()
    except DcshError as error:
        if debug:
            raise
        typer.secho(f"dcsh-pg: {error.message}", fg="red", err=True)
        if error.hint:
            say(f"  hint: {error.hint}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say("dcsh-pg: interrupted; what was committed is kept")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        typer.secho(f"dcsh-pg: {type(error).__name__}: {error}", fg="red", err=True)
        say("  hint: this looks like a bug in dcsh-pg; run again with --debug to see where")
        sys.exit(DcshError.exit_code)
