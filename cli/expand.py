"""Options that belong together, declared once as the arguments of the function that parses them.

    def window(width: Annotated[int, typer.Option(...)] = 1, height: ... = 1) -> Window: ...

    @app.command()
    def show(archive: ArchiveName, seen: Annotated[Window, Parsed(window)]) -> None: ...

Command ``show`` has the options --width and --height, and receives the Window.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args


@dataclass(frozen=True)
class Parsed:
    """Marks a parameter of a command that ``parse`` makes from options of its own."""

    parse: Callable[..., Any]


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of its parameters that are marked as :class:`Parsed`."""
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Callable[..., Any]] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        marks = [mark for mark in get_args(parameter.annotation) if isinstance(mark, Parsed)]
        if marks:
            groups[name] = marks[0].parse
            parameters += inspect.signature(marks[0].parse, eval_str=True).parameters.values()
        else:
            parameters.append(parameter)

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, parse in groups.items():
            options = inspect.signature(parse).parameters
            values[name] = parse(**{option: values.pop(option) for option in options})
        command(**values)

    keyword = inspect.Parameter.KEYWORD_ONLY
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]  # typer reads it
        parameters=[parameter.replace(kind=keyword) for parameter in parameters]
    )
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
