"""DCSH, deep contrastive self-supervised hashing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.data.augment import Augmentation
from dcsh_pg.learning.data.feature_pairs import FeaturePairs
from dcsh_pg.learning.data.features import ALL_ORIENTATIONS, fixed_views
from dcsh_pg.learning.data.image_pairs import ImagePairs
from dcsh_pg.learning.data.neighbours import centred, clustered, diffused, nearest, whitened
from dcsh_pg.learning.data.pairs import Pairs, PairSource
from dcsh_pg.learning.data.sampling import Sampled, spread
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.heads import MLPHead
from dcsh_pg.learning.losses.contrastive import nt_xent
from dcsh_pg.learning.losses.quantization import Reduction, quantization
from dcsh_pg.learning.model.device import memory_format
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.model.preprocess import Preprocess
from dcsh_pg.learning.training.hash_layer import EpochOptions, train_hash_layer
from dcsh_pg.learning.training.randomness import seeded
from dcsh_pg.learning.training.run import Run
from dcsh_pg.methods import itq

INIT_STD = 0.01
"""Standard deviation of the hash layer's random weights (section 4.3)."""
UPRIGHT = (0, 4)
"""The orientations that keep the top of the image on top: as it is, and mirrored."""


@dataclass(frozen=True)
class Options(EpochOptions):
    """Deep contrastive self-supervised hashing (Remote Sensing 2022, 14(15), 3643).

    Two random views of an image get similar codes, views of different images dissimilar ones.  An
    encoder and a hash layer FC 1024, ReLU, FC K are trained on h = tanh(beta z) with NT-Xent
    (eq. 12) plus ``alpha`` times the quantization loss (eq. 13), beta growing from 1 to 10
    (section 3.5); the code is the sign of z.

    The paper's own values, which are the defaults of this class: temperature 0.3, alpha 1, batch
    of 64, Adam at 1e-5 for the encoder and 1e-4 for the hash layer, 100 epochs, hash layer drawn
    from N(0, 0.01).  Departures that are on by default, with the paper's literal value:

    - ``quantization='mean'``; 'sum' is eq. 13 as printed, under which the codes collapse.
    - ``batch_norm=True`` before tanh; False is the paper's plain hash layer.
    - ``biases=True`` in the hash layer; eq. 3 prints none.
    - ``rotations=True`` adds vertical flip and right angles; False is the paper's list of five.

    docs/methods.md has the reasons and measurements.  ``from_scratch`` and ``frozen`` have the
    defaults for two ways of training that are not in the paper.

    Attributes:
        temperature: tau of NT-Xent.
        quantization: reduction of the quantization loss over the bits.
        biases: whether the layers of the hash layer have biases that are learned.
        init: how the last Linear starts: 'normal', or 'itq' with the first layer's outputs
            rotated as ITQ does.
        encoder_lr: learning rate of the encoder.
        rotations: see above.
        freeze: train the head alone, on features that are computed once.
        feature_dropout: with ``freeze``, fraction of the features that each view lacks.
        views: with ``freeze``, how many orientations of an image are its views: 1, 2, 4 or 8, or
            at most 2 without ``rotations``.  Each is a pass of the encoder.
        scales: with ``freeze``, centre crops whose features are views, as fractions of the side.
        positives: an image's positives: its own 'views', also its 'neighbours' in the space of
            the features at the start, or also all of its cluster ('clusters').  Positives are
            never negatives.
        neighbours: how many neighbours.
        mining: which images are neighbours: the 'nearest', or the most similar along the graph of
            nearest images ('diffused'); see ``learning.data.neighbours``.
        graph: nearest images that each is joined to in that graph.
        whiten: compare images by features whose dominant entries and directions are damped.
        clusters: number of k-means clusters.
        sampling: 'even' takes each image once in an epoch; 'density' draws as many in inverse
            proportion to how many are similar, for archives that are mostly of one kind.
    """

    method: ClassVar[str] = "dcsh"
    epochs: int = 100
    batch_size: int = 64
    alpha: float = 1.0
    l2_normalize: bool = False
    head_lr: float = 1e-4
    lr_decay: Literal["none", "cosine"] = "none"
    temperature: float = 0.3
    quantization: Reduction = "mean"
    biases: bool = True
    init: Literal["normal", "itq"] = "normal"
    encoder_lr: float = 1e-5
    rotations: bool = True
    freeze: bool = False
    feature_dropout: float = 0.0
    views: int = 8
    scales: tuple[float, ...] = (1.0,)
    positives: Literal["views", "neighbours", "clusters"] = "views"
    neighbours: int = 20
    mining: Literal["nearest", "diffused"] = "diffused"
    graph: int = 10
    whiten: bool = True
    clusters: int = 60
    sampling: Literal["even", "density"] = "even"

    @property
    def trains_encoder(self) -> bool:
        return not self.freeze

    @classmethod
    def defaults(cls, *, weights: str, freeze: bool | None) -> Options:
        """Those of ``frozen``, of ``from_scratch`` without weights, else the paper's.

        With ``freeze`` None the encoder is frozen where it has weights.
        """
        if freeze or (freeze is None and weights != "none"):
            return cls.frozen()
        return cls.from_scratch() if weights == "none" else cls()

    @classmethod
    def from_scratch(cls) -> Options:
        """For an encoder with random weights: higher learning rates and fewer epochs."""
        return cls(epochs=30, encoder_lr=1e-3, head_lr=1e-3, lr_decay="cosine")

    @classmethod
    def frozen(cls) -> Options:
        """For the head alone, on features of a frozen encoder.

        The paper's values are kept; docs/methods.md explains the others.
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
        super().check()
        self.require_positive("temperature", "encoder_lr")
        self.require_at_least(1, "neighbours", "graph", "clusters")
        if self.views not in (1, 2, 4, 8):
            raise UsageError(
                f"views must be 1, 2, 4 or 8, not {self.views}", hint=self.default_of("views")
            )
        if not 0 <= self.feature_dropout < 1:
            raise UsageError(
                f"feature_dropout must be at least 0 and below 1, not {self.feature_dropout}",
                hint=self.default_of("feature_dropout"),
            )


def fit(images: np.ndarray, encoder: Encoder, options: Options, run: Run) -> HashFunction:
    """``Method.fit``."""
    features = _features(images, encoder, options, run)
    with seeded(run.seed):
        head = hash_layer(encoder.dim, run.bits, options)
        if options.init == "itq":
            start_as_itq(head, features, run.seed)
    neighbours = positives(features, options, run)
    order = memory_format(run.device)
    encoder.to(run.device).to(memory_format=order)
    head.to(run.device)
    source: PairSource
    if options.freeze:
        source = FeaturePairs(features.to(run.device), neighbours, dropout=options.feature_dropout)
    else:
        source = ImagePairs(
            images,
            Preprocess.of(encoder),
            Augmentation(rotations=options.rotations),
            run.device,
            memory_format=order,
            neighbours=neighbours,
        )
    if options.sampling == "density":
        source = Sampled(source, spread(unit_features(features, options), seed=run.seed))
    return train_hash_layer(
        images,
        encoder,
        head,
        source,
        partial(objective, options=options),
        options,
        run,
        encoder_lr=None if options.freeze else options.encoder_lr,
    )


def hash_layer(dim: int, bits: int, options: Options) -> MLPHead:
    """The two fully connected layers (eq. 3), drawn from N(0, 0.01), biases 0 at the start."""
    head = options.hash_layer(dim, bits)
    for layer in head.layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=INIT_STD)
            nn.init.zeros_(layer.bias)
            layer.bias.requires_grad_(options.biases)
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


def positives(features: Tensor, options: Options, run: Run) -> Tensor | None:
    """The images that are positives of each besides itself.

    Args:
        features: float32 (N, V, D); not used where positives are views alone.

    Returns:
        int64 (N, k) on the CPU, or None for views alone.
    """
    if options.positives == "views":
        return None
    unit = unit_features(features, options).to(run.device)
    k = min(options.neighbours, len(features) - 1)
    if options.positives == "clusters":
        found = clustered(unit, options.clusters, seed=run.seed)
    elif options.mining == "nearest":
        found = nearest(unit, k, seed=run.seed, progress=run.progress)
    else:
        found = diffused(unit, k, graph=options.graph, seed=run.seed, progress=run.progress)
    return found.cpu()


def unit_features(features: Tensor, options: Options) -> Tensor:
    """Features (N, V, D) as images are compared by: unit (N, d)."""
    return whitened(features) if options.whiten else centred(features)


@torch.no_grad()
def start_as_itq(head: MLPHead, features: Tensor, seed: int) -> None:
    """Sets the last Linear to ITQ of the layer before it, on features float32 (N, V, D)."""
    before = head.layers[:-1]
    inputs = functional.normalize(features, dim=2) if head.l2_normalize else features
    outputs = before(inputs.mean(dim=1))
    mean, projection, rotation, _ = itq.quantize(
        outputs.double().numpy(), head.bits, itq.Options(), seed
    )
    weight = (projection @ rotation).T
    head.last.weight.copy_(torch.from_numpy(weight))
    head.last.bias.copy_(torch.from_numpy(-weight @ mean))


def _features(images: np.ndarray, encoder: Encoder, options: Options, run: Run) -> Tensor:
    """What the encoder gives at the start, float32 (N, V, D); empty where nothing needs it."""
    compares = options.positives != "views" or options.sampling == "density"
    if not options.freeze and not compares and options.init == "normal":
        return torch.empty(0)
    orientations = (ALL_ORIENTATIONS if options.rotations else UPRIGHT)[: options.views]
    return run.features(images, encoder, fixed_views(orientations, options.scales))
