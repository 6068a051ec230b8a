"""Images, or vectors -> packed codes, by running a model file in onnxruntime.

The file's graph does all that happens to a pixel (resizing, scaling, encoder, hash layer, bit
packing); this module has the session, the checks and the choice of the device.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dcsh_pg import codes
from dcsh_pg.card import ModelCard
from dcsh_pg.errors import InputError, ModelError, UsageError
from dcsh_pg.inference import AGAIN, SILENT, Watchdog, first_line, open_session, runtime, too_slow
from dcsh_pg.model_check import MAX_BYTES, check_model
from dcsh_pg.pixel_types import blank, to_type

if TYPE_CHECKING:
    import onnxruntime

DEVICES = ("auto", "cpu", "cuda")
ORIENTED_AT_ONCE = 64
"""Orientations of images that the encoder takes at once: 8 of 64 images take 15 GB in a
DenseNet-169."""


class Hasher:
    """A model file, ready to hash.  Thread-safe.

    Attributes:
        card: the file's metadata.
        metadata: the file's other metadata.
        sha256: SHA-256 of the file, hexadecimal: the model's identity.
        provider: 'cuda' or 'cpu', where it runs.
    """

    def __init__(
        self,
        source: str | Path | bytes,
        *,
        device: str = "auto",
        threads: int | None = None,
    ):
        """Opens a model.

        Args:
            source: the path of an ONNX file, or its content.
            device: 'auto' is CUDA where it is usable, otherwise the CPU.
            threads: CPU threads for one batch; default: all that this process may use.

        Raises:
            InputError: there is no such file, or it is not an ONNX file or is damaged.
            ModelError: it is not a dcsh-pg model, or one of a newer dcsh-pg; it contains what a
                model must not contain (:mod:`dcsh_pg.model_check`), does not match its card, or
                takes too much memory or time for two small images.
            UsageError: unknown device, or 'cuda' where CUDA is not usable.
        """
        if device not in DEVICES:
            raise UsageError(f"unknown device {device!r}", hint="use auto, cpu or cuda")
        content, name = _read(source)
        self.sha256 = hashlib.sha256(content).hexdigest()
        check_model(content, name)
        with Watchdog() as watchdog:
            self._session, self.provider = open_session(content, name, device, threads, watchdog)
            try:
                self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
                self.card = ModelCard.from_metadata(self.metadata, source=name)
                _check_graph(self._session, self.card, name)
            except UnicodeDecodeError:
                raise InputError(
                    f"{name} is damaged: a name or a value in it is not UTF-8", hint=AGAIN
                ) from None
            self._try(name, watchdog)

    def hash(self, images: np.ndarray) -> np.ndarray:
        """Images (N, H, W, C) of any H and W -> packed codes uint8 (N, K/8).

        Images have the card's ``dtype``: uint8, unless the model was trained on others.  A model
        whose card says ``input`` 'vector' takes vectors float32 (N, dim) instead, one of 'text'
        tokens int64 (N, length).
        An image's code does not depend on the others in its batch.

        Raises:
            ModelError: wrong dtype, shape or number of bands, or a vector that is not finite; or
                the model fails on these images.
        """
        return self.hash_real(images)[0]

    def hash_real(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Like ``hash``, and the real values: codes uint8 (N, K/8), z float32 (N, K).

        Raises:
            ModelError: as :meth:`hash`.
        """
        self._check(images)
        if len(images) == 0:
            bits = self.card.bits
            return np.empty((0, bits // 8), np.uint8), np.empty((0, bits), np.float32)
        packed, z = self._run(["code", "z"], images)
        return packed, z

    def _run(self, outputs: list[str], images: np.ndarray) -> list[np.ndarray]:
        """Runs the graph on few enough images at once that their orientations fit into memory."""
        step = max(1, ORIENTED_AT_ONCE // self.card.orientations)
        if self.card.orientations == 1 or len(images) <= step:
            return self._run_batch(outputs, images)
        parts = [
            self._run_batch(outputs, images[first : first + step])
            for first in range(0, len(images), step)
        ]
        return [np.concatenate(found) for found in zip(*parts, strict=True)]

    def _run_batch(
        self, outputs: list[str], images: np.ndarray, watchdog: Watchdog | None = None
    ) -> list[np.ndarray]:
        """Runs the graph once, and checks that its outputs have a row for each image."""
        run_options = runtime().RunOptions()
        run_options.log_severity_level = SILENT
        if watchdog is not None:
            watchdog.guard(lambda: setattr(run_options, "terminate", True))
        try:
            found: list[np.ndarray] = self._session.run(
                outputs, {self.card.input: images}, run_options
            )
        except Exception as error:  # onnxruntime's errors have no other common base
            if watchdog is not None and watchdog.barked:
                raise
            shape = " x ".join(map(str, images.shape))
            raise ModelError(
                f"the model {self.card.name} fails on {self.card.input}s of {shape}: {first_line(error)}",
                hint="hash fewer or smaller chips at once (--batch-size), or " + AGAIN,
            ) from error
        widths = {"code": (self.card.bits // 8, np.uint8), "z": (self.card.bits, np.float32)}
        for name, values in zip(outputs, found, strict=True):
            width, dtype = widths[name]
            if values.shape != (len(images), width) or values.dtype != dtype:
                raise ModelError(
                    f"the model {self.card.name} gives '{name}' of {values.dtype} {values.shape} "
                    f"for {len(images)} {self.card.input}s, not {np.dtype(dtype)} {(len(images), width)}",
                    hint=AGAIN,
                )
        return found

    def _try(self, name: str, watchdog: Watchdog) -> None:
        """Hashes two small images.

        Raises:
            ModelError: that takes too long, or the codes are not the signs of a finite z.
        """
        images = _trial(self.card)
        try:
            packed, z = self._run_batch(["code", "z"], images, watchdog)
        except ModelError:
            raise
        except Exception:
            raise too_slow(name) from None
        if not np.isfinite(z).all():
            raise ModelError(f"{name} gives values that are not finite", hint=AGAIN)
        if not np.array_equal(packed, codes.from_real(z)):
            raise ModelError(f"the codes of {name} are not the signs of its z", hint=AGAIN)
        if self.card.head and not np.allclose(_linear(self.card, images), z, rtol=1e-3, atol=1e-3):
            raise ModelError(f"the head in the card of {name} is not that of its graph", hint=AGAIN)

    def _check(self, images: np.ndarray) -> None:
        if self.card.takes_vectors:
            return self._check_vectors(images)
        if self.card.takes_text:
            return self._check_tokens(images)
        if images.ndim != 4 or images.dtype != self.card.dtype or 0 in images.shape[1:3]:
            raise ModelError(
                f"images of {images.dtype} {images.shape} cannot be hashed by the model {self.card.name}",
                hint=f"give {self.card.dtype} (N, H, W, {self.card.bands})",
            )
        if images.shape[3] != self.card.bands:
            raise ModelError(
                f"the model {self.card.name} takes images of {self.card.bands} bands, "
                f"these have {images.shape[3]}",
                hint="choose the bands with --bands, or train a model for these",
            )

    def _check_vectors(self, vectors: np.ndarray) -> None:
        takes = f"the model {self.card.name} takes vectors of {self.card.bands} numbers"
        if vectors.ndim != 2 or vectors.dtype != np.float32:
            raise ModelError(
                f"{takes}, not an array of {vectors.dtype} {vectors.shape}",
                hint=f"give float32 (N, {self.card.bands})",
            )
        if vectors.shape[1] != self.card.bands:
            raise ModelError(
                f"{takes}, these have {vectors.shape[1]}",
                hint="give embeddings of the kind that it was trained on, or train a model for these",
            )
        if not np.isfinite(vectors).all():
            raise ModelError("a vector has NaN or infinite numbers", hint="leave it out")

    def _check_tokens(self, tokens: np.ndarray) -> None:
        if tokens.ndim != 2 or tokens.dtype != np.int64 or tokens.shape[1] != self.card.bands:
            raise ModelError(
                f"the model {self.card.name} takes texts of {self.card.bands} tokens, not an array of "
                f"{tokens.dtype} {tokens.shape}",
                hint="search an archive of its images with --text TEXT",
            )


def _linear(card: ModelCard, vectors: np.ndarray) -> np.ndarray:
    """z of vectors (N, dim) by the head in the card: float32 (N, K)."""
    weight = np.array(card.head["weight"], np.float32).reshape(card.bits, card.bands)
    if card.head["unit_length"]:
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    z: np.ndarray = vectors @ weight.T + np.array(card.head["bias"], np.float32)
    return z


def _trial(card: ModelCard) -> np.ndarray:
    """Two small images, or vectors, or texts of tokens that every vocabulary has.

    Of types that mark invalid pixels the first image has some.
    """
    is_flat = card.takes_vectors or card.takes_text
    shape = (2, card.bands) if is_flat else (2, 16, 24, card.bands)
    numbers = np.arange(math.prod(shape)).reshape(shape) * 37 % 251
    if card.takes_text:
        return numbers % 2
    if card.takes_vectors:
        return numbers.astype(np.float32) / 125 - 1
    if not card.pixels.is_typed:
        return numbers.astype(np.uint8)
    low, high = np.array(card.low), np.array(card.high)
    images, _ = to_type(low + numbers / 250 * (high - low), np.ones(shape[:3], bool), card.dtype)
    images[0, :4] = blank((), card.dtype)
    return images


def _read(source: str | Path | bytes) -> tuple[bytes, str]:
    if isinstance(source, bytes):
        return source, "the model"
    try:
        with open(source, "rb", opener=_open_without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InputError(
                    f"the model {source} is not a regular file",
                    hint="give the ONNX file that 'dcsh-pg export' wrote",
                )
            return file.read(MAX_BYTES + 1), str(source)
    except FileNotFoundError:
        raise InputError(
            f"no such model file: {source}", hint="make one with 'dcsh-pg export'"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"cannot read the model file {source}: {reason}",
            hint="give the ONNX file that 'dcsh-pg export' wrote",
        ) from None


def _open_without_waiting(path: str, flags: int) -> int:
    """Does not block on a FIFO without a writer, so that it can be refused."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_graph(session: onnxruntime.InferenceSession, card: ModelCard, name: str) -> None:
    """Raises ModelError unless inputs and outputs match the card."""
    flat = {"vector": ("float", 2), "text": ("int64", 2)}
    kind, rank = flat.get(card.input, (card.dtype.replace("float32", "float"), 4))
    inputs = {i.name: (i.type, _width(i.shape, rank)) for i in session.get_inputs()}
    outputs = {o.name: (o.type, _width(o.shape, 2)) for o in session.get_outputs()}
    if inputs != {card.input: (f"tensor({kind})", card.bands)} or outputs != {
        "code": ("tensor(uint8)", card.bits // 8),
        "z": ("tensor(float)", card.bits),
    }:
        raise ModelError(
            f"the inputs or outputs of {name} do not match its card",
            hint=AGAIN,
        )
    if any(isinstance(size, int) for size in session.get_inputs()[0].shape[: rank - 1]):
        raise ModelError(
            f"{name} does not take {card.input}s of any number and size",
            hint=AGAIN,
        )


def _width(shape: list[int | str] | None, rank: int) -> int | str | None:
    """The last size of a shape of this rank, or None."""
    return shape[-1] if shape and len(shape) == rank else None
