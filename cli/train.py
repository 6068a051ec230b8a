"""``dcsh-pg train``: imagery -> a hash function.  Library: :func:`dcsh_pg.methods.run.train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dcsh_pg.cli import app, options
from dcsh_pg.cli.console import progress, say

_WHAT = "What is trained"
_HOW = "How it is trained (each default depends on the way of training)"
_RUN = "Running"


@app.command()
def train(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Imagery to learn from, without labels: files, folders (searched through), globs, "
            "or anything GDAL opens.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", help="Folder of this training run.")
    ],
    method: Annotated[
        Literal["dcsh", "spl_udh", "psch", "itq", "lsh", "dsh", "kulsh", "prh", "plsh"],
        typer.Option(
            metavar="METHOD",
            help="dcsh: deep and contrastive. spl_udh, psch: deep, from pseudo-labels (our "
            "reconstructions). itq, lsh, dsh, kulsh, prh, plsh: classic, seconds. All but dcsh "
            "leave the encoder as it is and need one with weights, or gist.",
            rich_help_panel=_WHAT,
        ),
    ] = "dcsh",
    bits: Annotated[
        int, typer.Option(help="Length of a code: a multiple of 8.", rich_help_panel=_WHAT)
    ] = 64,
    encoder: Annotated[
        str,
        typer.Option(
            help="small (trains from nothing on a CPU), resnet18, resnet50 (the paper's), "
            "resnet50-layer3, resnet50-v1-layer3, densenet169, vgg16-fc6, vgg16-fc7, gist (needs "
            "no weights), dinov2_vits14, dinov2_vitb14, or timm:NAME.",
            rich_help_panel=_WHAT,
        ),
    ] = "small",
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="none|pretrained|FILE",
            help="What the encoder starts from: random weights, the published ones (downloaded), "
            "or a PyTorch state dict. Default: none for small and gist, pretrained for the others.",
            rich_help_panel=_WHAT,
            show_default=False,
        ),
    ] = None,
    freeze: Annotated[
        bool | None,
        typer.Option(
            "--freeze/--fine-tune",
            help="Leave the encoder as it is and train the hash layer on its features: minutes on "
            "a CPU; or train it too, as the paper does: wants a GPU. Default: --freeze where it "
            "has weights. The classic methods always leave it as it is.",
            rich_help_panel=_WHAT,
            show_default=False,
        ),
    ] = None,
    orientations: Annotated[
        int | None,
        typer.Option(
            help="Average z over 1, 4 or 8 orientations of an image: codes that depend less on "
            "where north is, for as many times the work to hash. Default: 1.",
            rich_help_panel=_WHAT,
            show_default=False,
        ),
    ] = None,
    chip_size: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Width and height of a chip. Default: 128 of rasters, whole pictures.",
            rich_help_panel=options.READING,
            show_default=False,
        ),
    ] = None,
    bands: options.Bands = None,
    scale: options.Scale = None,
    raw_values: options.RawValues = False,
    min_valid: Annotated[
        float,
        typer.Option(
            metavar="FRACTION",
            help="Leave out chips with fewer valid pixels than this.",
            rich_help_panel=options.READING,
        ),
    ] = 0.5,
    limit: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="CHIPS",
            help="Learn from at most so many chips, drawn by --seed. Default: all.",
            rich_help_panel=options.READING,
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the chips. Default: 100, or 30 without weights.",
            rich_help_panel=_HOW,
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Chips in a step, each with two views. Default: 64.",
            rich_help_panel=_HOW,
            show_default=False,
        ),
    ] = None,
    encoder_lr: Annotated[
        float | None,
        typer.Option(
            help="Learning rate of the encoder. Default: 1e-5, or 1e-3 without weights.",
            rich_help_panel=_HOW,
            show_default=False,
        ),
    ] = None,
    head_lr: Annotated[
        float | None,
        typer.Option(
            help="Learning rate of the hash layer. Default: 1e-4, or 1e-3 without weights or with "
            "--freeze.",
            rich_help_panel=_HOW,
            show_default=False,
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="Of the contrastive loss. Default: 0.3.", rich_help_panel=_HOW, show_default=False
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="Weight of the quantization loss. Default: 1.",
            rich_help_panel=_HOW,
            show_default=False,
        ),
    ] = None,
    quantization: Annotated[
        Literal["mean", "sum"] | None,
        typer.Option(
            help="How the quantization loss adds up over the bits; sum is the paper's formula as "
            "printed, and collapses. Default: mean.",
            rich_help_panel=_HOW,
            show_default=False,
        ),
    ] = None,
    batch_norm: Annotated[
        bool,
        typer.Option(
            "--batch-norm/--no-batch-norm",
            help="BatchNorm before tanh; the paper has none.",
            rich_help_panel=_HOW,
        ),
    ] = True,
    rotations: Annotated[
        bool,
        typer.Option(
            "--rotations/--no-rotations",
            help="Right-angle rotations and vertical flips among the views; the paper has none.",
            rich_help_panel=_HOW,
        ),
    ] = True,
    positives: Annotated[
        Literal["views", "neighbours", "clusters"] | None,
        typer.Option(
            help="What is to get like codes: an image's own views, or also the images most like "
            "it, or all of its k-means cluster, as the encoder sees them at the start. Default: "
            "views, or neighbours with --freeze.",
            rich_help_panel=_HOW,
            show_default=False,
        ),
    ] = None,
    neighbours: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many, with --positives neighbours. Default: 20.",
            rich_help_panel=_HOW,
            show_default=False,
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other option of the method, repeatable; a wrong name lists those that there "
            "are.",
            rich_help_panel=_HOW,
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.", rich_help_panel=_RUN)] = 0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the run in RUN after its last whole epoch; the weights end as if it "
            "had never stopped.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace the run in RUN.", rich_help_panel=_RUN),
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where features of frozen encoders are kept. Default: the user's cache folder.",
            rich_help_panel=_RUN,
            show_default=False,
        ),
    ] = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Learn a hash function from unlabelled imagery.

    Writes RUN/hash_function.pt, which 'dcsh-pg export' makes a model of, RUN/log.jsonl with the
    losses and bit balance of each epoch, and RUN/checkpoint.pt.

    [dim]dcsh-pg train /data/naip --out runs/naip[/dim]

    [dim]dcsh-pg train /data/naip --out runs/naip --encoder densenet169[/dim] (better codes, by far)
    """
    import tempfile

    from dcsh_pg.errors import DcshError, PartialSuccess, UsageError

    try:
        from dcsh_pg.learning.data.training_set import WHOLE_SIZE, gather
        from dcsh_pg.learning.encoders import find
        from dcsh_pg.methods import settings
        from dcsh_pg.methods.run import check_run, choose_options
        from dcsh_pg.methods.run import train as run_training
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dcsh_pg"):
            raise
        raise DcshError(
            f"training needs {error.name}, which is not installed",
            hint="pip install 'dcsh-pg[train]'",
        ) from error
    import platformdirs

    from dcsh_pg.imagery.metadata.options import SceneOptions
    from dcsh_pg.imagery.reading import Reading
    from dcsh_pg.imagery.sources.files import are_plain_pictures, find_scenes

    if resume and overwrite:
        raise UsageError(
            "--resume and --overwrite cannot be combined",
            hint="--resume goes on with the run, --overwrite begins it anew",
        )
    check_run(out, resume=resume, overwrite=overwrite)
    architecture = find(encoder)
    weights = weights or architecture.default_weights
    if freeze is None:
        freeze = weights != "none" or not architecture.learned
    named = {
        "freeze": freeze,
        "orientations": orientations,
        "epochs": epochs,
        "batch_size": batch_size,
        "encoder_lr": encoder_lr,
        "head_lr": head_lr,
        "temperature": temperature,
        "alpha": alpha,
        "quantization": quantization,
        "batch_norm": None if batch_norm else False,
        "rotations": None if rotations else False,
        "positives": positives,
        "neighbours": neighbours,
    }
    chosen = choose_options(
        method, weights=weights, **{**named, **settings.parse(method, setting or [])}
    )
    if weights == "none" and architecture.learned and (freeze or method != "dcsh"):
        say("the encoder keeps random weights, and its codes will be poor: give --weights")
    if chip_size is None and not are_plain_pictures(sources):
        chip_size = 128
    channels = options.parse_integers(bands, "--bands")
    reading = Reading(
        chip_size=chip_size,
        bands=channels,
        scale=options.parse_scale(scale),
        raw_values=raw_values,
        min_valid=min_valid,
    )
    scenes = find_scenes(
        sources,
        reading=reading,
        bands=len(channels) if channels else 3,
        options=SceneOptions(georeference=False),
    )
    with (
        tempfile.TemporaryDirectory(prefix="dcsh-pg-") as scratch,
        progress(quiet=quiet) as shown,
    ):
        training_set = gather(
            scenes,
            size=chip_size or WHOLE_SIZE,
            limit=limit,
            seed=seed,
            scratch=Path(scratch),
            progress=shown,
        )
        run_training(
            training_set,
            out,
            method=method,
            bits=bits,
            encoder=encoder,
            weights=weights,
            options=chosen,
            seed=seed,
            device=device,
            cache=cache or Path(platformdirs.user_cache_dir("dcsh-pg")) / "features",
            resume=resume,
            overwrite=overwrite,
            progress=shown,
        )
    say(f"learned from {len(training_set.images)} chips of {training_set.scenes} scenes")
    if training_set.skipped or training_set.failed:
        say(
            f"skipped {training_set.skipped} chips with too few valid pixels, "
            f"{len(training_set.failed)} scenes that could not be read"
        )
    say(f"wrote {out / 'hash_function.pt'}")
    say(f"next: dcsh-pg export {out} model.onnx")
    if training_set.failed:
        raise PartialSuccess(
            f"{len(training_set.failed)} of {len(scenes)} scenes could not be read; the first: "
            f"{training_set.failed[0]}",
            hint="the run is complete without them; to learn from them too, fix them and rerun the "
            "command with --overwrite",
        )
