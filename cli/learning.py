"""What the commands share that train, export and compare models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from dcsh_pg.errors import InputError
from dcsh_pg.plugins import ENCODERS, METHODS

Cache = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder for features of frozen encoders. Default: the user's cache folder.",
        rich_help_panel="Run",
    ),
]


def feature_cache(given: Path | None) -> Path:
    """--cache or its default."""
    import platformdirs

    return given or Path(platformdirs.user_cache_dir("dcsh-pg")) / "features"


def check_weights(weights: str) -> None:
    """Checks that a file of weights exists, before torch is loaded.

    Raises:
        InputError: there is no such file.
    """
    if weights not in ("none", "pretrained", "imagenet") and not Path(weights).is_file():
        raise InputError(
            f"no such weights file: {weights}", hint="give none, pretrained or a file to --weights"
        )


class NamesInHelp(TyperCommand):
    """A command whose help lists methods and encoders, which are looked up only then."""

    def format_help(self, *arguments: Any) -> None:
        listed = {
            "{methods}": ", ".join(METHODS.names()),
            "{encoders}": ", ".join([*ENCODERS.names(), *ENCODERS.patterns]),
        }
        for parameter in self.params:
            if isinstance(parameter, TyperOption) and parameter.help:
                for mark, names in listed.items():
                    parameter.help = parameter.help.replace(mark, names)
        super().format_help(*arguments)
