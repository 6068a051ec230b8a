"""The command line: one command a file, each a thin wrapper over a documented library call.

Command modules import nothing heavy at the top; what a command needs it imports when it runs, so
that ``dcsh-pg --help`` answers at once.
"""

from __future__ import annotations

import os
import sys

import typer

from dcsh_pg import __version__
from dcsh_pg.errors import INTERRUPTED, DcshError

app = typer.Typer(
    name="dcsh-pg",
    help="Search an imagery archive by example, in SQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)

_debug = False


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"dcsh-pg {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    global _debug
    _debug = debug


def run() -> None:
    """Entry point ``dcsh-pg``: runs a command and turns errors into one line and an exit code."""
    try:
        app()
    except DcshError as error:
        if _debug:
            raise
        typer.secho(f"dcsh-pg: {error.message}", fg="red", err=True)
        if error.hint:
            typer.echo(f"  hint: {error.hint}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("dcsh-pg: interrupted; what was committed is kept", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if _debug:
            raise
        typer.secho(f"dcsh-pg: {type(error).__name__}: {error}", fg="red", err=True)
        typer.echo("  hint: this is a bug in dcsh-pg; --debug shows where", err=True)
        sys.exit(DcshError.exit_code)


from dcsh_pg.cli import (  # noqa: E402, F401  (each module registers its command on app)
    demo,
    train,
    export,
    model,
    ingest,
    search,
    evaluate,
    archive,
    db,
)
