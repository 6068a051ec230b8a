"""Training a hash layer in epochs, on features of a frozen encoder or together with the encoder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from dcsh_pg.learning.data.features import encoder_digest
from dcsh_pg.learning.data.pairs import PairSource
from dcsh_pg.learning.data.training_set import digest
from dcsh_pg.learning.encoders.encoder import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training import schedule
from dcsh_pg.learning.training.optimizer import adam
from dcsh_pg.learning.training.options import MethodOptions
from dcsh_pg.learning.training.run import Run
from dcsh_pg.learning.training.trainer import Loop, Objective, train


@dataclass(frozen=True)
class EpochOptions(MethodOptions):
    """The options of every method that trains a hash layer in epochs; a method adds its own.

    Attributes:
        epochs: passes over the images.
        batch_size: M, pairs of views in a step.
        alpha: weight of the quantization loss.
        batch_norm: BatchNorm1d after the last Linear; folded away on export.
        hidden: width of the first layer of the head.
        l2_normalize: features are scaled to unit length before the head.
        head_lr: learning rate of Adam.
        lr_decay: 'none', or 'cosine' down towards 0.
        collapse_check: stop training when more than 5 % of the bits are constant.
    """

    epochs: int = 50
    batch_size: int = 128
    alpha: float = 0.1
    batch_norm: bool = True
    hidden: int = 1024
    l2_normalize: bool = True
    head_lr: float = 1e-3
    lr_decay: Literal["none", "cosine"] = "cosine"
    collapse_check: bool = True

    def check(self) -> None:
        super().check()
        self.require_at_least(1, "epochs", "hidden")
        self.require_at_least(2, "batch_size")
        self.require_at_least(0, "alpha")
        self.require_positive("head_lr")

    def hash_layer(self, dim: int, bits: int) -> MLPHead:
        """A head with random weights for features of length ``dim``."""
        return MLPHead(
            dim,
            bits,
            hidden=(self.hidden,),
            batch_norm=self.batch_norm,
            l2_normalize=self.l2_normalize,
        )


def train_hash_layer(
    images: np.ndarray,
    encoder: Encoder,
    head: MLPHead,
    source: PairSource,
    objective: Objective,
    options: EpochOptions,
    run: Run,
    *,
    encoder_lr: float | None = None,
) -> HashFunction:
    """``Method.fit`` of a hash layer, and of the encoder where it has a learning rate.

    Args:
        images: a checkpoint of others is not resumed.
        head, objective: on ``run.device``; an objective that is a module is trained too.
        source: pairs of images where the encoder is trained, else of its features.
        encoder_lr: learning rate of the encoder; None leaves it as it is.
    """
    identity = {
        "method": options.method,
        "bits": run.bits,
        "seed": run.seed,
        "options": dataclasses.asdict(options),
        "images": digest(images),
        "encoder": encoder_digest(encoder),
    }
    learned = [*head.parameters()]
    if isinstance(objective, nn.Module):
        learned += objective.parameters()
    groups = [{"params": learned, "lr": options.head_lr}]
    if encoder_lr is not None:
        groups.append({"params": [*encoder.parameters()], "lr": encoder_lr})
    train(
        nn.Identity() if encoder_lr is None else encoder,
        head,
        source,
        objective,
        adam(groups, run.device),
        Loop(
            epochs=options.epochs,
            batch_size=options.batch_size,
            seed=run.seed,
            collapse_check=options.collapse_check,
            beta=lambda epoch: schedule.beta(epoch, options.epochs),
            learning_rate=lambda epoch: (
                schedule.cosine(epoch, options.epochs) if options.lr_decay == "cosine" else 1.0
            ),
        ),
        identity=identity,
        folder=run.folder,
        resume=run.resume,
        progress=run.progress,
    )
    hash_function = HashFunction(
        encoder, head, method=options.method, orientations=options.orientations
    )
    return hash_function.cpu().to(memory_format=torch.contiguous_format).eval()
