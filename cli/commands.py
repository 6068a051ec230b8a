"""A group of commands that all have the same options for what is printed, and name near misses.

    archive = Commands(no_args_is_help=True, help="...")

    @archive.command()
    def show(name: ArchiveName) -> None: ...

``show`` then also has --format, --json, --quiet, --verbose, --version and --debug.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

import typer

from dcsh_pg import __version__
from dcsh_pg.cli import console
from dcsh_pg.cli.expand import expanded
from dcsh_pg.cli.suggest import SuggestingGroup
from dcsh_pg.errors import UsageError

OUTPUT = "Output"
"""The panel of --help."""


_output_option = partial(typer.Option, rich_help_panel=OUTPUT)


def show_version(value: bool) -> None:
    """Prints the version and ends, as the callback of --version."""
    if value:
        typer.echo(f"dcsh-pg {__version__}")
        raise typer.Exit


_version_option = partial(
    typer.Option, "--version", "-V", callback=show_version, is_eager=True, help="Print the version."
)
_debug_option = partial(typer.Option, "--debug", help="Show the traceback of an error.")

Version = Annotated[bool, _version_option()]
Debug = Annotated[bool, _debug_option()]


def _common(
    format: Annotated[
        Literal["table", "json"],
        _output_option("--format", "-f", help="Print the result for people or as JSON."),
    ] = "table",
    as_json: Annotated[bool, _output_option("--json", help="The same as --format json.")] = False,
    quiet: Annotated[
        bool, _output_option("--quiet", "-q", help="Print results and errors only.")
    ] = False,
    verbose: Annotated[
        bool,
        _output_option(
            "--verbose", "-v", help="Report progress where stderr is not a terminal, too."
        ),
    ] = False,
    version: Annotated[bool, _version_option(hidden=True)] = False,
    debug: Annotated[bool, _debug_option(hidden=True)] = False,
) -> None:
    """The options of every command."""


class Commands(typer.Typer):
    """A typer application or group whose commands have the common options."""

    def __init__(self, **arguments: Any):
        super().__init__(**{"cls": SuggestingGroup} | arguments)

    def command(self, *arguments: Any, **settings: Any) -> Callable[[Any], Any]:
        register = super().command(*arguments, **settings)

        def enter(function: Callable[..., None]) -> Callable[..., None]:
            register(_with_common_options(expanded(function)))
            return function

        return enter


def _place_in_help(parameter: inspect.Parameter) -> tuple[int, int]:
    """Sorts a command's own options first, then those of the output, then those of the database."""
    info = parameter.annotation.__metadata__[0]
    panel = {OUTPUT: 1, "Database": 2}.get(info.rich_help_panel, 0)
    within = {"format": 0, "as_json": 1, "quiet": 3, "verbose": 4}.get(parameter.name, 2)
    return panel, within if panel == 1 else 0


def _with_common_options(function: Callable[..., None]) -> Callable[..., None]:
    """The function with the options that it does not declare itself."""
    own = inspect.signature(function, eval_str=True).parameters
    common = inspect.signature(_common, eval_str=True).parameters
    keyword = inspect.Parameter.KEYWORD_ONLY
    together = dict(common) | dict(own)
    parameters = [parameter.replace(kind=keyword) for parameter in together.values()]
    parameters.sort(key=_place_in_help)

    @functools.wraps(function)
    def run(**values: Any) -> None:
        given = {name: values[name] for name in common}
        if given["quiet"] and given["verbose"]:
            raise UsageError("--quiet and --verbose cannot be combined", hint="leave out one")
        if given["as_json"]:
            if given["format"] not in ("table", "json"):
                raise UsageError(
                    f"--json and --format {given['format']} cannot be combined",
                    hint="--json is the same as --format json",
                )
            values["format"] = "json"
        console.choose(
            quiet=given["quiet"],
            verbose=given["verbose"],
            as_json=values["format"] == "json",
            debug=given["debug"],
        )
        function(**{name: values[name] for name in own})

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
