"""A run: what fitting takes besides images, encoder and the method's options."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dcsh_pg.codes import check_bits
from dcsh_pg.learning.data.computing import Precision
from dcsh_pg.learning.data.feature_cache import FeatureCache
from dcsh_pg.learning.data.features import View, extract
from dcsh_pg.learning.encoders.encoder import ImageEncoder
from dcsh_pg.progress import SILENT, Progress

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Run:
    """How long the codes are, what is drawn at random, and where things are computed and kept.

    Attributes:
        bits: K.
        seed: random seed of everything that is drawn.
        device: where PyTorch computes.
        cache: features of frozen encoders, or the folder to keep them in; None keeps none.
        precision: of features, see ``computing.Way``; a ``FeatureCache`` has its own.
        folder: gets log.jsonl and, from methods that train in epochs, checkpoint.pt; None writes
            nothing.
        resume: continue from the checkpoint in ``folder``, if there is one.
        progress: receives progress reports.

    Raises:
        UsageError: a code cannot have that many bits.
    """

    bits: int = 64
    seed: int = 0
    device: torch.device = CPU
    cache: FeatureCache | Path | None = None
    precision: Precision = "float32"
    folder: Path | None = None
    resume: bool = False
    progress: Progress = SILENT

    def __post_init__(self) -> None:
        check_bits(self.bits)

    def features(
        self, images: np.ndarray, encoder: ImageEncoder, views: Sequence[View] = (View(),)
    ) -> Tensor:
        """Features of a frozen encoder, float32 (N, views, dim) on the CPU; see ``extract``."""
        with self._open_cache() as cache:
            found = extract(
                images,
                encoder,
                views=views,
                cache=cache,
                device=self.device,
                progress=self.progress,
            )
        return torch.from_numpy(found)

    def _open_cache(self) -> AbstractContextManager[FeatureCache]:
        if isinstance(self.cache, FeatureCache):
            return nullcontext(self.cache)
        return closing(FeatureCache(self.cache, precision=self.precision))
