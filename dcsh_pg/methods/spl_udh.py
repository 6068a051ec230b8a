"""SPL-UDH, soft pseudo-label unsupervised deep hashing: our reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dcsh_pg.errors import UsageError
from dcsh_pg.learning.data.feature_pairs import FeaturePairs
from dcsh_pg.learning.data.features import ALL_ORIENTATIONS, fixed_views
from dcsh_pg.learning.data.pairs import Pairs
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.losses.pairwise import pair_likelihood
from dcsh_pg.learning.losses.quantization import quantization
from dcsh_pg.learning.model.hash_function import HashFunction
from dcsh_pg.learning.training.autoencoder import fit_autoencoder
from dcsh_pg.learning.training.hash_layer import EpochOptions, train_hash_layer
from dcsh_pg.learning.training.randomness import seeded
from dcsh_pg.learning.training.run import Run
from dcsh_pg.learning.training.trainer import require_images

_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Options(EpochOptions):
    """Soft pseudo-label based unsupervised deep hashing (Sun et al., Knowledge-Based Systems 2022).

    Our reconstruction from the abstract alone, which says: a deep auto-encoder gives soft
    pseudo-labels, which are binary vectors, and a matrix of local similarities; a deep hashing
    network learns the similarity between and within clusters from both, with an objective derived
    by Bayes' rule.  Every formula is ours; docs/methods.md and ``Objective`` have them.

    Attributes:
        soft_bits: c, length of the soft labels.
        autoencoder_epochs: passes over the images that train the auto-encoder.
        radius: images are of one cluster where their labels differ in at most this share of bits.
        sharpness: gamma, of the probability that two images are similar; with 4 it is to first
            order (1 + h_i . h_j / K) / 2, which can reach every target.
        local: weight of the similarity within clusters.
        inter: weight of the similarity between clusters.
    """

    method: ClassVar[str] = "spl_udh"
    soft_bits: int = 64
    autoencoder_epochs: int = 60
    radius: float = 0.1
    sharpness: float = 4.0
    local: float = 1.0
    inter: float = 1.0

    def check(self) -> None:
        super().check()
        self.require_at_least(0, "local", "inter")
        self.require_at_least(1, "autoencoder_epochs")
        self.require_at_least(2, "soft_bits")
        self.require_positive("sharpness")
        if not 0 <= self.radius <= 1:
            raise UsageError(
                f"radius must be from 0 to 1, not {self.radius}", hint=self.default_of("radius")
            )


def fit(images: np.ndarray, encoder: Encoder, options: Options, run: Run) -> HashFunction:
    """``Method.fit``; on resume the auto-encoder is trained again, with the same result."""
    require_images(len(images))
    features = run.features(images, encoder, fixed_views(ALL_ORIENTATIONS)).to(run.device)
    with seeded(run.seed):
        head = options.hash_layer(encoder.dim, run.bits).to(run.device)
        labels, latents = fit_autoencoder(
            features,
            latent=options.soft_bits,
            epochs=options.autoencoder_epochs,
            batch_size=options.batch_size,
            seed=run.seed,
            progress=run.progress,
        )
        objective = Objective(labels, latents, run.bits, options).to(run.device)
    source = FeaturePairs(features)
    return train_hash_layer(images, encoder, head, source, objective, options, run)


class Objective(nn.Module):
    """The maximum a posteriori estimate of h = tanh(beta z), given soft labels and similarities.

    From p(H | Y, S) ~ p(Y | H) p(S | H) p(H), over the 2M views of a batch and their pairs i != j,

        global        -mean log p(y_ik | h_i),   p(y_ik = 1 | h_i) = sigmoid(w_k . h_i + a_k)
        local         -mean [s theta - log(1 + exp theta)]   over pairs of one cluster,
                          s = (L_ij + 1) / 2
        inter         the same over pairs of two clusters, s = (G_ij + 1) / 2
        quantization  mean (|h_ik| - 1)^2

    with theta = gamma / (2 K) h_i . h_j, G_ij = y_i . y_j / c, and L_ij the cosine of u_i and u_j
    rescaled so that its least and greatest over all images are -1 and 1.  Two images are of one
    cluster where their labels differ in no more than floor(``radius`` c) bits.  The loss is
    global + ``local`` local + ``inter`` inter + ``alpha`` quantization.

    Args:
        labels: y, -1 and +1, float32 (N, c).
        latents: u, float32 (N, m).
        bits: K.
    """

    labels: Tensor
    unit: Tensor

    def __init__(self, labels: Tensor, latents: Tensor, bits: int, options: Options):
        super().__init__()
        self.options = options
        self.classifier = nn.Linear(bits, labels.shape[1])
        unit = functional.normalize(latents, dim=1)
        self.lowest = min((part @ unit.T).min().item() for part in unit.split(_ROWS_AT_ONCE))
        self.register_buffer("labels", labels, persistent=False)
        self.register_buffer("unit", unit, persistent=False)

    def forward(
        self, first: Tensor, second: Tensor, pairs: Pairs, beta: float
    ) -> Mapping[str, Tensor]:
        """The terms of the loss, for z of the two views, float (M, K)."""
        options = self.options
        h1, h2 = torch.tanh(beta * first), torch.tanh(beta * second)
        h = torch.cat([h1, h2])
        labels = self.labels[pairs.images]
        agreement, proximity = self.similarities(pairs.images)
        length = labels.shape[1]
        near = (1 - agreement) * length / 2 <= int(options.radius * length)

        def likelihood(similarity: Tensor, counts: Tensor) -> Tensor:
            return pair_likelihood(h, (similarity + 1) / 2, counts, sharpness=options.sharpness)

        return {
            "global": functional.binary_cross_entropy_with_logits(
                self.classifier(h), (labels + 1) / 2
            ),
            "local": options.local * likelihood(proximity, near),
            "inter": options.inter * likelihood(agreement, ~near),
            "quantization": options.alpha * quantization(h1, h2),
        }

    def similarities(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """G and L of these images, int64 (B,): each float32 (B, B) in -1..1."""
        labels, unit = self.labels[images], self.unit[images]
        agreement = labels @ labels.T / labels.shape[1]
        proximity = (unit @ unit.T - self.lowest) / max(1 - self.lowest, 1e-6)
        return agreement, (2 * proximity - 1).clamp(-1, 1)
