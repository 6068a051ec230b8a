"""``dcsh-pg export``: a training run -> one model file.  Library: :func:`dcsh_pg.export.export_run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import progress, say
from dcsh_pg.errors import DcshError


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that 'dcsh-pg train' wrote.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The ONNX file to write.")],
    name: Annotated[
        str | None,
        typer.Option(help="What to call the model. Default: the run's folder.", show_default=False),
    ] = None,
    float16: Annotated[
        bool,
        typer.Option(
            "--float16",
            help="Half-precision encoder: half the size, faster on a GPU, not on a CPU.",
        ),
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a trained hash function as one ONNX file, checked against PyTorch.

    [dim]dcsh-pg export runs/naip naip.onnx[/dim]
    """
    try:
        from dcsh_pg.export import export_run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dcsh_pg"):
            raise
        raise DcshError(
            f"export needs {error.name}, which is not installed",
            hint="pip install 'dcsh-pg[train]'",
        ) from None

    with progress(quiet=quiet) as shown:
        card = export_run(run, file, name=name, float16=float16, progress=shown)
    parity = card.parity
    say(
        f"parity: {parity['differing']} of {parity['bits']} bits differ from PyTorch "
        f"on {parity['images']} images ({parity['near_zero']} have |z| < "
        f"{parity['tolerance']:.2g}, where they may)"
    )
    say(f"wrote {file}: {card.method}, {card.bits} bits, {card.encoder}, {card.precision}")
    say(f"next: dcsh-pg ingest ARCHIVE SOURCE --model {file}")
