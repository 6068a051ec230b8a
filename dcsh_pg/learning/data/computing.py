"""How features of a frozen encoder are computed: by PyTorch or onnxruntime, and in which precision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from dcsh_pg.inference import Watchdog, first_line, open_session
from dcsh_pg.learning.encoders.encoder import ImageEncoder
from dcsh_pg.learning.model import tracing
from dcsh_pg.learning.model.device import has_matrix_units, receive
from dcsh_pg.progress import SILENT, Progress

Exact = Literal["float32", "bfloat16"]
EXACT: tuple[Exact, ...] = ("float32", "bfloat16")
Precision = Literal["auto", "float32", "bfloat16"]
WORTH_EXPORTING = 4_000_000_000
"""Passes times weights of the encoder from which exporting it takes less time than it saves."""
TOLERANCE = 1e-4
"""Largest difference between features of onnxruntime and PyTorch, relative to their length."""


@dataclass(frozen=True)
class Way:
    """How features are computed; those of different ways are cached apart.

    Attributes:
        runtime: what runs the encoder.  onnxruntime takes a third to a half of PyTorch's time on a
            CPU for convolutional networks, and agrees with it to about 1e-6.
        precision: float32 is never TF32, on a GPU either: features are those of a CPU.  bfloat16, for
            convolutions and matrix products, is several times faster on GPUs and on processors with
            matrix units; features differ by about one per cent.
    """

    runtime: Literal["PyTorch", "onnxruntime"] = "PyTorch"
    precision: Exact = "float32"

    @property
    def key(self) -> str:
        """Its part of the key of cached features."""
        if self.runtime == "onnxruntime":
            return " onnxruntime"
        return "" if self.precision == "float32" else f" {self.precision}"

    @classmethod
    def choose(
        cls, precision: Precision, device: torch.device, work: int, *, is_onnx: bool = False
    ) -> Way:
        """The fastest way on this machine.

        Args:
            precision: 'auto' is bfloat16 on GPUs and on processors with matrix units for it.
            work: images times views times weights.
            is_onnx: whether the encoder is an ONNX file, which runs in float32 anyway.
        """
        on_cpu = device.type == "cpu"
        if is_onnx:
            return cls()
        if precision == "bfloat16" or (precision == "auto" and (not on_cpu or has_matrix_units())):
            return cls(precision="bfloat16")
        return cls("onnxruntime" if on_cpu and work >= WORTH_EXPORTING else "PyTorch")


class Compute(Protocol):
    """Runs a frozen encoder.

    Attributes:
        way: how.
        passes: images in a run that keep the device busy.
    """

    way: Way
    passes: int

    def __call__(self, inputs: Tensor) -> Callable[[], np.ndarray]:
        """Standardised images float32 (N, C, S, S) -> what returns their features float32 (N, dim).

        A GPU computes them meanwhile.
        """


def computing(
    encoder: ImageEncoder, way: Way, device: torch.device, progress: Progress = SILENT
) -> Compute:
    """The encoder, run in this way, or by PyTorch where onnxruntime cannot run it."""
    if way.runtime == "onnxruntime":
        progress.start(f"exporting {encoder.name} to onnxruntime")
        try:
            return OnnxCompute(encoder)
        except Exception as error:  # of torch's exporter and of onnxruntime: no common base
            progress.note(
                f"features ({encoder.name}): by PyTorch, because onnxruntime cannot run it: "
                f"{first_line(error)[:200]}"
            )
    return TorchCompute(encoder, way.precision, device)


class TorchCompute:
    """By PyTorch, on any device."""

    def __init__(
        self,
        encoder: ImageEncoder,
        precision: Exact = "float32",
        device: torch.device = torch.device("cpu"),
    ):
        self.encoder, self.device = encoder, device
        self.way = Way(precision=precision)
        self.passes = 256 if device.type == "cuda" else 32

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Callable[[], np.ndarray]:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        # Autocast picks the operators for which bfloat16 is safe; norms stay in float32.
        reduced = torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.way.precision == "bfloat16"
        )
        with reduced, _cudnn(self.device):
            features = self.encoder(inputs)
        fetch = receive(features.float())
        return lambda: fetch().numpy()


class OnnxCompute:
    """By onnxruntime on the CPU, in float32."""

    way = Way("onnxruntime")
    passes = 8  # more do not stay in the caches of the processor

    def __init__(self, encoder: ImageEncoder):
        """Exports the encoder and compares it with PyTorch.

        Raises:
            Exception: it cannot be exported or run, or features differ.
        """
        shape = (2, encoder.bands, encoder.input_size, encoder.input_size)
        example = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 4 - 2
        model = tracing.trace(encoder, example, name="images", sizes={0: "N"}, outputs=["features"])
        with Watchdog() as watchdog:
            self.session, _ = open_session(
                model.SerializeToString(), encoder.name, "cpu", None, watchdog
            )
        expected, found = TorchCompute(encoder)(example)(), self(example)()
        if not np.linalg.norm(found - expected) <= TOLERANCE * np.linalg.norm(expected):
            raise ValueError("it gives other features than PyTorch")

    def __call__(self, inputs: Tensor) -> Callable[[], np.ndarray]:
        features: np.ndarray = self.session.run(None, {"images": inputs.contiguous().numpy()})[0]
        return lambda: features


def _cudnn(device: torch.device) -> AbstractContextManager[object]:
    """On a GPU: the fastest algorithms for images of one size, without TF32."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)
