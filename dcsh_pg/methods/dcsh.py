"""DCSH, deep contrastive self-supervised hashing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.data.augment import Augmentation
from dcsh_pg.learning.data.feature_pairs import FeaturePairs
from dcsh_pg.learning.data.features import FeatureCache, encoder_digest, extract, fixed_views
from dcsh_pg.learning.data.image_pairs import ImagePairs
from dcsh_pg.learning.data.neighbours import clustered, diffused, nearest
from dcsh_pg.learning.data.pairs import Pairs, PairSource
from dcsh_pg.learning.data.training_set import digest
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.losses import Reduction, nt_xent, quantization
from dcsh_pg.learning.model.device import memory_format
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training import schedule
from dcsh_pg.learning.training.optimizer import adam
from dcsh_pg.learning.training.randomness import seeded
from dcsh_pg.learning.training.trainer import Loop, train
from dcsh_pg.methods import itq
from dcsh_pg.progress import SILENT, Progress

METHOD = "dcsh"
INIT_STD = 0.01
"""Standard deviation of the hash layer's random weights (section 4.3)."""
UPRIGHT = (0, 4)
"""The orientations that keep up above: as it lies, and mirrored."""


@dataclass(frozen=True)
class Options:
    """Deep contrastive self-supervised hashing (Remote Sensing 2022, 14(15), 3643).

    Two random views of an image shall get like codes, views of different images unlike ones.  An
    encoder and a hash layer FC 1024, ReLU, FC K are trained on h = tanh(beta z) with NT-Xent
    (eq. 12) plus ``alpha`` times the quantization loss (eq. 13), beta growing from 1 to 10
    (section 3.5); the code is the sign of z.

    The paper's own values, which are the defaults of this class: temperature 0.3, alpha 1, batch
    of 64, Adam at 1e-5 for the encoder and 1e-4 for the hash layer, 100 epochs, hash layer drawn
    from N(0, 0.01).  Departures that are on unless switched off, with their literal reading:

    - ``quantization='mean'``; 'sum' is eq. 13 as printed, under which the codes collapse.
    - ``batch_norm=True`` before tanh; False is the paper's plain hash layer.
    - ``rotations=True`` adds vertical flip and right angles; False is the paper's list of five.

    docs/methods.md has the reasons and measurements.  ``from_scratch`` and ``frozen`` give the
    defaults for the two ways of training that the paper does not know.

    Attributes:
        epochs: passes over the images.
        batch_size: M, pairs in a step, each with 2(M - 1) negatives.
        temperature: tau of NT-Xent.
        alpha: weight of the quantization loss.
        quantization: its reduction over the bits, 'mean' or 'sum'.
        batch_norm: BatchNorm1d after the last Linear; folded away on export.
        hidden: width of the first layer of the head.
        init: how the last Linear starts: 'normal', or 'itq' with the first layer's outputs
            rotated as ITQ does.
        l2_normalize: features are scaled to unit length before the head.
        encoder_lr, head_lr: learning rates of Adam.
        lr_decay: 'none', or 'cosine' down towards 0.
        rotations: see above.
        freeze: train the head alone, on features that the encoder gives once.
        feature_dropout: with ``freeze``, share of the features that each view goes without.
        scales: with ``freeze``, centre crops whose features are views, as fractions of the side.
        positives: whether an image's positives are its own 'views' only, or also its
            'neighbours' in the space of the features that the encoder gives at the start, or
            also all of its cluster ('clusters').  They are then no negatives.
        neighbours: how many.
        mining: which images are neighbours: the 'nearest', or the most alike along the graph of
            nearest images ('diffused'); see ``learning.data.neighbours``.
        graph: nearest images that each is joined to in that graph.
        whiten: compare images by features whose dominant entries and directions are tamed.
        clusters: of k-means.
        orientations: 1, 4 or 8 orientations of the image over which the hash function averages z.
    """

    epochs: int = 100
    batch_size: int = 64
    temperature: float = 0.3
    alpha: float = 1.0
    quantization: Reduction = "mean"
    batch_norm: bool = True
    hidden: int = 1024
    init: Literal["normal", "itq"] = "normal"
    l2_normalize: bool = False
    encoder_lr: float = 1e-5
    head_lr: float = 1e-4
    lr_decay: Literal["none", "cosine"] = "none"
    rotations: bool = True
    freeze: bool = False
    feature_dropout: float = 0.0
    scales: tuple[float, ...] = (1.0,)
    positives: Literal["views", "neighbours", "clusters"] = "views"
    neighbours: int = 20
    mining: Literal["nearest", "diffused"] = "diffused"
    graph: int = 10
    whiten: bool = True
    clusters: int = 60
    orientations: int = 1

    @classmethod
    def from_scratch(cls) -> Options:
        """For an encoder that starts from random weights: rates fit for that, and fewer epochs."""
        return cls(epochs=30, encoder_lr=1e-3, head_lr=1e-3, lr_decay="cosine")

    @classmethod
    def frozen(cls) -> Options:
        """For the head alone on features that stay as they are.

        What the paper gives a value for keeps it; see docs/methods.md for the rest.
        """
        return cls(
            l2_normalize=True,
            head_lr=1e-3,
            lr_decay="cosine",
            freeze=True,
            feature_dropout=0.1,
            positives="neighbours",
        )

    def check(self) -> None:
        """Raises UsageError where a value cannot mean anything; the message names the option."""
        if self.epochs < 1 or self.batch_size < 2:
            raise UsageError(
                f"--epochs {self.epochs} with --batch-size {self.batch_size} trains nothing",
                hint="give --epochs of 1 or more and --batch-size of 2 or more",
            )
        if self.temperature <= 0 or self.alpha < 0:
            raise UsageError(
                f"--temperature {self.temperature} with --alpha {self.alpha} is no loss",
                hint="give --temperature above 0 and --alpha of 0 or more",
            )
        if min(self.neighbours, self.graph, self.clusters) < 1:
            raise UsageError(
                f"neighbours={self.neighbours}, graph={self.graph}, clusters={self.clusters} "
                "is no neighbourhood",
                hint="give 1 or more of each",
            )
        if not 0 <= self.feature_dropout < 1:
            raise UsageError(
                f"feature_dropout={self.feature_dropout} is no share of the features",
                hint="give 0 or more, and less than 1",
            )
        for option, value, allowed in (
            ("quantization", self.quantization, ("mean", "sum")),
            ("init", self.init, ("normal", "itq")),
            ("lr-decay", self.lr_decay, ("none", "cosine")),
            ("positives", self.positives, ("views", "neighbours", "clusters")),
            ("mining", self.mining, ("nearest", "diffused")),
            ("orientations", self.orientations, (1, 4, 8)),
        ):
            if value not in allowed:
                choices = ", ".join(map(str, allowed))
                raise UsageError(f"--{option} {value} is not known", hint=f"one of: {choices}")


def fit(
    images: np.ndarray,
    encoder: Encoder,
    *,
    bits: int,
    seed: int = 0,
    options: Options | None = None,
    device: torch.device | str = "cpu",
    cache: FeatureCache | Path | None = None,
    run: Path | None = None,
    resume: bool = False,
    progress: Progress = SILENT,
) -> HashFunction:
    """Trains a hash function without labels.

    Args:
        images: uint8 (N, S, S, C).
        encoder: with the weights to start from; trained in place unless ``options.freeze``.
        bits: K.
        cache: of features, or its folder; used with ``options.freeze`` and for mining.
        run: folder for checkpoint and log, or None.
        resume: go on from the checkpoint in ``run``.

    Returns:
        The hash function, on the CPU and in evaluation mode.

    Raises:
        UsageError, TrainingError, InputError, OutputError: see ``Options.check`` and
            ``trainer.train``.
    """
    options = options or Options()
    options.check()
    device = torch.device(device)
    identity = {
        "method": METHOD,
        "bits": bits,
        "seed": seed,
        "options": dataclasses.asdict(options),
        "images": digest(images),
        "encoder": encoder_digest(encoder),
    }
    features = _features(images, encoder, options, device, cache, progress)
    with seeded(seed):
        head = hash_layer(encoder.dim, bits, options)
        if options.init == "itq":
            start_as_itq(head, features, seed)
    alike = positives(features, options, seed)
    hash_function = HashFunction(encoder, head, method=METHOD, orientations=options.orientations)
    hash_function.to(device, memory_format=memory_format(device))
    groups = [{"params": head.parameters(), "lr": options.head_lr}]
    trained: nn.Module
    source: PairSource
    if options.freeze:
        trained = nn.Identity()
        source = FeaturePairs(features.to(device), alike, dropout=options.feature_dropout)
    else:
        trained = encoder
        source = ImagePairs(
            images,
            hash_function.preprocess(),
            Augmentation(rotations=options.rotations),
            device,
            memory_format=memory_format(device),
            neighbours=alike,
        )
        groups.append({"params": encoder.parameters(), "lr": options.encoder_lr})
    loop = Loop(
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=seed,
        beta=lambda epoch: schedule.beta(epoch, options.epochs),
        learning_rate=lambda epoch: (
            schedule.cosine(epoch, options.epochs) if options.lr_decay == "cosine" else 1.0
        ),
    )
    train(
        trained,
        head,
        source,
        lambda *views: objective(*views, options),
        adam(groups, device),
        loop,
        identity=identity,
        run=run,
        resume=resume,
        progress=progress,
    )
    return hash_function.cpu().to(memory_format=torch.contiguous_format).eval()


def hash_layer(dim: int, bits: int, options: Options) -> MLPHead:
    """The two fully connected layers (eq. 3), drawn from N(0, 0.01), biases 0."""
    head = MLPHead(
        dim,
        bits,
        hidden=(options.hidden,),
        batch_norm=options.batch_norm,
        l2_normalize=options.l2_normalize,
    )
    for layer in head.layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=INIT_STD)
            nn.init.zeros_(layer.bias)
    return head


def objective(
    first: Tensor, second: Tensor, pairs: Pairs, beta: float, options: Options
) -> Mapping[str, Tensor]:
    """The terms of the total loss (eq. 14) for z of the two views, float (M, K)."""
    h1, h2 = torch.tanh(beta * first), torch.tanh(beta * second)
    return {
        "nt_xent": nt_xent(h1, h2, temperature=options.temperature, ignored=pairs.ignored),
        "quantization": options.alpha * quantization(h1, h2, reduction=options.quantization),
    }


def positives(features: Tensor | None, options: Options, seed: int = 0) -> Tensor | None:
    """The images that are positives of each besides itself.

    Args:
        features: float32 (N, V, D); None is allowed where positives are views alone.

    Returns:
        int64 (N, k) on the CPU, or None for views alone.
    """
    if options.positives == "views":
        return None
    if options.positives == "clusters":
        found = clustered(features, options.clusters, seed=seed, whiten=options.whiten)
    else:
        k = min(options.neighbours, len(features) - 1)
        if options.mining == "nearest":
            found = nearest(features, k, whiten=options.whiten)
        else:
            found = diffused(features, k, graph=options.graph, whiten=options.whiten)
    return found.cpu()


@torch.no_grad()
def start_as_itq(head: MLPHead, features: Tensor, seed: int) -> None:
    """Sets the last Linear to ITQ of the layer before it, on features float32 (N, V, D)."""
    *before, last = head.layers
    inputs = functional.normalize(features, dim=2) if head.l2_normalize else features
    outputs = nn.Sequential(*before)(inputs.mean(dim=1))
    mean, projection, rotation, _ = itq.quantize(
        outputs.double().numpy(), head.bits, itq.Options(), seed
    )
    weight = (projection @ rotation).T
    last.weight.copy_(torch.from_numpy(weight))
    last.bias.copy_(torch.from_numpy(-weight @ mean))


def _features(
    images: np.ndarray,
    encoder: Encoder,
    options: Options,
    device: torch.device,
    cache: FeatureCache | Path | None,
    progress: Progress,
) -> Tensor | None:
    """What the encoder gives at the start, float32 (N, V, D), where anything needs it."""
    if not options.freeze and options.positives == "views" and options.init == "normal":
        return None
    return torch.from_numpy(
        extract(
            images,
            encoder,
            views=fixed_views(range(8) if options.rotations else UPRIGHT, options.scales),
            cache=cache,
            device=device,
            progress=progress,
        )
    )
