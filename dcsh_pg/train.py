"""A training run: from a training set to a folder with a hash function."""

from __future__ import annotations

import dataclasses
import json
import platform
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch

from dcsh_pg import __version__, methods
from dcsh_pg.errors import UsageError
from dcsh_pg.files import check_writable
from dcsh_pg.learning.data.captions import CAPTIONS
from dcsh_pg.learning.data.training_set import (
    TrainingSet,
    band_statistics,
    digest,
    pixel_range,
)
from dcsh_pg.learning.encoders import Architecture, Encoder, find, from_onnx, load_weights, vector
from dcsh_pg.learning.model import hash_function as files
from dcsh_pg.learning.model.hash_function import HASH_FUNCTION, HashFunction
from dcsh_pg.learning.training.options import MethodOptions
from dcsh_pg.learning.training.randomness import seeded
from dcsh_pg.learning.training.run import Run
from dcsh_pg.learning.training.trainer import CHECKPOINT, LOG
from dcsh_pg.pixel_types import PixelRange
from dcsh_pg.text import open_tokenizer, tokenize

ALIGNED = 2000
"""Most images whose mean stands for that of all."""


def train(
    training_set: TrainingSet,
    run: Run,
    *,
    method: str = "dcsh",
    encoder: str = "small",
    weights: str = "none",
    architecture: Architecture | None = None,
    options: MethodOptions | None = None,
    captions: Sequence[str] = CAPTIONS,
    overwrite: bool = False,
) -> HashFunction:
    """Fits a method to a training set and writes hash_function.pt to the run's folder.

    The folder also gets log.jsonl and, from methods that train in epochs, checkpoint.pt.

    Args:
        method: see ``methods.get``.
        encoder, weights: see ``encoders.find`` and ``encoders.load_weights``; ``vector`` for
            embeddings and for nothing else.  An encoder that learns from random weights, or takes
            images of another type than uint8, standardises with the training set's own band statistics.
        architecture: of the encoder; None is what ``encoders.find`` gives.
        options: the method's ``Options``; None is what ``methods.choose_options`` gives.
        captions: texts whose mean stands for that of all, of an encoder with a text tower.
        overwrite: replace a run that the folder already has.

    Raises:
        UsageError: the run has no folder, or one that already has a run; see ``check_folder``.  Or
            embeddings are given to another encoder, images to ``vector``, or the method's options
            need images.
        DcshError: as the method does.
    """
    folder = run.folder
    if folder is None:
        raise UsageError("a training run needs a folder", hint="give Run(folder=...)")
    check_folder(folder, resume=run.resume, overwrite=overwrite)
    options = options or methods.choose_options(method, weights=weights)
    images = training_set.images
    architecture = architecture or find(encoder)
    _check_input(images, encoder, architecture, options)
    pixels, mean, std = _standardisation(images, architecture, weights)
    with seeded(run.seed):
        network = Encoder(
            encoder,
            bands=images.shape[-1],
            mean=mean,
            std=std,
            architecture=architecture,
            pixels=pixels.config if pixels else None,
        )
    load_weights(network, weights)
    network.weights = from_onnx.digest(network.body) or network.weights
    began = time.monotonic()
    hash_function = methods.get(method).fit(images, network, options, run)
    if hash_function.encoder.text is not None:
        align_text(hash_function.encoder, images, captions, run)
    training = {
        "images": len(images),
        "scenes": training_set.scenes,
        "digest": digest(images),
        "chip_size": training_set.pooled or images.shape[1],
        "resolution": training_set.resolution,
        "embedding": training_set.embedding,
        "encoder_weights": network.weights,
        "options": dataclasses.asdict(options),
        "seed": run.seed,
        "result": json.loads((folder / LOG).read_text().splitlines()[-1]),
        "seconds": round(time.monotonic() - began, 1),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "dcsh-pg": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }
    if training_set.band_names:
        training["band_names"] = list(training_set.band_names)
    if training_set.preset:
        training["preset"] = training_set.preset
    files.save(folder / HASH_FUNCTION, hash_function, training)
    return hash_function


def _standardisation(
    images: np.ndarray, architecture: Architecture, weights: str
) -> tuple[PixelRange | None, tuple[float, ...] | None, tuple[float, ...] | None]:
    """The range of the images, and the mean and standard deviation of each band in it; None for the
    encoder's own."""
    if images.ndim == 2:
        return None, None, None
    pixels = pixel_range(images, is_linear=architecture.stored is not None)
    if pixels.is_typed and architecture.stored is not None:
        return pixels, *_rescaled(pixels, *architecture.stored)
    if not architecture.learned or (weights != "none" and not pixels.is_typed):
        return pixels, None, None
    return pixels, *band_statistics(images, pixels)


def _rescaled(
    pixels: PixelRange, mean: Sequence[float], std: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of stored values, as those of values scaled to 0..1 in their range."""
    spans = [high - low for low, high in zip(pixels.low, pixels.high, strict=True)]
    means = [(m - low) / span for m, low, span in zip(mean, pixels.low, spans, strict=True)]
    return tuple(means), tuple(s / span for s, span in zip(std, spans, strict=True))


@torch.no_grad()
def align_text(encoder: Encoder, images: np.ndarray, captions: Sequence[str], run: Run) -> None:
    """Takes out the mean of each tower, over at most ``ALIGNED`` images and over the captions."""
    assert encoder.text is not None and encoder.architecture.tokenizer is not None
    of_images = run.features(images[:: max(1, len(images) // ALIGNED)], encoder)[:, 0]
    encoder.cpu()
    tokenizer = open_tokenizer(encoder.architecture.tokenizer())
    length = len(tokenizer.encode("").ids)
    tokens = torch.from_numpy(tokenize(tokenizer, list(captions), length, encoder.name))
    of_texts = torch.cat([encoder.body.encode_text(part) for part in tokens.split(64)])
    encoder.text.fit(of_images, of_texts)


def _check_input(
    images: np.ndarray, encoder: str, architecture: Architecture, options: MethodOptions
) -> None:
    takes_vectors = encoder == vector.NAME
    if takes_vectors != (images.ndim == 2):
        raise UsageError(
            f"the encoder {encoder} takes {'embeddings' if takes_vectors else 'images'}",
            hint="give --embeddings SOURCE" if takes_vectors else "leave out --encoder",
        )
    if architecture.tokenizer is not None and options.trains_encoder:
        raise UsageError(
            f"training {encoder} would move images away from its texts",
            hint="leave out --fine-tune: only its head is trained",
        )
    if encoder.startswith(from_onnx.PREFIX) and options.trains_encoder:
        raise UsageError(
            "an ONNX encoder cannot be trained",
            hint="leave out --fine-tune: only its head is trained",
        )
    if takes_vectors and (options.orientations != 1 or options.trains_encoder):
        raise UsageError(
            "embeddings have no orientations and no encoder to train",
            hint="leave out --orientations and --fine-tune",
        )


def check_folder(folder: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Checks that ``train`` may write to a folder.

    Raises:
        UsageError: it already has a run, and neither ``resume`` nor ``overwrite`` is given.
        OutputError: it cannot be written to.
    """
    if not (resume or overwrite) and any(
        (folder / name).exists() for name in (HASH_FUNCTION, CHECKPOINT)
    ):
        raise UsageError(
            f"{folder} already has a training run",
            hint="resume it (--resume), replace it (--overwrite) or choose another --out",
        )
    check_writable(folder / HASH_FUNCTION)
