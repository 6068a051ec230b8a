"""Entry point: gathers the commands."""

from __future__ import annotations

from importlib import import_module

from dcsh_pg.cli import COMMANDS, app

for _command in COMMANDS:
    import_module(f"dcsh_pg.cli.{_command}")


def run() -> None:
    """Runs the command line and leaves with a documented exit code (docs/operations.md)."""
    app()
