"""``dcsh-pg train``: imagery -> a hash function.  Library: :func:`dcsh_pg.train.train`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dcsh_pg.cli import app, embedding_options, options
from dcsh_pg.cli.console import command, done, progress, say
from dcsh_pg.cli.expand import Parsed
from dcsh_pg.cli.learning import Cache, NamesInHelp, check_weights, feature_cache
from dcsh_pg.errors import PartialSuccess, UsageError
from dcsh_pg.extras import requires
from dcsh_pg.files import HASH_FUNCTION

if TYPE_CHECKING:
    from dcsh_pg.embeddings import Making, Using
    from dcsh_pg.imagery.reading import Reading
    from dcsh_pg.learning.data.training_set import TrainingSet
    from dcsh_pg.learning.encoders import Architecture
    from dcsh_pg.learning.training.options import MethodOptions
    from dcsh_pg.learning.training.run import Run
    from dcsh_pg.progress import Progress
else:  # typer evaluates the annotations, and these imports take numpy and torch
    Making = Reading = Run = Any

POOLED = 16
"""Default width and height in pixels of a chip over which rasters of embeddings are pooled."""

_model_option = partial(typer.Option, rich_help_panel="Model")
_training_option = partial(
    typer.Option, rich_help_panel="Training (defaults depend on the method and the weights)"
)
_run_option = partial(typer.Option, rich_help_panel="Run")


@dataclass(frozen=True)
class Choice:
    """A method with its options, and an encoder with its weights."""

    method: str
    encoder: str
    architecture: Architecture
    weights: str
    options: MethodOptions


@dataclass(frozen=True)
class Sources:
    """Imagery, in files or in STAC items, or embeddings."""

    imagery: list[str]
    embeddings: list[str]
    stac: str | None = None


def existing(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Unlabelled imagery: files, folders (searched recursively), globs, or anything "
            "GDAL opens. Omit with --embeddings.",
        ),
    ] = None,
    stac: options.Stac = None,
    embeddings: embedding_options.Embeddings = None,
) -> Sources:
    """Sources that exist and contain images, or embeddings."""
    from dcsh_pg.imagery.sources.files import files_listing

    given = {"SOURCE": sources, "--stac": stac, "--embeddings": embeddings}
    kinds = [kind for kind, value in given.items() if value]
    if len(kinds) != 1:
        raise UsageError(
            f"{' and '.join(kinds)} cannot be combined" if kinds else "nothing to train on",
            hint="give at least one SOURCE, --stac FILE|DIR|URL or --embeddings SOURCE",
        )
    if sources:
        files_listing(sources)
    return Sources(sources or [], embeddings or [], stac)


def choose(
    method: Annotated[
        str | None,
        _model_option(
            metavar="NAME",
            help="Hashing method: {methods}. All but dcsh leave the encoder as it is, and need one "
            "with weights, or gist. Default: dcsh, for embeddings itq.",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        _model_option(
            metavar="NAME",
            help="Network that turns an image into features: {encoders}. small trains from random "
            "weights on a CPU, gist needs no weights, resnet50 is that of the DCSH paper. "
            "onnx:FILE is any network as an ONNX file, with its card FILE.json (docs/encoders.md). "
            "Default: small.",
        ),
    ] = None,
    encoder_card: Annotated[
        Path | None,
        _model_option(
            metavar="FILE.json",
            help="Card of --encoder onnx:FILE: its mean, std, size, layout, pooling. Default: "
            "FILE.json beside it.",
        ),
    ] = None,
    encoder_set: Annotated[
        list[str] | None,
        _model_option(
            metavar="NAME=VALUE",
            help="A field of that card, such as mean=0.5,0.5,0.5; repeatable.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        _model_option(
            metavar="none|pretrained|FILE",
            help="Initial weights of the encoder: random, published (downloaded), or a PyTorch "
            "state dict. Default: none for small and gist, pretrained for the others.",
        ),
    ] = None,
    freeze: Annotated[
        bool | None,
        _model_option(
            "--freeze/--fine-tune",
            help="Train the hash layer alone on features of the encoder, minutes on a CPU; or "
            "train the encoder too, as the DCSH paper does, which needs a GPU. Default: --freeze if the "
            "encoder has weights. Only dcsh can fine-tune.",
        ),
    ] = None,
    orientations: Annotated[
        int | None,
        _model_option(
            metavar="1|4|8",
            help="Average the hash layer's output over this many orientations of an image: codes "
            "depend less on where north is, and hashing takes that many times longer. Default: 1.",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        _training_option(
            help="Passes over the chips. Default of dcsh: 100, or 30 without weights."
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        _training_option(help="Chips in a step, two views of each. Default of dcsh: 64."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        _training_option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other option of the method, such as temperature=0.2; repeatable. An unknown "
            "name lists them; docs/methods.md explains them.",
        ),
    ] = None,
) -> Callable[[bool], Choice]:
    """The options of a method and of its encoder, for embeddings or for images."""
    if weights is not None:
        check_weights(weights)
    given = {"orientations": orientations, "epochs": epochs, "batch_size": batch_size}
    card = (encoder_card, encoder_set or [])
    return partial(_choice, method, encoder, card, weights, freeze, given, setting or [])


def _choice(
    method: str | None,
    encoder: str | None,
    card: tuple[Path | None, list[str]],
    weights: str | None,
    freeze: bool | None,
    given: dict[str, Any],
    settings: list[str],
    takes_vectors: bool,
) -> Choice:
    method = method or ("itq" if takes_vectors else "dcsh")
    encoder = encoder or ("vector" if takes_vectors else "small")
    with requires("train", "train"):
        from dcsh_pg import methods
        from dcsh_pg.learning.encoders import find, from_onnx

        kind = methods.get(method).Options
        if encoder.startswith(from_onnx.PREFIX):
            architecture = from_onnx.find(encoder.removeprefix(from_onnx.PREFIX), *card)
        elif any(card):
            raise UsageError(
                "--encoder-card and --encoder-set are of an ONNX file",
                hint="add --encoder onnx:FILE",
            )
        else:
            architecture = find(encoder)
    weights = weights or architecture.default_weights
    if freeze is None:
        freeze = weights != "none" or not architecture.learned
    given |= kind.parse(settings)
    chosen = methods.choose_options(method, weights=weights, freeze=freeze, **given)
    if weights == "none" and architecture.learned and not chosen.trains_encoder:
        say("the encoder keeps random weights, and its codes will be poor: give --weights")
    return Choice(method, encoder, architecture, weights, chosen)


def read(
    chip_size: Annotated[
        int | None,
        options.reading_option(
            metavar="PIXELS",
            help="Width and height of a chip. Default: 128 for rasters, whole pictures.",
        ),
    ] = None,
    bands: options.Bands = None,
    scale: options.Scale = None,
    raw_values: options.RawValues = False,
    dtype: Annotated[
        str | None,
        options.reading_option(
            metavar="TYPE",
            help="Type of the pixels that the model takes: uint8, to which other data are stretched by "
            "--scale, or int8, uint16, int16 or float32 with all their depth. Default: that of the "
            "imagery; uint8 with --scale and for ONNX encoders.",
        ),
    ] = None,
    nodata: options.Nodata = None,
    preset: options.Preset = None,
    mask: options.MaskBand = None,
    resolution: options.Resolution = None,
    min_valid: Annotated[
        float,
        options.reading_option(
            metavar="FRACTION", help="Skip chips with a smaller fraction of valid pixels."
        ),
    ] = 0.5,
) -> Callable[[Sources, str], Reading]:
    """How scenes are cut into chips, of embeddings or of images."""
    from dcsh_pg.imagery.presets import PRESETS, preset_fields
    from dcsh_pg.imagery.reading import PoolingReading, Reading
    from dcsh_pg.imagery.sources.files import native_type

    def read(sources: Sources, encoder: str) -> Reading:
        fields: dict[str, Any] = preset_fields(preset) if preset else {}
        given = {
            "bands": options.parse_bands(bands),
            "nodata": nodata,
            "mask": options.parse_mask(mask),
        }
        fields |= {name: value for name, value in given.items() if value is not None}
        if mask == "none":
            fields["mask"] = None
        chosen = dtype
        if sources.embeddings or scale is not None or encoder.startswith("onnx:"):
            chosen = chosen or "uint8"
        elif preset is not None:
            chosen = chosen or PRESETS[preset].dtype
        elif sources.stac is not None and chosen is None:
            raise UsageError(
                "--stac needs --dtype or --preset",
                hint="--dtype uint8 stretches all data to 8 bits",
            )
        return (PoolingReading if sources.embeddings else Reading)(
            chip_size=chip_size,
            scale=options.parse_scale(scale),
            raw_values=raw_values,
            min_valid=min_valid,
            dtype=chosen or native_type(sources.imagery, raw_values=raw_values),
            resolution=resolution,
            **fields,
        )

    return read


@dataclass(frozen=True)
class Items:
    """Which assets of STAC items are read."""

    asset: str | None = None
    collection: str | None = None
    sign: Callable[..., Any] | None = None


def choose_items(
    asset: options.Asset = None,
    collection: options.Collection = None,
    sign: options.Sign = None,
) -> Items:
    """The assets of --stac."""
    return Items(asset, collection, options.parse_function(sign, "--sign"))


def start(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", help="Output folder of this training run.")
    ],
    bits: Annotated[int, _model_option(help="Code length: a multiple of 8.")] = 64,
    seed: Annotated[int, _run_option(help="Random seed.")] = 0,
    resume: Annotated[
        bool,
        _run_option(
            "--resume",
            help="Resume the run in RUN after its last complete epoch; the weights end as those of "
            "an uninterrupted run.",
        ),
    ] = False,
    overwrite: Annotated[bool, _run_option("--overwrite", help="Replace the run in RUN.")] = False,
    cache: Cache = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        _run_option(
            metavar="auto|float32|bfloat16",
            help="Precision of the features of a frozen encoder. auto is bfloat16 where the GPU or "
            "processor has matrix units for it, else float32.",
        ),
    ] = "auto",
    device: options.Device = "auto",
) -> Run:
    """A run in a folder that may be written to."""
    if resume and overwrite:
        raise UsageError(
            "--resume and --overwrite cannot be combined",
            hint="--resume continues the run, --overwrite starts a new one",
        )
    with requires("train", "train"):
        from dcsh_pg.learning.model.device import choose as choose_device
        from dcsh_pg.learning.training.run import Run
        from dcsh_pg.train import check_folder

    check_folder(out, resume=resume, overwrite=overwrite)
    return Run(
        bits=bits,
        seed=seed,
        device=choose_device(device),
        cache=feature_cache(cache),
        precision=precision,
        folder=out,
        resume=resume,
    )


@app.command(cls=NamesInHelp)
def train(
    sources: Annotated[Sources, Parsed(existing)],  # before the others, which load torch
    *,
    chooser: Annotated[Callable[[bool], Choice], Parsed(choose)],
    reader: Annotated[Callable[[Sources, str], Reading], Parsed(read)],
    items: Annotated[Items, Parsed(choose_items)],
    making: Annotated[Making, Parsed(embedding_options.making)],
    embedding_column: embedding_options.EmbeddingColumn = None,
    limit: Annotated[
        str,
        options.reading_option(
            metavar="auto|all|CHIPS",
            help="Learn from at most this many chips, drawn evenly over the scenes. auto is 5,000 "
            "on a CPU, 50,000 on a GPU, and 100,000 embeddings.",
        ),
    ] = "auto",
    captions: Annotated[
        Path | None,
        _training_option(
            metavar="FILE",
            help="Texts, one a line, whose mean stands for that of all, of an encoder with a text "
            "tower. Default: captions of landscapes.",
        ),
    ] = None,
    run: Annotated[Run, Parsed(start)],
) -> None:
    """Train a hash function on unlabelled imagery, or on embeddings.

    Writes RUN/hash_function.pt, the input of 'dcsh-pg export', RUN/log.jsonl with the losses and
    bit balance of each epoch, and RUN/checkpoint.pt.

    [dim]dcsh-pg train /data/naip --out runs/naip[/dim]

    [dim]dcsh-pg train /data/naip --out runs/naip --encoder densenet169[/dim] (far better codes)
    """
    import tempfile

    from dcsh_pg.learning.data.captions import read_captions
    from dcsh_pg.train import train as run_training

    texts = read_captions(captions)
    takes_vectors = bool(sources.embeddings)
    choice = chooser(takes_vectors)
    reading = reader(sources, choice.encoder)
    largest = _largest(limit, takes_vectors, run)
    with tempfile.TemporaryDirectory(prefix="dcsh-pg-") as scratch, progress() as shown:
        if takes_vectors:
            using = _using(reading, making, embedding_column)
            training_set = _sampled(sources.embeddings, using, largest, run.seed, shown)
        else:
            training_set = gathered(
                sources, reading, largest, run.seed, Path(scratch), shown, items=items
            )
        run_training(
            training_set,
            dataclasses.replace(run, progress=shown),
            method=choice.method,
            encoder=choice.encoder,
            architecture=choice.architecture,
            weights=choice.weights,
            options=choice.options,
            captions=texts,
            overwrite=True,
        )
    say(f"learned from {len(training_set.images)} chips of {training_set.scenes} scenes")
    if training_set.skipped or training_set.failed:
        say(
            f"skipped {training_set.skipped} chips with too few valid pixels, "
            f"{len(training_set.failed)} scenes that could not be read"
        )
    done(
        f"wrote {run.folder}/{HASH_FUNCTION}\n"
        f"next: {command('dcsh-pg', 'export', run.folder, 'model.onnx')}",
        run=run.folder,
        chips=len(training_set.images),
        scenes=training_set.scenes,
        skipped=training_set.skipped,
        failed=training_set.failed,
    )
    if training_set.failed:
        scenes = training_set.scenes + len(training_set.failed)
        raise PartialSuccess(
            f"{len(training_set.failed)} of {scenes} scenes could not be read; the first: "
            f"{training_set.failed[0]}",
            hint="the run is complete without them; to learn from them too, fix them and rerun the "
            "command with --overwrite",
        )


def gathered(
    sources: Sources,
    reading: Reading,
    limit: int | None,
    seed: int,
    scratch: Path,
    progress: Progress,
    *,
    items: Items | None = None,
) -> TrainingSet:
    """The chips of imagery to learn from."""
    from dcsh_pg.imagery.metadata.options import SceneOptions
    from dcsh_pg.imagery.sources.files import are_plain_pictures, find_scenes
    from dcsh_pg.imagery.sources.listed import listed_scenes
    from dcsh_pg.imagery.sources.stac import stac_listing
    from dcsh_pg.learning.data.training_set import WHOLE_SIZE, gather

    if reading.chip_size is None and (sources.stac or not are_plain_pictures(sources.imagery)):
        reading = dataclasses.replace(reading, chip_size=128)
    bands = len(reading.bands) if reading.bands else 3
    items = items or Items()
    opened = SceneOptions(georeference=False, sign=items.sign)
    if sources.stac is None:
        scenes = find_scenes(sources.imagery, reading=reading, bands=bands, options=opened)
    else:
        listed = stac_listing(
            sources.stac,
            asset=items.asset,
            collection=items.collection,
            reading=reading,
            progress=progress,
        )
        scenes = listed_scenes(listed, reading=reading, bands=bands, options=opened)
    return gather(
        scenes,
        size=reading.chip_size or WHOLE_SIZE,
        limit=limit,
        seed=seed,
        scratch=scratch,
        progress=progress,
    )


def _largest(limit: str, takes_vectors: bool, run: Run) -> int | None:
    """The largest number of chips to learn from; None for all."""
    from dcsh_pg.embeddings.sample import LIMIT
    from dcsh_pg.learning.data.training_set import LIMITS

    if limit == "all":
        return None
    if limit == "auto":
        return LIMIT if takes_vectors else LIMITS[run.device.type]
    if not limit.isdecimal() or int(limit) < 2:
        raise UsageError(
            f"--limit {limit} is invalid", hint="give auto, all or a number of at least 2"
        )
    return int(limit)


def _using(reading: Reading, making: Making, column: str | None) -> Using:
    from dcsh_pg.embeddings import Columns, Using
    from dcsh_pg.imagery.metadata.options import SceneOptions

    if reading.chip_size is None:
        reading = dataclasses.replace(reading, chip_size=POOLED)
    options = SceneOptions(georeference=False)
    return Using(making, reading, Columns(embedding=column), options)


def _sampled(
    sources: list[str], using: Using, limit: int | None, seed: int, progress: Progress
) -> TrainingSet:
    from dcsh_pg.embeddings import find_embeddings
    from dcsh_pg.embeddings.sample import sample
    from dcsh_pg.learning.data.training_set import TrainingSet

    found = sample(
        find_embeddings(sources, using), limit=limit or sys.maxsize, seed=seed, progress=progress
    )
    return TrainingSet(
        found.values,
        scenes=found.files,
        skipped=found.skipped,
        failed=found.failed,
        pooled=using.reading.chip_size,
        embedding=using.making.to_json(),
    )
