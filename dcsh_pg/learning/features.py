"""Features of a frozen encoder, computed once for each image and view and kept on disk."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dcsh_pg.errors import OutputError
from dcsh_pg.learning.encoders import Encoder
from dcsh_pg.learning.hash_function import orient
from dcsh_pg.learning.preprocess import Preprocess
from dcsh_pg.progress import SILENT, Progress


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


@torch.no_grad()
def extract(
    images: np.ndarray,
    encoder: Encoder,
    *,
    views: Sequence[View] = (View(),),
    cache: Path | None = None,
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
        cache: folder of the cache, or None for no cache.

    Returns:
        float32 (N, len(views), dim).

    Raises:
        OutputError: the cache cannot be written.
    """
    encoder = encoder.eval().to(device)
    preprocess = Preprocess(encoder.input_size, encoder.mean, encoder.std).to(device)
    features = np.empty((len(images), len(views), encoder.dim), np.float32)
    progress.start(f"features ({encoder.name})", len(images) * len(views))
    with closing(_Cache(cache, encoder_digest(encoder) if cache else "")) as kept:
        names = [kept.name(image) for image in images]
        for v, view in enumerate(views):
            for first in range(0, len(images), batch_size):
                rows = range(first, min(first + batch_size, len(images)))
                found = kept.get(view, [names[row] for row in rows])
                missing = [row for row in rows if names[row] not in found]
                if missing:
                    batch = torch.from_numpy(np.stack([images[row] for row in missing]))
                    computed = encoder(preprocess(view.of(batch.to(device)))).float().cpu().numpy()
                    features[missing, v] = computed
                    kept.put(view, [names[row] for row in missing], computed)
                for row in rows:
                    if names[row] in found:
                        features[row, v] = found[names[row]]
                progress.advance(len(rows))
    return features


class _Cache:
    """Rows of one encoder in an SQLite file; without a folder it keeps nothing."""

    def __init__(self, folder: Path | None, encoder: str):
        self.encoder = encoder
        self.connection = None
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(folder / "features.sqlite", timeout=60)
            self.connection.execute(
                "CREATE TABLE IF NOT EXISTS feature (key BLOB PRIMARY KEY, value BLOB NOT NULL)"
            )
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"cannot keep features in {folder}: {error}",
                hint="choose a writable folder with --cache",
            ) from error

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()

    def name(self, image: np.ndarray) -> bytes:
        """Digest of one image's pixels and shape."""
        if self.connection is None:
            return b""
        pixels = np.ascontiguousarray(image)
        return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()

    def get(self, view: View, names: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        if self.connection is None:
            return {}
        keys = {self._key(view, name): name for name in names}
        marks = ",".join("?" * len(keys))
        rows = self.connection.execute(
            f"SELECT key, value FROM feature WHERE key IN ({marks})", list(keys)
        )
        return {keys[key]: np.frombuffer(value, np.float32) for key, value in rows}

    def put(self, view: View, names: Sequence[bytes], features: np.ndarray) -> None:
        if self.connection is None:
            return
        rows = [
            (self._key(view, name), feature.tobytes())
            for name, feature in zip(names, features, strict=True)
        ]
        with self.connection:
            self.connection.executemany("INSERT OR IGNORE INTO feature VALUES (?, ?)", rows)

    def _key(self, view: View, name: bytes) -> bytes:
        return hashlib.sha256(f"{self.encoder} {view}".encode() + name).digest()
