"""What deep methods share that train a hash layer in epochs on features of a frozen encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from dcsh_pg.errors import TrainingError, UsageError
from dcsh_pg.learning.data.feature_pairs import FeaturePairs
from dcsh_pg.learning.data.features import FeatureCache, encoder_digest, extract, fixed_views
from dcsh_pg.learning.data.training_set import digest
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training import schedule
from dcsh_pg.learning.training.closed_form import check_orientations
from dcsh_pg.learning.training.optimizer import adam
from dcsh_pg.learning.training.randomness import seeded
from dcsh_pg.learning.training.trainer import Loop, train
from dcsh_pg.progress import SILENT, Progress

ORIENTATIONS = range(8)
"""The views: the image as it lies, its right-angle rotations, and their mirror images."""


@dataclass(frozen=True)
class HeadTraining:
    """Options of every method that trains a hash layer so; a method adds its own.

    Attributes:
        epochs: passes over the images.
        batch_size: M, images in a step, two views of each.
        alpha: weight of the quantization loss.
        batch_norm: BatchNorm1d after the last Linear; folded away on export.
        hidden: width of the first layer of the head.
        l2_normalize: features are scaled to unit length before the head.
        head_lr: learning rate of Adam.
        lr_decay: 'none', or 'cosine' down towards 0.
        orientations: 1, 4 or 8 orientations of the image over which the hash function averages z.
    """

    epochs: int = 50
    batch_size: int = 128
    alpha: float = 0.1
    batch_norm: bool = True
    hidden: int = 1024
    l2_normalize: bool = True
    head_lr: float = 1e-3
    lr_decay: Literal["none", "cosine"] = "cosine"
    orientations: int = 1

    def check(self) -> None:
        """Raises UsageError where a value cannot mean anything; the message names the option."""
        if self.epochs < 1 or self.batch_size < 2:
            raise UsageError(
                f"--epochs {self.epochs} with --batch-size {self.batch_size} trains nothing",
                hint="give --epochs of 1 or more and --batch-size of 2 or more",
            )
        if self.hidden < 1:
            raise UsageError(f"--hidden {self.hidden} is no layer", hint="give 1 or more")
        if not self.head_lr > 0:
            raise UsageError(f"--head-lr {self.head_lr} teaches nothing", hint="give more than 0")
        if self.lr_decay not in ("none", "cosine"):
            raise UsageError(
                f"--lr-decay {self.lr_decay} is not known", hint="one of: none, cosine"
            )
        check_weights(alpha=self.alpha)
        check_orientations(self.orientations)


def check_weights(**weights: float) -> None:
    """Raises UsageError where a weight of a term of the loss is below 0."""
    for name, value in weights.items():
        if not value >= 0:
            raise UsageError(f"{name}={value} is no weight of a loss", hint="give 0 or more")


def train_head(
    images: np.ndarray,
    encoder: Encoder,
    make_objective: Callable[[Tensor], nn.Module],
    *,
    method: str,
    bits: int,
    seed: int,
    options: HeadTraining,
    device: torch.device | str,
    cache: FeatureCache | Path | None,
    run: Path | None,
    resume: bool,
    progress: Progress = SILENT,
) -> HashFunction:
    """Trains a hash layer; the encoder stays as it is.

    Args:
        images: uint8 (N, S, S, C).
        make_objective: features float32 (N, 8, dim), on ``device`` -> an objective of
            ``trainer.train`` whose parameters are trained along with the hash layer.  What it
            draws must follow the seed alone: it is called again on resume.
        method, bits, seed, options, device, cache, run, resume: as in every method's ``fit``.

    Returns:
        The hash function, on the CPU and in evaluation mode.

    Raises:
        UsageError, TrainingError, InputError, OutputError: see ``trainer.train``.
    """
    options.check()
    device = torch.device(device)
    if len(images) < 2:
        raise TrainingError(
            f"too few images to train on: {len(images)}",
            hint="give more imagery, or smaller chips with --chip-size",
        )
    features = torch.from_numpy(
        extract(
            images,
            encoder,
            views=fixed_views(ORIENTATIONS),
            cache=cache,
            device=device,
            progress=progress,
        )
    ).to(device)
    with seeded(seed):
        head = MLPHead(
            encoder.dim,
            bits,
            hidden=(options.hidden,),
            batch_norm=options.batch_norm,
            l2_normalize=options.l2_normalize,
        ).to(device)
        objective = make_objective(features).to(device)
    learned = [*head.parameters(), *objective.parameters()]
    train(
        nn.Identity(),
        head,
        FeaturePairs(features),
        objective,
        adam([{"params": learned, "lr": options.head_lr}], device),
        Loop(
            epochs=options.epochs,
            batch_size=options.batch_size,
            seed=seed,
            beta=lambda epoch: schedule.beta(epoch, options.epochs),
            learning_rate=lambda epoch: (
                schedule.cosine(epoch, options.epochs) if options.lr_decay == "cosine" else 1.0
            ),
        ),
        identity={
            "method": method,
            "bits": bits,
            "seed": seed,
            "options": dataclasses.asdict(options),
            "images": digest(images),
            "encoder": encoder_digest(encoder),
        },
        run=run,
        resume=resume,
        progress=progress,
    )
    return HashFunction(
        encoder.cpu(), head.cpu(), method=method, orientations=options.orientations
    ).eval()
