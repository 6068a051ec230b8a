"""``dcsh-pg benchmark``: hashing methods by the papers' protocol.

Library: :func:`dcsh_pg.benchmark.runner.run`.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from dcsh_pg.cli import app, console, options

_TABLE = "The table"
_RUN = "Running"


@app.command()
def benchmark(
    dataset: Annotated[
        str,
        typer.Option(
            metavar="ucmd|aid|FOLDER",
            help="UC Merced Land Use, AID, or a folder of class folders.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder of this benchmark; what is already measured there is kept.",
            show_default=False,
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            envvar="DCSH_PG_DATASETS",
            help="Folder in which ucmd and aid are looked for. Default: the current one.",
            show_default=False,
        ),
    ] = Path(),
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME,...",
            help="Methods out of dcsh, spl_udh, psch, itq, lsh, dsh, kulsh, prh and plsh, each "
            "fitted to features of the encoder as it is. Default: all. The features themselves "
            "(cosine) are always measured too.",
            rich_help_panel=_TABLE,
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME,...",
            help="Encoders whose features the methods are fitted to, as 'dcsh-pg train' takes "
            "them. Default: vgg16-fc7, the paper's.",
            rich_help_panel=_TABLE,
            show_default=False,
        ),
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Rows with options of their own, or with an encoder to train, as JSON, in place "
            "of --methods and --encoder; docs/evaluation.md tells their fields.",
            rich_help_panel=_TABLE,
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENCODER=FILE",
            help="Weights of an encoder: none, pretrained, imagenet or a file. May be given "
            "several times. Default: the published ones, which are downloaded.",
            rich_help_panel=_TABLE,
            show_default=False,
        ),
    ] = None,
    bits: Annotated[
        str,
        typer.Option(metavar="K,K,...", help="Lengths of code.", rich_help_panel=_TABLE),
    ] = "16,32,48,64",
    splits: Annotated[int, typer.Option(min=1, help="Random splits.", rich_help_panel=_TABLE)] = 5,
    share: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION",
            help="Share of each class that is the database. Default: the papers', 0.8 of ucmd "
            "and 0.5 of aid; 0.8 of a folder.",
            rich_help_panel=_TABLE,
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        Literal["float32", "bfloat16"],
        typer.Option(
            help="Of the encoders' features; bfloat16 is several times faster on processors with "
            "units for it.",
            rich_help_panel=_RUN,
        ),
    ] = "float32",
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            help="Cells measured side by side, each in a process; they change the times and "
            "nothing else.",
            rich_help_panel=_RUN,
        ),
    ] = 1,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where features are kept. Default: the user's cache folder.",
            rich_help_panel=_RUN,
            show_default=False,
        ),
    ] = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Compare hashing methods on random splits of a labelled data set, as the papers do.

    Measures mAP@all, precision and recall of every method, length of code and split, and writes
    DIR/report.md, .json and pictures, with the papers' numbers beside ours. A run that was
    stopped goes on when it is given again. No label takes part in training. docs/evaluation.md
    tells the protocol and where to get the data sets.

    [dim]dcsh-pg benchmark --dataset ucmd --data /data --encoder gist --out results/ucmd[/dim]
    """
    from dcsh_pg.errors import DcshError, UsageError
    from dcsh_pg.methods import NAMES

    try:
        from dcsh_pg.benchmark import datasets, page, runner, summary
        from dcsh_pg.benchmark import rows as table
        from dcsh_pg.learning.model import device as devices
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dcsh_pg"):
            raise
        raise DcshError(
            f"the benchmark needs {error.name}, which is not installed",
            hint="pip install 'dcsh-pg[train,plot]'",
        ) from error
    import platformdirs

    from dcsh_pg.evaluation import check_plots

    lengths = options.parse_integers(bits, "--bits")
    given = _parse_weights(weights or [])
    if rows:
        if methods or encoder:
            raise UsageError(
                "--rows and --methods or --encoder: both say what the rows are",
                hint="leave one of them out",
            )
        chosen = table.read(rows, given)
    else:
        names = NAMES if methods is None else _names(methods)
        chosen = table.simple(names, _names(encoder or "vgg16-fc7"), given)
    check_plots(out)
    with console.progress(quiet=quiet) as shown:
        share = datasets.database_share(dataset) if share is None else share
        plan = runner.Plan(
            rows=chosen,
            bits=tuple(dict.fromkeys(lengths)),
            splits=splits,
            share=share,
            precision=precision,
            cache=cache or Path(platformdirs.user_cache_dir("dcsh-pg")) / "features",
            device=str(devices.choose(device)),
            jobs=jobs,
        )
        plan.check()
        loaded = datasets.load(dataset, data, progress=shown)
        runner.run(loaded, plan, out, command=_command(), progress=shown)
    for path in page.write([summary.read(out)], out / "report.md", title=loaded.title):
        console.say(f"wrote {path}")


def _names(text: str) -> list[str]:
    """'itq, lsh' -> ['itq', 'lsh']."""
    return list(dict.fromkeys(name.strip() for name in text.split(",")))


def _parse_weights(given: list[str]) -> dict[str, str]:
    from dcsh_pg.errors import UsageError

    for item in given:
        if "=" not in item:
            raise UsageError(
                f"--weights {item} names no encoder",
                hint="write --weights densenet169=FILE for example",
            )
    return dict(item.split("=", 1) for item in given)


def _command() -> str:
    """The command line as it was given, with absolute paths by their last name."""
    words = ["dcsh-pg", *sys.argv[1:]]
    return shlex.join(_short(word) for word in words)


def _short(word: str) -> str:
    name, equals, value = word.rpartition("=")
    return f"{name}{equals}{Path(value).name}" if Path(value).is_absolute() else word
