"""The command line: one command a file, each a thin wrapper over a documented library call.

Command modules register on ``app`` and import nothing heavy at the top; what a command needs it
imports when it runs, so that ``dcsh-pg --help`` answers at once.  ``dcsh_pg.cli.main`` gathers
them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys

import typer
from typer.core import TyperGroup

from dcsh_pg import __version__
from dcsh_pg.cli.console import say
from dcsh_pg.errors import INTERRUPTED, DcshError, OutputError, ServerError, UsageError
from dcsh_pg.terminal import printable

PANELS = {
    "The path": ("demo", "train", "export", "ingest"),
    "Questions": ("search", "change", "duplicates"),
    "For other programs": ("stac", "qgis", "pgstac"),
    "Measuring": ("evaluate", "recall", "benchmark", "report"),
    "What there is": ("archive", "model", "db", "native"),
}
"""The commands, one module each, as --help groups them: in the order of a user's tasks."""

COMMANDS = tuple(name for names in PANELS.values() for name in names)


class _Commands(TyperGroup):
    """Turns every error of a command into one line, a hint and a documented exit code."""

    def list_commands(self, ctx):
        return [name for name in COMMANDS if name in self.commands]

    def get_command(self, ctx, cmd_name):
        command = super().get_command(ctx, cmd_name)
        for panel, names in PANELS.items():
            if cmd_name in names:
                command.rich_help_panel = panel
        for one in (command, *getattr(command, "commands", {}).values()):
            if one is not None and one.help:
                one.help = _reflowed(one.help)
        return command

    def make_context(self, info_name, args, parent=None, **extra):
        try:
            return super().make_context(info_name, args, parent, **extra)
        except _WrongUse as error:
            raise _refused(error) from None

    def invoke(self, ctx):
        debug = ctx.params.get("debug", False)
        try:
            return super().invoke(ctx)
        except _WrongUse as error:
            raise _refused(error) from None
        except DcshError as error:
            if debug:
                raise
            _complain(error.message, error.hint)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            say("dcsh-pg: interrupted; what was committed is kept")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if debug or _is_for_the_shell(error):
                raise
            if _is_of_stdout(error):
                raise typer.Exit(stdout_failed(error)) from None
            if type(error).__module__.startswith("psycopg"):
                first_line = str(error).strip().splitlines()[0]
                _complain(
                    f"the database said: {first_line}", getattr(error.diag, "message_hint", None)
                )
                raise typer.Exit(ServerError.exit_code) from None
            _complain(
                f"{type(error).__name__}: {error}",
                "this looks like a bug in dcsh-pg; 'dcsh-pg --debug ...' shows where",
            )
            raise typer.Exit(DcshError.exit_code) from None


def _reflowed(text: str) -> str:
    """A docstring's paragraphs as lines, so that a terminal of any width breaks them well."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


_WrongUse = typer.BadParameter.__base__
"""click's UsageError, which typer has from click or, when newer, in itself."""


def _refused(error: Exception) -> Exception:
    """A command line that typer cannot parse, told like every other error."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return error
    asked = error.ctx.command_path if error.ctx else "dcsh-pg"
    told = error.format_message().rstrip(".").replace("Value error, ", "")
    _complain(told[0].lower() + told[1:], f"'{asked} --help' tells what it takes")
    return typer.Exit(UsageError.exit_code)


def _is_for_the_shell(error: Exception) -> bool:
    """Whether typer itself knows what to do: leave, show usage, or a closed pipe."""
    return hasattr(error, "exit_code") or isinstance(error, typer.Abort | BrokenPipeError)


def stdout_failed(error: OSError) -> int:
    """Reports that stdout cannot be written, and discards the rest; returns the exit code."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with contextlib.suppress(OSError):
        _complain(
            f"cannot write the output: {error.strerror or error}",
            "make room on the disk, or send the output elsewhere",
        )
    return OutputError.exit_code


def _is_of_stdout(error: Exception) -> bool:
    """Whether an error is that of a stream that cannot be written: it names no file."""
    return isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITABLE


_UNWRITABLE = (errno.ENOSPC, errno.EFBIG, errno.EIO, errno.EBADF, getattr(errno, "EDQUOT", None))


def _complain(message: str, hint: str | None) -> None:
    typer.secho(printable(f"dcsh-pg: {message}"), fg="red", err=True)
    if hint:
        say(printable(f"  hint: {hint}"))


app = typer.Typer(
    name="dcsh-pg",
    cls=_Commands,
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
