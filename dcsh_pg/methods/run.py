"""A training run: from a training set to a folder with a hash function."""

from __future__ import annotations

import dataclasses
import json
import platform
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from dcsh_pg import __version__, methods
from dcsh_pg.codes import check_bits
from dcsh_pg.errors import UsageError
from dcsh_pg.files import check_writable
from dcsh_pg.learning.data.training_set import TrainingSet, band_statistics, digest
from dcsh_pg.learning.encoders import Encoder, find, load_weights
from dcsh_pg.learning.model import device as devices
from dcsh_pg.learning.model import hash_function as files
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.randomness import seeded
from dcsh_pg.learning.training.trainer import CHECKPOINT, LOG
from dcsh_pg.methods import settings
from dcsh_pg.progress import SILENT, Progress

HASH_FUNCTION = "hash_function.pt"


def train(
    training_set: TrainingSet,
    run: Path,
    *,
    method: str = "dcsh",
    bits: int = 64,
    encoder: str = "small",
    weights: str = "none",
    options: Any = None,
    seed: int = 0,
    device: str = "auto",
    cache: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> HashFunction:
    """Fits a method to a training set and writes ``run``/hash_function.pt.

    ``run`` also gets log.jsonl and, from methods that train in epochs, checkpoint.pt.

    Args:
        method: one of ``methods.NAMES``.
        bits: K.
        encoder, weights: see ``encoders.NAMES`` and ``encoders.load_weights``.  An encoder that
            learns from random weights standardises with the training set's own band statistics.
        options: the method's ``Options``; None is what ``choose_options`` gives.
        device: 'auto', 'cpu' or 'cuda'.
        cache: folder for features of frozen encoders.
        resume: go on from the checkpoint in ``run``, if there is one.
        overwrite: replace a finished or begun run in ``run``.

    Raises:
        UsageError: ``run`` already holds a run, or an option makes no sense.
        DcshError: whatever the method raises.
    """
    chosen = methods.get(method)
    check_run(run, resume=resume, overwrite=overwrite)
    check_bits(bits)
    options = options if options is not None else choose_options(method, weights=weights)
    images = training_set.images
    from_nothing = weights == "none" and find(encoder).learned
    mean, std = band_statistics(images) if from_nothing else (None, None)
    with seeded(seed):
        network = Encoder(encoder, bands=images.shape[3], mean=mean, std=std)
    load_weights(network, weights)
    began = time.monotonic()
    hash_function = chosen.fit(
        images,
        network,
        bits=bits,
        seed=seed,
        options=options,
        device=devices.choose(device),
        cache=cache,
        run=run,
        resume=resume,
        progress=progress,
    )
    training = {
        "images": len(images),
        "scenes": training_set.scenes,
        "digest": digest(images),
        "chip_size": images.shape[1],
        "resolution": training_set.resolution,
        "encoder_weights": network.weights,
        "options": dataclasses.asdict(options),
        "seed": seed,
        "result": json.loads((run / LOG).read_text().splitlines()[-1]),
        "seconds": round(time.monotonic() - began, 1),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "dcsh-pg": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }
    files.save(run / HASH_FUNCTION, hash_function, training)
    return hash_function


def check_run(run: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Tells before any work is done whether ``train`` may write to ``run``.

    Raises:
        UsageError: it already holds a run, and neither ``resume`` nor ``overwrite`` is given.
        OutputError: it cannot be written to.
    """
    if not (resume or overwrite) and any(
        (run / name).exists() for name in (HASH_FUNCTION, CHECKPOINT)
    ):
        raise UsageError(
            f"{run} already holds a training run",
            hint="go on with it (--resume), replace it (--overwrite) or choose another --out",
        )
    check_writable(run / HASH_FUNCTION)


def choose_options(
    method: str, *, weights: str = "none", freeze: bool | None = None, **given: Any
) -> Any:
    """A method's ``Options``: the defaults for this way of training, and what is given.

    DCSH has three sets of defaults: for the head alone on features of an encoder that stays as it
    is, for an encoder from random weights, and the paper's, for fine-tuning.  The other methods
    always leave the encoder as it is.

    Args:
        freeze: whether DCSH trains the head alone; None does where there are weights.
        given: fields of the options; None leaves the default.

    Raises:
        UsageError: the method has no such option, or the value makes no sense.
    """
    kind = methods.get(method).Options
    if method == "dcsh":
        freeze = weights != "none" if freeze is None else freeze
        defaults = kind.frozen() if freeze else kind.from_scratch() if weights == "none" else kind()
    else:
        defaults = kind()
    changes = {name: value for name, value in given.items() if value is not None}
    for name in changes:
        settings.check_known(method, name)
    options = dataclasses.replace(defaults, **changes)
    options.check()
    return options
