"""Encoders that are ONNX files: run by onnxruntime, and joined into the exported graph.

A file is as little trusted as a model (:mod:`dcsh_pg.model_check`), and is tried on small images
before it is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from dcsh_pg.errors import DcshError, InputError, ModelError, UsageError
from dcsh_pg.inference import SILENT, Watchdog, first_line, open_session, runtime, too_slow
from dcsh_pg.learning.encoders.architecture import Architecture
from dcsh_pg.learning.encoders.onnx_card import OnnxCard
from dcsh_pg.learning.encoders.onnx_graph import adapted, with_dim
from dcsh_pg.model_check import MAX_BYTES, check_model

PREFIX = "onnx:"
PLACEHOLDER = "dcsh_pg::OnnxEncoder"
"""The operator that stands for the encoder in a traced graph."""
MAX_DIM = 65_536
"""Most features."""
AGAIN = "export it again"
HINT = (
    "export it with weights inside (onnx.save(onnx.load(FILE), FILE)), and without loops, conditions, "
    "functions or operators of one runtime"
)


def find(name: str, card: Path | None = None, settings: Sequence[str] = ()) -> Architecture:
    """The encoder in a file; ``name`` is its path without the prefix.

    Args:
        card, settings: as :meth:`OnnxCard.of` takes them.

    Raises:
        InputError: file or card cannot be read or are damaged.
        ModelError: the file contains what an encoder must not contain, does not match its card, or gives
            features that are not finite or depend on the other images of a batch.
    """
    path = Path(name)
    content = _read(path)
    known = OnnxCard.of(path, card, settings)
    check_model(content, name, hint=HINT)
    try:
        model = adapted(onnx.load_from_string(content), known, name)
    except DcshError:
        raise
    except Exception as error:  # of a graph that breaks the format, from protobuf and onnx
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"the encoder {name} is damaged: {reason[:200]}", hint=AGAIN) from None
    session = _Session(with_dim(model, 0), name)
    session.try_out(*(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:3]))
    return of_graph(with_dim(model, session.dim), name, *known.standardisation)


def of_graph(
    content: bytes, name: str, mean: Sequence[float], std: Sequence[float]
) -> Architecture:
    """The encoder whose file is an adapted graph (:mod:`onnx_graph`).

    Raises:
        ModelError, InputError: it contains what an encoder must not contain, or is damaged.
    """
    check_model(content, name, hint=HINT)
    graph = onnx.load_from_string(content).graph
    bands, size = (dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim[1:3])
    dim = graph.output[0].type.tensor_type.shape.dim[1].dim_value

    def build(asked: int) -> nn.Module:
        if asked != bands:
            raise UsageError(
                f"the encoder {name} takes images of {bands} bands, these have {asked}",
                hint=f"choose {bands} bands in its order with --bands",
            )
        return OnnxNetwork(content, name, dim)

    return Architecture(
        build,
        dim=dim,
        input_size=size,
        learned=False,
        default_weights="none",
        mean=tuple(mean),
        std=tuple(std),
        stored=(tuple(255 * m for m in mean), tuple(255 * s for s in std)),
    )


class OnnxNetwork(nn.Module):
    """Standardised images float32 (N, bands, S, S) -> features float32 (N, dim), without gradients.

    Attributes:
        onnx: the file of the adapted graph, uint8, which saves it with the hash function.
    """

    onnx: Tensor

    def __init__(self, content: bytes, name: str, dim: int):
        super().__init__()
        self.dim = dim
        self.register_buffer("onnx", torch.frombuffer(bytearray(content), dtype=torch.uint8))
        self._session = _Session(content, name)

    @property
    def content(self) -> bytes:
        return self._session.content

    def forward(self, images: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            shape = (images.shape[0], self.dim)
            placeholder: Tensor = torch.onnx.ops.symbolic(
                PLACEHOLDER, (images,), dtype=torch.float32, shape=shape, version=1
            )
            return placeholder
        features = self._session.run(images.detach().cpu().numpy(), images.device.type)
        return torch.from_numpy(features).to(images.device)


class _Session:
    """An adapted graph in onnxruntime, opened on each device when it is first used there."""

    def __init__(self, content: bytes, name: str):
        self.content, self.name, self.dim = content, name, 0
        self._opened: dict[str, Any] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> _Session:
        return self

    def run(
        self, images: np.ndarray, device: str = "cpu", watchdog: Watchdog | None = None
    ) -> np.ndarray:
        """Images float32 (N, bands, S, S) -> features float32 (N, dim).

        Raises:
            ModelError: the encoder fails.
        """
        if device not in self._opened:
            self._opened[device] = self._open("cpu" if device == "cpu" else "auto", watchdog)
        options = runtime().RunOptions()
        options.log_severity_level = SILENT
        if watchdog is not None:
            watchdog.guard(lambda: setattr(options, "terminate", True))
        try:
            (features,) = self._opened[device].run(None, {"images": images}, options)
        except Exception as error:  # onnxruntime's errors have no other common base
            if watchdog is not None and watchdog.barked:
                raise ModelError(too_slow(self.name).message, hint=AGAIN) from None
            shape = " x ".join(map(str, images.shape))
            raise self._unfit(f"fails on images of {shape}: {first_line(error)}") from None
        return np.asarray(features)

    def _open(self, device: str, watchdog: Watchdog | None) -> Any:
        try:
            if watchdog is not None:
                return open_session(self.content, self.name, device, None, watchdog)[0]
            with Watchdog() as own:
                return open_session(self.content, self.name, device, None, own)[0]
        except DcshError as error:
            raise type(error)(error.message, hint=AGAIN) from None

    def try_out(self, bands: int, size: int) -> None:
        """Encodes three images at once and one by one, and sets ``dim``.

        Raises:
            ModelError: see :func:`find`.
        """
        count = 3 * bands * size * size
        images = (np.arange(count, dtype=np.float32) * 37 % 251 / 125 - 1).reshape(
            3, bands, size, size
        )
        images *= np.array([1, -0.5, 0.1], np.float32)[:, None, None, None]
        with Watchdog() as watchdog:
            single = np.concatenate([self.run(image[None], "cpu", watchdog) for image in images])
            if single.ndim != 2 or len(single) != 3 or not 1 <= single.shape[1] <= MAX_DIM:
                raise self._unfit(f"gives features of {single.shape[1:]} for an image")
            if not np.isfinite(single).all():
                raise self._unfit("gives values that are not finite")
            try:
                together = self.run(images, "cpu", watchdog)
            except ModelError:
                together, reason = np.empty(0), "takes one image at a time"
            else:
                reason = "gives an image in a batch other features than alone"
        tolerance = 1e-3 * float(np.abs(single).max())
        if together.shape != single.shape or not np.allclose(together, single, 1e-3, tolerance):
            raise ModelError(
                f"the encoder {self.name} {reason}",
                hint="export it for batches of any size, with dynamic_axes or dynamic_shapes",
            )
        self.dim = single.shape[1]

    def _unfit(self, reason: str) -> ModelError:
        return ModelError(f"the encoder {self.name} {reason}", hint=AGAIN)


def without_folder(name: str) -> str:
    """An encoder's name as models keep it: of an ONNX file only the file's name."""
    return PREFIX + Path(name[len(PREFIX) :]).name if name.startswith(PREFIX) else name


def digest(network: nn.Module) -> str | None:
    """SHA-256 of an ONNX encoder's graph, hexadecimal; None of other networks."""
    if not isinstance(network, OnnxNetwork):
        return None
    return hashlib.sha256(network.content).hexdigest()


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise InputError(
                f"no such encoder file: {path}", hint="give --encoder onnx:FILE, an ONNX file"
            )
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read the encoder {path}: {getattr(error, 'strerror', None) or error}",
            hint="give --encoder onnx:FILE, an ONNX file",
        ) from None
