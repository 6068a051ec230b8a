"""``dcsh-pg export``: a training run -> one model file.  Library: :func:`dcsh_pg.export.export_run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import progress, say
from dcsh_pg.cli.learning import requires


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that 'dcsh-pg train' wrote.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The ONNX file to write.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the model. Default: the name of the run's folder.")
    ] = None,
    float16: Annotated[
        bool,
        typer.Option(
            "--float16",
            help="Half-precision encoder: half the size, and faster on a GPU but not on a CPU.",
        ),
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Export a trained hash function to one ONNX file, checked against PyTorch.

    [dim]dcsh-pg export runs/naip naip.onnx[/dim]
    """
    with requires("export", "train"):
        from dcsh_pg.export import export_run

    with progress(quiet=quiet) as shown:
        card = export_run(run, file, name=name, float16=float16, progress=shown)
    parity = card.parity
    say(
        f"parity: {parity['differing']} of {parity['bits']} bits differ from PyTorch "
        f"on {parity['images']} images ({parity['near_zero']} have |z| < "
        f"{parity['tolerance']:.2g} and may differ)"
    )
    say(f"wrote {file}: {card.method}, {card.bits} bits, {card.encoder}, {card.precision}")
    say(f"next: dcsh-pg ingest ARCHIVE SOURCE --model {file}")
