"""Features of a frozen encoder, computed once for each image and view and kept on disk."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dcsh_pg.errors import OutputError
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.model.hash_function import orient
from dcsh_pg.learning.model.preprocess import Preprocess
from dcsh_pg.progress import SILENT, Progress

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class View:
    """One fixed way of looking at an image.

    Attributes:
        orientation: 0 to 7, as in ``hash_function.orient``.
        scale: side of the centre crop as a fraction of the image's side.
    """

    orientation: int = 0
    scale: float = 1.0

    def of(self, images: Tensor) -> Tensor:
        """Square images uint8 (N, S, S, C) -> the view of each."""
        side = images.shape[1]
        kept = max(1, round(side * self.scale))
        first = (side - kept) // 2
        crop = images[:, first : first + kept, first : first + kept]
        return orient(crop.permute(0, 3, 1, 2), self.orientation).permute(0, 2, 3, 1)


def fixed_views(orientations: Sequence[int], scales: Sequence[float] = (1.0,)) -> list[View]:
    """Each of the orientations at each scale."""
    return [View(orientation, scale) for scale in scales for orientation in orientations]


def encoder_digest(encoder: Encoder) -> str:
    """SHA-256 over what the encoder is and over its weights, in hexadecimal."""
    digest = hashlib.sha256(repr(sorted(encoder.config.items())).encode())
    for key, value in encoder.state_dict().items():
        digest.update(key.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class FeatureCache:
    """Where features are kept, and in which precision the encoder computes them.

    Rows lie in an SQLite file, one for each image, encoder, view and precision.  With ``memory``
    what was read or computed also stays in memory, for a program that fits many hash functions
    to the same images.

    Attributes:
        precision: 'float32', or 'bfloat16' for the encoder's convolutions and matrix products:
            several times faster on processors and GPUs with units for it, features then differ
            by about one per cent.
    """

    def __init__(
        self, folder: Path | None, *, precision: Precision = "float32", memory: bool = False
    ):
        """Opens the cache.

        Args:
            folder: where the file is or will be made; None keeps nothing on disk.

        Raises:
            OutputError: the folder cannot be written.
        """
        self.precision = precision
        self._rows: dict[bytes, np.ndarray] | None = {} if memory else None
        self._connection: sqlite3.Connection | None = None
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(folder / "features.sqlite", timeout=60)
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS feature (key BLOB PRIMARY KEY, value BLOB NOT NULL)"
            )
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"cannot keep features in {folder}: {error}",
                hint="choose a writable folder with --cache",
            ) from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all."""
        return self._connection is not None or self._rows is not None

    def key(self, encoder: str, view: View, image: bytes) -> bytes:
        """Name of one row.

        Args:
            encoder: its ``encoder_digest``.
            image: its ``image_digest``.
        """
        suffix = "" if self.precision == "float32" else f" {self.precision}"
        return hashlib.sha256(f"{encoder} {view}{suffix}".encode() + image).digest()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """Those of these rows that are there, float32 (dim,) each."""
        found = {key: self._rows[key] for key in keys if key in self._rows} if self._rows else {}
        asked = [key for key in keys if key not in found]
        if self._connection is None or not asked:
            return found
        marks = ",".join("?" * len(asked))
        rows = self._connection.execute(
            f"SELECT key, value FROM feature WHERE key IN ({marks})", asked
        )
        read = {key: np.frombuffer(value, np.float32) for key, value in rows}
        if self._rows is not None:
            self._rows.update(read)
        return found | read

    def put(self, keys: Sequence[bytes], features: np.ndarray) -> None:
        """Keeps rows float32 (N, dim)."""
        if self._rows is not None:
            self._rows.update(zip(keys, features, strict=True))
        if self._connection is None:
            return
        with self._connection:
            self._connection.executemany(
                "INSERT OR IGNORE INTO feature VALUES (?, ?)",
                [(key, row.tobytes()) for key, row in zip(keys, features, strict=True)],
            )


@torch.no_grad()
def extract(
    images: np.ndarray,
    encoder: Encoder,
    *,
    views: Sequence[View] = (View(),),
    cache: FeatureCache | Path | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = 32,
    progress: Progress = SILENT,
) -> np.ndarray:
    """Features of every view of every image.

    What is computed is kept in ``cache`` as it comes, by the content of the image, the encoder
    and the view: a run that was interrupted goes on, and another selection of the same images
    costs nothing.

    Args:
        images: uint8 (N, S, S, C); a memory map will do.
        encoder: or any module like one, with ``name``, ``config``, ``input_size``, ``mean``,
            ``std`` and ``dim``.
        cache: the cache or its folder, or None for none.

    Returns:
        float32 (N, len(views), dim).

    Raises:
        OutputError: the cache cannot be written.
    """
    if not isinstance(cache, FeatureCache):
        with closing(FeatureCache(cache)) as opened:
            return extract(
                images,
                encoder,
                views=views,
                cache=opened,
                device=device,
                batch_size=batch_size,
                progress=progress,
            )
    encoder = encoder.eval().to(device)
    compute = _Compute(encoder, cache.precision, device)
    features = np.empty((len(images), len(views), encoder.dim), np.float32)
    progress.start(f"features ({encoder.name})", len(images) * len(views))
    digest = encoder_digest(encoder) if cache.keeps else ""
    names = [image_digest(image) for image in images] if cache.keeps else [b""] * len(images)
    for v, view in enumerate(views):
        for first in range(0, len(images), batch_size):
            rows = range(first, min(first + batch_size, len(images)))
            keys = {row: cache.key(digest, view, names[row]) for row in rows}
            found = cache.get(list(keys.values())) if cache.keeps else {}
            missing = [row for row in rows if keys[row] not in found]
            if missing:
                batch = torch.from_numpy(np.stack([images[row] for row in missing]))
                computed = compute(view.of(batch.to(device)))
                features[missing, v] = computed
                if cache.keeps:
                    cache.put([keys[row] for row in missing], computed)
            for row in rows:
                if keys[row] in found:
                    features[row, v] = found[keys[row]]
            progress.advance(len(rows))
    return features


def image_digest(image: np.ndarray) -> bytes:
    """SHA-256 of one image's pixels and shape."""
    pixels = np.ascontiguousarray(image)
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()


class _Compute:
    """uint8 images (N, S, S, C) -> features float32 (N, dim), by a frozen encoder."""

    def __init__(self, encoder: Encoder, precision: Precision, device: torch.device | str):
        self.preprocess = Preprocess(encoder.input_size, encoder.mean, encoder.std).to(device)
        self.encoder, self.precision = encoder, precision
        self.device_type = torch.device(device).type

    def __call__(self, images: Tensor) -> np.ndarray:
        inputs = self.preprocess(images).contiguous(memory_format=torch.channels_last)
        # Autocast knows for every operator where bfloat16 is safe; norms stay in float32.
        is_rough = self.precision == "bfloat16"
        with torch.autocast(self.device_type, torch.bfloat16, enabled=is_rough):
            features = self.encoder(inputs)
        return features.float().cpu().numpy()
