"""Entry point: gathers the commands, runs one, turns an error into one line and an exit code."""

from __future__ import annotations

import os
import sys

import typer

# The order here is the order in --help: the order of a user's tasks.
from dcsh_pg.cli import app
from dcsh_pg.cli import demo  # noqa: F401, I001
from dcsh_pg.cli import train  # noqa: F401
from dcsh_pg.cli import export  # noqa: F401
from dcsh_pg.cli import ingest  # noqa: F401
from dcsh_pg.cli import search  # noqa: F401
from dcsh_pg.cli import evaluate  # noqa: F401
from dcsh_pg.cli import archive  # noqa: F401
from dcsh_pg.cli import model  # noqa: F401
from dcsh_pg.cli import db  # noqa: F401
from dcsh_pg.cli.console import say
from dcsh_pg.errors import INTERRUPTED, DcshError


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
