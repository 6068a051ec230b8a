"""The command line: one command a file, each a thin wrapper over a documented library call.

Command modules register on ``app`` and import nothing heavy at the top; what a command needs it
imports when it runs, so that ``dcsh-pg --help`` answers at once.
"""

from __future__ import annotations

import typer

from dcsh_pg import __version__

app = typer.Typer(
    name="dcsh-pg",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"dcsh-pg {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Search an imagery archive by example, in SQL.

    Start with [bold]dcsh-pg demo[/bold]: the whole path on imagery that it makes itself.
    """
