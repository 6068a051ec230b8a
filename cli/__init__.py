"""The command line: one command a file, each a thin wrapper over a documented library call.

Command modules register on ``app`` and import nothing heavy at the top; a command imports what it
needs when it runs, so that ``dcsh-pg --help`` is instant.  ``dcsh_pg.cli.main`` imports them all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from typing import Any

import typer

from dcsh_pg.cli import console, suggest
from dcsh_pg.cli.commands import Commands, Debug, Version
from dcsh_pg.cli.console import warn
from dcsh_pg.errors import INTERRUPTED, DcshError, OutputError, ServerError, UsageError
from dcsh_pg.terminal import printable

PANELS = {
    "Get started": ("demo", "train", "export", "wrap", "ingest"),
    "Search and analyse": ("search", "replay", "serve", "change", "duplicates"),
    "Export to GIS and STAC": ("stac", "qgis", "pgstac"),
    "Measure": ("evaluate", "recall", "benchmark", "report"),
    "Manage": ("archive", "model", "db", "native", "doctor"),
}
"""The commands as --help groups them, in the order of a user's tasks; each has a module."""

COMMANDS = tuple(name for names in PANELS.values() for name in names)

SUBCOMMANDS = ("archive_hash", "archive_index", "archive_scenes", "archive_files", "archive_rehash")
"""Modules that add commands to those of another module."""


class _Root(suggest.SuggestingGroup):
    """Reports every error of a command as one line, a hint and a documented exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for name in COMMANDS if name in self.commands]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command: Any = super().get_command(ctx, cmd_name)
        for panel, names in PANELS.items():
            if cmd_name in names:
                command.rich_help_panel = panel
        for one in (command, *getattr(command, "commands", {}).values()):
            if one is not None and one.help:
                one.help = _reflowed(one.help)
            for parameter in getattr(one, "params", ()):
                if getattr(parameter, "is_flag", False) and parameter.metavar is None:
                    parameter.metavar = ""  # newer typer shows <bool>, as if a flag took a value
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except suggest.ParseError as error:
            raise _reported(error) from None

    def invoke(self, ctx: Any) -> Any:
        console.choose()
        try:
            return super().invoke(ctx)
        except suggest.ParseError as error:
            raise _reported(error) from None
        except DcshError as error:
            if console.chosen.debug or ctx.params["debug"]:
                raise
            _report(error.message, error.hint)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            warn("dcsh-pg: interrupted; what was committed is kept")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if console.chosen.debug or ctx.params["debug"] or _is_for_the_shell(error):
                raise
            if isinstance(error, OSError) and _is_of_stdout(error):
                raise typer.Exit(stdout_failed(error)) from None
            if type(error).__module__.startswith("psycopg"):
                first_line = str(error).strip().splitlines()[0]
                diagnostic = getattr(error, "diag", None)
                _report(
                    f"PostgreSQL error: {first_line}", getattr(diagnostic, "message_hint", None)
                )
                raise typer.Exit(ServerError.exit_code) from None
            _report(
                f"{type(error).__name__}: {error}",
                "this looks like a bug in dcsh-pg; 'dcsh-pg --debug ...' shows the traceback",
            )
            raise typer.Exit(DcshError.exit_code) from None


def _reflowed(text: str) -> str:
    """A docstring with one line a paragraph, for a terminal of any width to wrap."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


def _reported(error: Any) -> Exception:
    """Reports a command line that typer cannot parse; returns what to raise."""
    if type(error).__name__ == "NoArgsIsHelpError":
        shown: Exception = error
        return shown
    message = re.sub(
        r"\s\((Did you mean|Possible options).*\)|\sDid you mean .*", "", error.format_message()
    )
    message = message.rstrip(".").replace("Value error, ", "")
    _report(message[0].lower() + message[1:], suggest.hint(error))
    return typer.Exit(UsageError.exit_code)


def _is_for_the_shell(error: Exception) -> bool:
    """Whether typer itself handles an error: an exit, a usage message, or a closed pipe."""
    return hasattr(error, "exit_code") or isinstance(error, typer.Abort | BrokenPipeError)


def stdout_failed(error: OSError) -> int:
    """Reports that stdout cannot be written, and discards the rest; returns the exit code."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with contextlib.suppress(OSError):
        _report(
            f"cannot write the output: {error.strerror or error}",
            "free space on the disk, or write the output elsewhere",
        )
    return OutputError.exit_code


def _is_of_stdout(error: OSError) -> bool:
    """Whether stdout cannot be written: then the error has no file name."""
    return error.filename is None and error.errno in _UNWRITABLE


_UNWRITABLE = (errno.ENOSPC, errno.EFBIG, errno.EIO, errno.EBADF, getattr(errno, "EDQUOT", None))


def _report(message: str, hint: str | None) -> None:
    typer.secho(printable(f"dcsh-pg: {message}"), fg="red", err=True)
    if hint:
        warn(printable(f"  hint: {hint}"))


app = Commands(
    name="dcsh-pg",
    cls=_Root,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


@app.callback()
def _root(debug: Debug = False, version: Version = False) -> None:
    """Search an imagery archive by example, in SQL.

    Start with [bold]dcsh-pg demo[/bold], which ingests and searches synthetic imagery.
    """
