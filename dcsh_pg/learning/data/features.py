"""Features of a frozen encoder, computed once for each image and view and cached on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dcsh_pg.learning.data.computing import Way, computing
from dcsh_pg.learning.data.estimate import Estimate
from dcsh_pg.learning.data.feature_cache import FeatureCache
from dcsh_pg.learning.data.image_store import as_tensor
from dcsh_pg.learning.encoders.encoder import ImageEncoder
from dcsh_pg.learning.encoders.from_onnx import OnnxNetwork
from dcsh_pg.learning.model.device import send
from dcsh_pg.learning.model.hash_function import orient
from dcsh_pg.learning.model.preprocess import Preprocess
from dcsh_pg.progress import SILENT, Progress

ALL_ORIENTATIONS = range(8)
"""The image as it is, its right-angle rotations, and their mirror images."""


@dataclass(frozen=True)
class View:
    """A fixed view of an image.

    Attributes:
        orientation: 0 to 7, as in ``hash_function.orient``.
        scale: side of the centre crop as a fraction of the image's side.
    """

    orientation: int = 0
    scale: float = 1.0

    def of(self, images: Tensor) -> Tensor:
        """Square images (N, S, S, C) -> the view of each."""
        side = images.shape[1]
        kept = max(1, round(side * self.scale))
        first = (side - kept) // 2
        crop = images[:, first : first + kept, first : first + kept]
        return orient(crop.permute(0, 3, 1, 2), self.orientation).permute(0, 2, 3, 1)


def fixed_views(orientations: Sequence[int], scales: Sequence[float] = (1.0,)) -> list[View]:
    """Each of the orientations at each scale."""
    return [View(orientation, scale) for scale in scales for orientation in orientations]


def encoder_digest(encoder: ImageEncoder) -> str:
    """SHA-256 over the encoder's ``config`` and weights, in hexadecimal."""
    digest = hashlib.sha256(repr(sorted(encoder.config.items())).encode())
    for key, value in encoder.state_dict().items():
        digest.update(key.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def extract(
    images: np.ndarray,
    encoder: ImageEncoder,
    *,
    views: Sequence[View] = (View(),),
    cache: FeatureCache | Path | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = SILENT,
) -> np.ndarray:
    """Features of every view of every image.

    Features are stored in ``cache`` as they are computed, by the content of the image, the encoder, the
    view and the way of computing, so that an interrupted run resumes, and another selection of the
    same images is free.

    Args:
        images: (N, S, S, C), or a memory map; or vectors float32 (N, dim), which are their
            own features and have one view.
        cache: the cache, or its folder; None keeps nothing.

    Returns:
        float32 (N, len(views), dim).

    Raises:
        OutputError: the cache cannot be written.
    """
    if images.ndim == 2:
        return images[:, None]
    if isinstance(cache, FeatureCache):
        return _Extraction(encoder, views, cache, torch.device(device), progress).of(images)
    with closing(FeatureCache(cache)) as opened:
        return extract(images, encoder, views=views, cache=opened, device=device, progress=progress)


class _Extraction:
    """Computes what the cache lacks, and puts it there."""

    def __init__(
        self,
        encoder: ImageEncoder,
        views: Sequence[View],
        cache: FeatureCache,
        device: torch.device,
        progress: Progress,
    ):
        self.encoder, self.views, self.cache = encoder.eval().to(device), views, cache
        self.device, self.progress = device, progress

    def of(self, images: np.ndarray) -> np.ndarray:
        """See ``extract``."""
        weights = sum(weight.numel() for weight in self.encoder.parameters())
        way = Way.choose(
            self.cache.precision,
            self.device,
            len(images) * len(self.views) * weights,
            is_onnx=any(isinstance(part, OnnxNetwork) for part in self.encoder.modules()),
        )
        features = np.empty((len(images), len(self.views), self.encoder.dim), np.float32)
        keys = self._keys(images, way)
        is_missing = self._read(keys, features)
        if is_missing.any():
            self._compute(images, way, features, keys, is_missing)
        return features

    def _keys(self, images: np.ndarray, way: Way) -> list[list[bytes]]:
        """Of each view of each image; empty where nothing is kept."""
        if not self.cache.keeps:
            return []
        digest = encoder_digest(self.encoder)
        return [
            [self.cache.key(digest, view, image, way) for view in self.views]
            for image in map(image_digest, images)
        ]

    def _read(self, keys: list[list[bytes]], features: np.ndarray) -> np.ndarray:
        """Fills in what the cache has -> bool (N, V), what it lacks."""
        is_missing = np.ones(features.shape[:2], bool)
        for row, keys_of_image in enumerate(keys):
            found = self.cache.get(keys_of_image)
            for v, key in enumerate(keys_of_image):
                if key in found:
                    features[row, v], is_missing[row, v] = found[key], False
        return is_missing

    def _compute(
        self,
        images: np.ndarray,
        way: Way,
        features: np.ndarray,
        keys: list[list[bytes]],
        is_missing: np.ndarray,
    ) -> None:
        compute = computing(self.encoder, way, self.device, self.progress)
        if compute.way != way:  # features of another way are kept under other keys
            keys = self._keys(images, compute.way)
            is_missing = self._read(keys, features)
        preprocess = Preprocess.of(self.encoder).to(self.device)
        estimate = Estimate(self.encoder.name, compute.way, int(is_missing.sum()), self.progress)
        self.progress.start(f"features ({self.encoder.name})", is_missing.size)
        self.progress.advance(is_missing.size - estimate.passes)
        settle: Callable[[], None] | None = None
        rows = np.flatnonzero(is_missing.any(axis=1))
        block = max(1, compute.passes // len(self.views))
        try:
            for first in range(0, len(rows), block):
                part = rows[first : first + block]
                batch = send(as_tensor(images[part]), self.device)
                where = is_missing[part].T
                inputs = torch.cat(
                    [
                        preprocess(view.of(batch[torch.from_numpy(lacks).to(self.device)]))
                        for view, lacks in zip(self.views, where, strict=True)
                        if lacks.any()
                    ]
                )
                computed = compute(inputs)
                if settle is not None:
                    settle()
                v, image = where.nonzero()
                settle = partial(self._settle, computed, features, keys, part[image], v, estimate)
            if settle is not None:
                settle()
        finally:
            self.cache.commit()

    def _settle(
        self,
        computed: Callable[[], np.ndarray],
        features: np.ndarray,
        keys: list[list[bytes]],
        images: np.ndarray,
        views: np.ndarray,
        estimate: Estimate,
    ) -> None:
        """Stores the features of a run, which may still be under way."""
        found = computed()
        features[images, views] = found
        if keys:
            self.cache.put([keys[i][v] for i, v in zip(images, views, strict=True)], found)
        self.progress.advance(len(found))
        estimate.advance(len(found))


def image_digest(image: np.ndarray) -> bytes:
    """SHA-256 of one image's pixels and shape."""
    pixels = np.ascontiguousarray(image)
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
