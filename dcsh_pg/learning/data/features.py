"""Features of a frozen encoder, computed once for each image and view and cached on disk."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dcsh_pg.errors import OutputError
from dcsh_pg.learning.data.image_store import as_tensor
from dcsh_pg.learning.encoders.encoder import ImageEncoder
from dcsh_pg.learning.model.hash_function import orient
from dcsh_pg.learning.model.preprocess import Preprocess
from dcsh_pg.progress import SILENT, Progress

PRECISIONS = ("float32", "bfloat16")
WORTH_SAYING = 60.0
"""Seconds from which an estimate is noted."""
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


class FeatureCache:
    """Features on disk, and the precision in which encoders compute them.

    An SQLite file has a row for each image, encoder, view and precision.  With ``memory`` rows are
    also kept in memory, for a program that fits many hash functions to the same images.

    Attributes:
        precision: 'float32', or 'bfloat16' for the encoder's convolutions and matrix products:
            several times faster on processors and GPUs that support it; features differ by about
            one per cent.
    """

    def __init__(self, folder: Path | None, *, precision: str = "float32", memory: bool = False):
        """Opens the cache.

        Args:
            folder: of the file, created if missing; None keeps nothing on disk.

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
        """Whether rows are kept on disk or in memory."""
        return self._connection is not None or self._rows is not None

    def key(self, encoder: str, view: View, image: bytes) -> bytes:
        """The key of one row.

        Args:
            encoder: its ``encoder_digest``.
            image: its ``image_digest``.
        """
        suffix = "" if self.precision == "float32" else f" {self.precision}"
        return hashlib.sha256(f"{encoder} {view}{suffix}".encode() + image).digest()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """The rows with these keys that exist, float32 (dim,) each."""
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
        """Stores rows float32 (N, dim)."""
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
    encoder: ImageEncoder,
    *,
    views: Sequence[View] = (View(),),
    cache: FeatureCache | Path | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = 32,
    progress: Progress = SILENT,
) -> np.ndarray:
    """Features of every view of every image.

    Features are stored in ``cache`` batch by batch, by the content of the image, the encoder and
    the view, so that an interrupted run resumes, and another selection of the same images is free.

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
    estimate = _Estimate(encoder.name, len(images), len(views), progress)
    digest = encoder_digest(encoder) if cache.keeps else ""
    names = [image_digest(image) for image in images] if cache.keeps else [b""] * len(images)
    for v, view in enumerate(views):
        for first in range(0, len(images), batch_size):
            rows = range(first, min(first + batch_size, len(images)))
            keys = {row: cache.key(digest, view, names[row]) for row in rows}
            found = cache.get(list(keys.values())) if cache.keeps else {}
            missing = [row for row in rows if keys[row] not in found]
            if missing:
                batch = as_tensor(np.stack([images[row] for row in missing]))
                with estimate.of_first(len(missing), done=v * len(images) + first):
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
    kind = "" if pixels.dtype == np.uint8 else str(pixels.dtype)
    return hashlib.sha256(f"{pixels.shape!r}{kind}".encode() + pixels.tobytes()).digest()


class _Estimate:
    """Notes how long all passes will take, measured on the first batch that is computed."""

    def __init__(self, encoder: str, images: int, views: int, progress: Progress):
        self.encoder = encoder
        self.images, self.views, self.progress = images, views, progress
        self.is_made = False

    @contextmanager
    def of_first(self, passes: int, *, done: int) -> Iterator[None]:
        began = time.monotonic()
        yield
        if self.is_made:
            return
        self.is_made = True
        rate = passes / max(time.monotonic() - began, 1e-9)
        seconds = (self.images * self.views - done - passes) / rate
        if seconds >= WORTH_SAYING:
            each = f" × {self.views} views" if self.views > 1 else ""
            self.progress.note(
                f"features ({self.encoder}): about {duration(seconds)}, {self.images:,} images{each} "
                f"at {rate:.3g} passes/s"
            )


def duration(seconds: float) -> str:
    """'40 s', '6 min' or '2 h 10 min', rounded."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class _Compute:
    """Images (N, S, S, C) -> features float32 (N, dim), by a frozen encoder."""

    def __init__(self, encoder: ImageEncoder, precision: str, device: torch.device | str):
        self.preprocess = Preprocess.of(encoder).to(device)
        self.encoder, self.precision = encoder, precision
        self.device_type = torch.device(device).type

    def __call__(self, images: Tensor) -> np.ndarray:
        inputs = self.preprocess(images).contiguous(memory_format=torch.channels_last)
        # Autocast picks the operators for which bfloat16 is safe; norms stay in float32.
        is_reduced = self.precision == "bfloat16"
        with torch.autocast(self.device_type, torch.bfloat16, enabled=is_reduced):
            features = self.encoder(inputs)
        return features.float().cpu().numpy()
