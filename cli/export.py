"""``dcsh-pg export``: a training run -> one model file.  Library: :func:`dcsh_pg.export.export_run`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from dcsh_pg.cli import app
from dcsh_pg.cli.console import command, done, progress, say
from dcsh_pg.errors import InputError
from dcsh_pg.extras import requires
from dcsh_pg.files import HASH_FUNCTION, check_writable, text_file


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
) -> None:
    """Export a trained hash function to one ONNX file, checked against PyTorch.

    [dim]dcsh-pg export runs/naip naip.onnx[/dim]
    """
    if not (run / HASH_FUNCTION).is_file():
        raise InputError(
            f"no hash function at {run / HASH_FUNCTION}", hint="make one with 'dcsh-pg train'"
        )
    check_writable(file)
    with requires("train", "export"):
        from dcsh_pg.export import export_run

    with progress() as shown:
        card = export_run(run, file, name=name, float16=float16, progress=shown)
    parity = card.parity
    say(
        f"parity: {parity['differing']} of {parity['bits']} bits differ from PyTorch "
        f"on {parity['images']} images ({parity['near_zero']} have |z| < "
        f"{parity['tolerance']:.2g} and may differ)"
    )
    if card.text:
        say(f"wrote {text_file(file)}, its text tower: keep both together")
    done(
        f"wrote {file}: {card.method}, {card.bits} bits, {card.encoder}, {card.precision}\n"
        f"next: {command('dcsh-pg', 'ingest', 'ARCHIVE', 'SOURCE', '--model', file)}",
        file=file,
        card=dataclasses.asdict(card),
    )
