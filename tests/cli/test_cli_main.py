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
LEAVES = [path for path, command in ALL if not hasattr(command, "commands")]
COMMON = {
    "--format",
    "-f",
    "--json",
    "--quiet",
    "-q",
    "--verbose",
    "-v",
    "--version",
    "-V",
    "--debug",
}


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


def test_help_shows_flags_without_a_value_and_the_database_last():
    shown = runner.invoke(app, ["ingest", "--help"], env={"COLUMNS": "100"}).stdout
    flags = [line for line in shown.splitlines() if "--anchor" in line or "--quiet" in line]
    assert len(flags) == 2 and "bool" not in "".join(flags)
    panels = [line.split()[1] for line in shown.splitlines() if line.startswith("╭─")]
    assert panels[-2:] == ["Output", "Database"]
    assert shown.index("--format") < shown.index("--json") < shown.index("--quiet")


def test_version():
    assert runner.invoke(app, ["--version"]).stdout.strip() == f"dcsh-pg {__version__}"


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_has_the_common_options(path):
    command = dict(ALL)[path]
    assert {name for parameter in command.params for name in parameter.opts} >= COMMON
    assert runner.invoke(app, [*path, "-V"]).stdout.strip() == f"dcsh-pg {__version__}"


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("serach naip", "'dcsh-pg search'?"),
        ("query naip", "'dcsh-pg search'?"),
        ("find naip", "'dcsh-pg search'?"),
        ("ls", "'dcsh-pg archive list'"),
        ("delete naip", "'dcsh-pg archive drop'"),
        ("status", "'dcsh-pg db status' or 'dcsh-pg native status'?"),
        ("archive delete naip", "'dcsh-pg archive drop'"),
        ("archive rm naip", "'dcsh-pg archive drop'"),
        ("archive ls", "'dcsh-pg archive list'?"),
        ("archive statistic naip", "'dcsh-pg archive statistics'?"),
        ("db migrate", "'dcsh-pg db upgrade'?"),
        ("search naip --formt csv", "--format?"),
        ("search naip --bbox 0,0,1,1", "--area?"),
        ("search naip --limit 3", "-k?"),
        ("train folder --output run", "--out?"),
    ],
)
def test_an_unknown_name_is_answered_with_the_one_that_was_meant(line, meant):
    result = runner.invoke(app, line.split())
    assert result.exit_code == 2
    message, hint = result.stderr.splitlines()
    assert message.startswith("dcsh-pg: no such ")
    assert hint.startswith(f"  hint: did you mean {meant}")


def test_a_name_like_no_other_is_answered_with_the_help():
    assert "see 'dcsh-pg --help'" in runner.invoke(app, ["frobnicate"]).stderr
    assert "see 'dcsh-pg search --help'" in runner.invoke(app, ["search", "--frobnicate"]).stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [("-q -v", "--quiet and --verbose"), ("--json -f csv", "--json and --format csv")],
)
def test_common_options_that_contradict_are_refused(options, message):
    result = runner.invoke(app, ["search", "naip", "--chip", "1", *options.split()])
    assert result.exit_code == 2
    assert f"{message} cannot be combined" in result.stderr


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
