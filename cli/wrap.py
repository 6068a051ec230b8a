"""``dcsh-pg wrap``: an encoder's ONNX file -> a model file.

Library: :func:`dcsh_pg.train.train` with the encoder ``onnx:FILE``, then
:func:`dcsh_pg.export.export_run`.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import command, done, progress, say
from dcsh_pg.cli.expand import Parsed
from dcsh_pg.cli.learning import Cache, NamesInHelp, feature_cache
from dcsh_pg.cli.train import Sources, choose, gathered, read
from dcsh_pg.errors import PartialSuccess
from dcsh_pg.extras import requires
from dcsh_pg.files import check_writable

if TYPE_CHECKING:
    from dcsh_pg.imagery.reading import Reading
else:  # typer evaluates the annotations, and this import takes numpy
    Reading = Any


@app.command(cls=NamesInHelp)
def wrap(
    encoder: Annotated[
        Path, typer.Argument(metavar="ENCODER.onnx", help="An encoder: images in, features out.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The ONNX file to write.")
    ],
    samples: Annotated[
        list[str],
        typer.Option(
            "--archive-sample",
            metavar="SOURCE",
            help="Imagery of the archive, to fit the hash layer to: files, folders, globs, or "
            "anything GDAL opens. May be given several times.",
        ),
    ],
    *,
    bits: Annotated[int, typer.Option(help="Code length: a multiple of 8.")] = 64,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Hashing method: {methods}. dcsh encodes each chip 8 times, itq once.",
        ),
    ] = "itq",
    card: Annotated[
        Path | None,
        typer.Option(
            "--encoder-card",
            metavar="FILE.json",
            help="The encoder's mean, std, size, layout, pooling. Default: ENCODER.onnx.json.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--encoder-set",
            metavar="NAME=VALUE",
            help="A field of that card, such as mean=0.5,0.5,0.5; repeatable.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the model. Default: the name of FILE.")
    ] = None,
    reader: Annotated[Callable[[Sources, str], Reading], Parsed(read)],
    limit: Annotated[
        int | None,
        options.reading_option(
            min=2, metavar="CHIPS", help="At most this many chips, drawn at random. Default: all."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    cache: Cache = None,
    device: options.Device = "auto",
) -> None:
    """Make a model of an encoder: fit a hash layer to a sample of an archive, and join both in one file.

    The same as 'dcsh-pg train --encoder onnx:ENCODER.onnx' and 'dcsh-pg export'.

    [dim]dcsh-pg wrap clay.onnx --archive-sample /data/naip --out model.onnx[/dim]
    """
    check_writable(out)
    with requires("train", "wrap an encoder"):
        from dcsh_pg.export import export_run
        from dcsh_pg.learning.model.device import choose as choose_device
        from dcsh_pg.learning.training.run import Run
        from dcsh_pg.train import train

    choice = choose(
        method=method, encoder=f"onnx:{encoder}", encoder_card=card, encoder_set=settings
    )(False)
    with tempfile.TemporaryDirectory(prefix="dcsh-pg-") as scratch, progress() as shown:
        folder = Path(scratch) / "run"
        run = Run(
            bits=bits,
            seed=seed,
            device=choose_device(device),
            cache=feature_cache(cache),
            folder=folder,
            progress=shown,
        )
        sources = Sources(samples, [])
        training_set = gathered(
            sources, reader(sources, choice.encoder), limit, seed, Path(scratch), shown
        )
        train(
            training_set,
            run,
            method=choice.method,
            encoder=choice.encoder,
            architecture=choice.architecture,
            options=choice.options,
        )
        made = export_run(folder, out, name=name or out.stem, progress=shown)
    say(f"learned from {len(training_set.images)} chips of {training_set.scenes} scenes")
    done(
        f"wrote {out}: {made.method}, {made.bits} bits, {made.encoder}\n"
        f"next: {command('dcsh-pg', 'ingest', 'ARCHIVE', 'SOURCE', '--model', out)}",
        file=out,
        card=dataclasses.asdict(made),
    )
    if training_set.failed:
        raise PartialSuccess(
            f"{len(training_set.failed)} scenes could not be read; the first: {training_set.failed[0]}",
            hint="the model is complete without them",
        )
