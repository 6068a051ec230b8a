"""The command line: every command has help, and errors are one line."""

import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from dcsh_pg import __version__
from dcsh_pg.cli import COMMANDS
from dcsh_pg.cli.main import app

runner = CliRunner()


def commands(group, prefix=()):
    for name, command in group.commands.items():
        yield (*prefix, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*prefix, name))


ALL = list(commands(get_command(app)))


def test_help_lists_commands_in_the_order_of_the_tasks():
    assert get_command(app).list_commands(None) == list(COMMANDS)


@pytest.mark.parametrize(
    ("path", "command"), ALL, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_and_option_has_help(path, command):
    result = runner.invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", None) or parameter.name == "help", parameter.name


def test_version():
    assert runner.invoke(app, ["--version"]).stdout.strip() == f"dcsh-pg {__version__}"


def test_an_unknown_command_is_a_usage_error():
    assert runner.invoke(app, ["serach"]).exit_code == 2


def test_an_error_is_one_line_with_a_hint_and_no_traceback():
    done = subprocess.run(
        [sys.executable, "-c", "from dcsh_pg.cli.main import run; run()", "search", "naip"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    message, hint = done.stderr.strip().splitlines()
    assert message.startswith("dcsh-pg: ")
    assert hint.startswith("  hint: give one of --image")


def test_debug_shows_the_traceback():
    done = subprocess.run(
        [sys.executable, "-c", "from dcsh_pg.cli.main import run; run()", "--debug", "search", "x"],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "Traceback" in done.stderr
