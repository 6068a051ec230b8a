"""``dcsh-pg benchmark``: hashing methods by the papers' protocol.

Library: :func:`dcsh_pg.benchmark.runner.run`.
"""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from dcsh_pg.cli import app, console, options
from dcsh_pg.cli.learning import Cache, NamesInHelp, check_weights, feature_cache
from dcsh_pg.errors import UsageError
from dcsh_pg.extras import requires
from dcsh_pg.plugins import METHODS

_table_option = partial(typer.Option, rich_help_panel="Table")
_run_option = partial(typer.Option, rich_help_panel="Run")


@app.command(cls=NamesInHelp)
def benchmark(
    dataset: Annotated[
        str,
        typer.Option(
            metavar="ucmd|aid|FOLDER", help="UC Merced Land Use, AID, or a folder of class folders."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Output folder; results that it already has are kept.",
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            envvar="DCSH_PG_DATASETS",
            help="Folder of ucmd and aid. Default: the current one.",
            show_default=False,
        ),
    ] = Path(),
    methods: Annotated[
        str | None,
        _table_option(
            metavar="NAME,NAME,...",
            help="Methods to fit to features of the encoder as it is: {methods}. Default: all. "
            "The features themselves (cosine) are always measured too.",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        _table_option(
            metavar="NAME,NAME,...",
            help="Encoders: {encoders}. Default: vgg16-fc7, the most published.",
        ),
    ] = None,
    rows: Annotated[
        Path | None,
        _table_option(
            metavar="FILE",
            help="JSON file of rows, instead of --methods and --encoder; rows can set options and "
            "train the encoder. docs/evaluation.md lists their fields.",
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        _table_option(
            metavar="ENCODER=FILE",
            help="Weights of an encoder: none, pretrained, imagenet or a file; repeatable. "
            "Default: published ones, which are downloaded.",
        ),
    ] = None,
    bits: Annotated[str, _table_option(metavar="K,K,...", help="Code lengths.")] = "16,32,48,64",
    splits: Annotated[int, _table_option(min=1, help="Number of random splits.")] = 5,
    share: Annotated[
        float | None,
        _table_option(
            metavar="FRACTION",
            help="Fraction of each class that is the database. Default: 0.8, and 0.5 for "
            "aid, as published.",
        ),
    ] = None,
    precision: Annotated[
        Literal["float32", "bfloat16"],
        _run_option(
            metavar="float32|bfloat16",
            help="Precision of the encoders' features; bfloat16 is several times faster on "
            "processors that support it.",
        ),
    ] = "float32",
    jobs: Annotated[
        int,
        _run_option("--jobs", "-j", min=1, help="Parallel processes; only times depend on them."),
    ] = 1,
    cache: Cache = None,
    device: options.Device = "auto",
) -> None:
    """Compare hashing methods on random splits of a labelled data set, by the published protocol.

    Measures mAP@all, precision and recall of every method, code length and split, and writes
    DIR/report.md, .json and figures, with published numbers beside them. Rerun the command to
    resume. Labels are not used in training. docs/evaluation.md describes the protocol and the
    data sets.

    [dim]dcsh-pg benchmark --dataset ucmd --data /data --encoder gist --out results/ucmd[/dim]
    """
    from dcsh_pg.benchmark import datasets
    from dcsh_pg.evaluation import check_plots

    given = _parse_weights(weights or [])
    datasets.find(dataset, data)
    for file in given.values():
        check_weights(file)
    check_plots(out)
    with requires("train,plot", "run a benchmark"):
        from dcsh_pg.benchmark import page, runner, summary
        from dcsh_pg.benchmark import rows as table
        from dcsh_pg.learning.model import device as devices
    if rows:
        if methods or encoder:
            raise UsageError(
                "--rows cannot be combined with --methods or --encoder",
                hint="give the methods and encoders in the file of --rows",
            )
        chosen = table.read(rows, given)
    else:
        names = METHODS.names() if methods is None else _names(methods)
        chosen = table.simple(names, _names(encoder or "vgg16-fc7"), given)
    with console.progress() as shown:
        share = datasets.database_share(dataset) if share is None else share
        plan = runner.Plan(
            rows=chosen,
            bits=tuple(dict.fromkeys(options.parse_integers(bits, "--bits") or ())),
            splits=splits,
            share=share,
            precision=precision,
            cache=feature_cache(cache),
            device=str(devices.choose(device)),
            jobs=jobs,
        )
        plan.check()
        loaded = datasets.load(dataset, data, progress=shown)
        runner.run(loaded, plan, out, command=_command(), progress=shown)
    files = page.write([summary.read(out)], out / "report.md", title=loaded.title)
    console.done("\n".join(f"wrote {path}" for path in files), files=files)


def _names(text: str) -> list[str]:
    """'itq, lsh' -> ['itq', 'lsh']."""
    return list(dict.fromkeys(name.strip() for name in text.split(",")))


def _parse_weights(given: list[str]) -> dict[str, str]:
    for item in given:
        if "=" not in item:
            raise UsageError(
                f"--weights {item} lacks the encoder",
                hint="write --weights ENCODER=FILE, for example --weights densenet169=FILE",
            )
    return dict(item.split("=", 1) for item in given)


def _command() -> str:
    """The command line, with only the last part of absolute paths."""
    words = ["dcsh-pg", *sys.argv[1:]]
    return shlex.join(_short(word) for word in words)


def _short(word: str) -> str:
    name, equals, value = word.rpartition("=")
    return f"{name}{equals}{Path(value).name}" if Path(value).is_absolute() else word
