"""Runs random commands with hostile option values, names and files.

    python benchmarks/attacks/commands.py --minutes 60
    python benchmarks/attacks/commands.py --seed 1 --only 4711 --verbose

Commands and options are read from the program, so new ones are attacked without a change here.  Every
run must succeed, or fail with one line, at most one hint and a documented exit code, and print no
control character.  A traceback, a message that reports a bug, or more than ``SECONDS`` seconds is a
fault.

Works in a temporary folder, on a temporary embedded server or, with ``--dsn``, in a database that it may
ruin.  Commands that change servers, install software, train or serve are omitted.
"""

from __future__ import annotations

import atexit
import os
import random
import re
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
import rasterio
import typer
from rasterio.transform import from_origin
from support.attack import PATIENCE, Attack, run
from support.hostile_onnx import base_model
from typer.testing import CliRunner

from dcsh_pg import errors
from dcsh_pg.cli.main import app

SECONDS = 60 * PATIENCE
OMITTED = {"db", "native", "demo", "train", "export", "benchmark", "report", "pgstac",
           "serve"}  # fmt: skip
OPTIONS_OMITTED = {"dsn", "pg_bin", "help", "version", "debug", "scheduler", "sign", "password"}
CODES = {0, errors.INTERRUPTED} | {
    kind.exit_code for kind in vars(errors).values() if isinstance(kind, type)
}

NUMBERS = ("0", "1", "2", "3", "8", "-1", "10", "64", "1.5", "nan", "inf", "-inf", "1e999", "1e-320",
           "2147483647", "2147483648", "-2147483649", "9223372036854775807", "9223372036854775808",
           "9" * 400, "0x10", "1_000", "٣", "", " ", "1,2", "--")  # fmt: skip
TEXTS = ("", " ", ".", "..", "/", "~", "-", "--", "a" * 300, "a" * 5000, "\x1b[2J", "a\nb", "a\tb",
         "\u202etxt", "\x9b31m", "\udcff", "ü", "💥" * 20, "%s%n", "{0}", "{", "[", "[red]", "[/x]",
         "*", "**/*", "$(id)", "'; DROP TABLE x; --", '"', "\\", "null", "NULL", "true",
         "aux", "public", "pg_class", "dcsh", "scene", "archive", "/vsimem/x", "/vsizip//x",
         "file:///nowhere", "http://127.0.0.1:1/x", "s3://x/y", "x:y:z", "C:\\x")  # fmt: skip
AREAS = ("0,0,1,1", "-180,-90,180,90", "170,-10,-170,10", "nan,nan,nan,nan", "0,0,0,0", "9,9,1,1",
         "POLYGON((0 0,1 0,1 1,0 0))", "POLYGON((0 0,nan 0,1 1,0 0))", "POLYGON EMPTY", "POINT(1 1)",
         "POLYGON((0 0,1 1,1 0,0 1,0 0))", "MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((2 2,3 2,3 3,2 2)))",
         "GEOMETRYCOLLECTION EMPTY", "SRID=3857;POLYGON((0 0,1 0,1 1,0 0))", "1e308,0,1e309,1",
         '{"type":"Polygon","coordinates":[[[NaN,0],[1,0],[1,1],[NaN,0]]]}', '{"type":"Polygon"}',
         '{"type":"Point","coordinates":[1e999,1]}', "{" * 2000, '{"type":' * 30_000)  # fmt: skip
TIMES = ("2021", "2021-02-30", "0000", "0001-01-01T00:00+23:59", "9999-12-31T23:59:59-23:59", "-1",
         "10000", "2021-W01", "20210101", "infinity", "now", "2021-01-01T25:00", "2021..2022")  # fmt: skip
CODE_TEXTS = ("0" * 16, "01" * 8, "ffff", "0xffff", "x'ffff'", "0" * 15, "2" * 16, "f" * 4000)
FILES = ("good.tif", "nan.geojson", "empty", "empty.tif", "empty.onnx", "garbage.tif", "model.onnx",
         "folder", "absent.tif", "pipe.tif", "loop.tif", "clear\x1b[2J\n.tif", "not-utf8-\udcff.tif",
         "/dev/null", "/dev/zero", "/dev/full", "good.tif/below", "out.csv", "out.geojson",
         "out.map.svg", "out.png", "out.gpkg", "out.parquet", "out.fgb", "out.qgz", "out.map.pdf",
         "folder/out.json", "clear\x1b[2J.csv", "empty/out.csv")  # fmt: skip


class Place:
    """A folder of good and bad files, and an archive."""

    def __init__(self, dsn: str | None):
        self.folder = tempfile.TemporaryDirectory(prefix="dcsh-attack-", ignore_cleanup_errors=True)
        path = Path(self.folder.name)
        path.chmod(0o755)  # for root the embedded server runs as another user
        if dsn is None:
            os.environ["DCSH_PG_DATA"] = str(path / "server")
            atexit.register(_stop_server)
        else:
            os.environ["DATABASE_URL"] = dsn
            assert CliRunner().invoke(app, ["db", "upgrade"]).exit_code == 0
        os.environ["XDG_CACHE_HOME"] = str(path / "cache")
        self.work = path / "work"
        self.work.mkdir()
        os.chdir(self.work)
        self.fill()
        self.pixels = Path("good.tif").read_bytes()
        self.ingest()

    def ingest(self) -> None:
        """Creates the archive, its model file and its scene unless they exist."""
        Path("good.tif").write_bytes(self.pixels)
        Path("model.onnx").write_bytes(base_model().SerializeToString())
        made = CliRunner().invoke(
            app,
            ["ingest", "fields", "good.tif", "-m", "model.onnx", "--chip-size", "16", "-q"],
        )
        assert made.exit_code == 0, made.stderr

    def fill(self) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)
        form = {"driver": "GTiff", "count": 3, "width": 64, "height": 64, "dtype": "uint8"}
        place = {"crs": "EPSG:32632", "transform": from_origin(5e5, 5e6, 1, 1)}
        with rasterio.open("good.tif", "w", **form, **place) as raster:
            raster.write(pixels)
        for name in ("empty", "empty.tif", "empty.onnx"):
            Path(name).touch()
        Path("garbage.tif").write_bytes(b"II*\0" + bytes(range(256)) * 4)
        Path("nan.geojson").write_text(AREAS[-5])
        Path("folder").mkdir()
        for name in ("clear\x1b[2J\n.tif", "not-utf8-\udcff.tif"):
            Path(name).write_bytes(Path("good.tif").read_bytes())
        os.mkfifo("pipe.tif")
        Path("loop.tif").symlink_to("loop.tif")


def _stop_server() -> None:
    from dcsh_pg.database.server.embedded import EmbeddedServer

    EmbeddedServer.of().stop()


place: Place | None = None


def commands() -> dict[str, list]:
    """'archive show' -> its parameters, for every command that may be attacked."""
    root = typer.main.get_command(app)
    found = {}
    for name, command in root.commands.items():
        if name in OMITTED:
            continue
        for below, part in getattr(command, "commands", {None: command}).items():
            words = name if below is None else f"{name} {below}"
            found[words] = [p for p in part.params if p.name not in OPTIONS_OMITTED]
    return found


def value(parameter, rng: random.Random) -> str:
    """A value, usually of the kind that the parameter accepts."""
    # Newer versions of typer have annotations, older ones types of click.
    type_ = getattr(parameter, "type", None) or parameter.type_descriptor.annotation
    choices = getattr(type_, "choices", None) or get_args(type_)
    choices = [choice for choice in choices if isinstance(choice, str)]
    name, kind = parameter.name, str(type_).lower()
    if choices and rng.random() < 0.7:
        return str(rng.choice(list(choices)))
    if name in ("archive", "name") and rng.random() < 0.8:
        return "fields"
    if name in ("model", "file") and rng.random() < 0.4:
        return "model.onnx"
    pools = [TEXTS, NUMBERS]
    for words, pool in (
        (("area", "region"), AREAS),
        (("since", "until", "from", "to", "acquired", "before", "after"), TIMES),
        (("code",), CODE_TEXTS),
        (("out", "file", "image", "sources", "sidecar", "model", "stac", "path", "cql2"), FILES),
    ):
        if any(word in name for word in words):
            pools += [pool] * 4
    if "int" in kind or "float" in kind:
        pools += [NUMBERS] * 4
    if rng.random() < 0.05:
        return "".join(
            chr(rng.choice((rng.randrange(1, 128), rng.randrange(1, 0xD800)))) for _ in range(9)
        )
    return rng.choice(rng.choice(pools))


def arguments(parameters: list, rng: random.Random) -> list[str]:
    made: list[str] = []
    for parameter in parameters:
        is_argument = parameter.param_type_name == "argument"
        if not is_argument and rng.random() > (0.9 if parameter.required else 0.15):
            continue
        count = 2 if parameter.name == "at" else 1
        if not is_argument:
            made.append(rng.choice(parameter.opts))
            if parameter.is_flag:
                continue
        made += [value(parameter, rng) for _ in range(count)]
    return made


def once(attack: Attack, rng: random.Random) -> None:
    global place
    place = place or Place(attack.options.dsn)
    command = rng.choice(sorted(known := commands()))
    line = [*command.split(), *arguments(known[command], rng)]
    if command == "ingest" and "-q" not in line:
        line.append("-q")
    if command == "search" and rng.random() < 0.7:
        line += rng.choice((["--chip", "1"], ["--code", "ffff"], ["--image", "good.tif"]))
    shown = shlex.join(line)[:600]
    if attack.options.verbose:
        print(ascii(shown), file=sys.stderr, flush=True)
    signal.signal(signal.SIGALRM, _too_slow)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        result = CliRunner().invoke(app, line)
    finally:
        signal.alarm(0)
    if command in ("archive drop", "archive export", "archive rename", "model save", "ingest"):
        place.ingest()
    attack.tried(f"{command}: {'done' if result.exit_code == 0 else 'refused'}")
    for reason in faults(result):
        attack.fault(command, f"{reason}: {shown!a}: {result.stderr[:300]!a}")


def faults(result) -> list[str]:
    """The faults in the outcome of a command."""
    found = []
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        found.append(f"{type(result.exception).__name__}: {result.exception}")
    if result.exit_code not in CODES:
        found.append(f"exit code {result.exit_code}")
    if "looks like a bug" in result.stderr:
        found.append("a bug")
    elif "Traceback" in result.output:
        found.append("a traceback")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", result.stderr):
        found.append("control characters on stderr")
    if result.exit_code:
        messages = [line for line in result.stderr.splitlines() if line.startswith("dcsh-pg: ")]
        hints = [line for line in result.stderr.splitlines() if line.startswith("  hint: ")]
        if (
            len(messages) != 1
            or len(hints) > 1
            or not result.stderr.splitlines()[-1].startswith(("dcsh-pg: ", "  hint: "))
        ):
            found.append("not one line and a hint")
    return found


def _too_slow(*_) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


def add_options(parser) -> None:
    parser.add_argument("--dsn", help="database to use and ruin; default: an embedded server")
    parser.add_argument("--verbose", action="store_true", help="print each command to stderr")


if __name__ == "__main__":
    run(__doc__, once, add_options=add_options)
