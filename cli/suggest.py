"""What a misspelt or foreign name of a command or an option was meant to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperGroup

ParseError: Any = typer.BadParameter.__base__
"""click's UsageError, which a newer typer has a copy of."""

SYNONYMS = {
    "add": ("ingest",),
    "cat": ("show",),
    "clean": ("drop", "remove-scenes"),
    "compare": ("benchmark", "evaluate", "change"),
    "create": ("ingest", "upgrade"),
    "dedupe": ("duplicates",),
    "delete": ("drop", "remove-scenes"),
    "describe": ("show", "stac"),
    "destroy": ("drop",),
    "diff": ("change",),
    "find": ("search",),
    "fit": ("train",),
    "get": ("show",),
    "import": ("import", "ingest"),
    "info": ("show", "status"),
    "init": ("upgrade",),
    "knn": ("search",),
    "learn": ("train",),
    "load": ("ingest",),
    "ls": ("list",),
    "migrate": ("upgrade",),
    "move": ("relocate", "rename"),
    "mv": ("rename", "relocate"),
    "query": ("search",),
    "reindex": ("index",),
    "remove": ("drop", "remove-scenes"),
    "rm": ("drop", "remove-scenes"),
    "stats": ("statistics",),
    "update": ("upgrade", "ingest"),
}
"""A name from another program -> the commands that it may mean."""

OPTION_SYNONYMS = {
    "--bbox": "--area",
    "--count": "-k",
    "--csv": "--format",
    "--db": "--dsn",
    "--end": "--until",
    "--file": "--out",
    "--force": "--yes",
    "--geojson": "--format",
    "--intersects": "--area",
    "--limit": "-k",
    "--n": "-k",
    "--output": "--out",
    "--output-format": "--format",
    "--start": "--since",
    "--threshold": "--max-distance",
    "--top": "-k",
    "--verbosity": "--verbose",
}
"""A name of an option in other programs -> the option here."""


class SuggestingGroup(TyperGroup):
    """Names the commands that an unknown one may mean, in the message."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        try:
            return self._resolved(ctx, args)
        except ParseError as error:
            error.suggestions = [
                f"'{ctx.command_path} {path}'" for path in commands_meant(self, ctx, args[0])
            ]
            raise

    def _resolved(self, ctx: Any, args: list[str]) -> Any:
        suggests, self.suggest_commands = self.suggest_commands, False
        try:
            return super().resolve_command(ctx, args)
        finally:
            self.suggest_commands = suggests


def commands_meant(group: Any, ctx: Any, name: str) -> list[str]:
    """Paths below the group of the commands that an unknown name may mean, the likeliest first."""
    known = dict(_paths(group))
    return list(dict.fromkeys(_matches(name.lower(), known)))[:3]


def _matches(name: str, known: dict[str, str]) -> list[str]:
    """``known`` is path -> last word of it."""
    direct = [path for path in known if " " not in path]
    meant = (name, *SYNONYMS.get(name, ()))
    near = [word for word in meant if word in direct] + get_close_matches(name, direct, cutoff=0.7)
    deeper = [path for word in meant for path, last in known.items() if last == word]
    return near or deeper or get_close_matches(name, direct)


def _paths(group: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """'archive drop' -> 'drop' for every command below the group."""
    for name, command in group.commands.items():
        yield f"{before}{name}", name
        if hasattr(command, "commands"):
            yield from _paths(command, f"{before}{name} ")


def option_meant(error: Any) -> list[str]:
    """The options of the command that an unknown one may mean, the likeliest first."""
    name = getattr(error, "option_name", None)
    if name is None or error.ctx is None:
        return []
    options: list[str] = [
        option
        for parameter in error.ctx.command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("-") and not getattr(parameter, "hidden", False)
    ]
    synonym = OPTION_SYNONYMS.get(name)
    if synonym is not None and synonym in options:
        return [synonym]
    return get_close_matches(name, options, n=2, cutoff=0.7)


def hint(error: Any) -> str:
    """The hint of a command line that cannot be parsed."""
    command = error.ctx.command_path if error.ctx else "dcsh-pg"
    meant: Sequence[str] = getattr(error, "suggestions", None) or option_meant(error)
    return f"did you mean {' or '.join(meant)}?" if meant else f"see '{command} --help'"
