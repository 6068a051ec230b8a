"""Images -> packed codes, by running a model file in onnxruntime.

Everything that happens to a pixel (resize, scaling, encoder, hash layer, bit packing) is inside
the file's graph; here are only the session, the checks and the choice of the device.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from dcsh_pg.card import ModelCard
from dcsh_pg.errors import InputError, ModelError, UsageError

if TYPE_CHECKING:
    import onnxruntime

DEVICES = ("auto", "cpu", "cuda")
ORIENTED_AT_ONCE = 64
"""So many orientations of images go through the encoder at once: those of 64 images in 8 take 15 GB
where it is a DenseNet-169."""

_CUDA_PROVIDER = (
    "CUDAExecutionProvider",
    # TF32 would round products to 10 bits of mantissa: other codes on the GPU than on the CPU.
    # The exhaustive search is repeated for every new shape, so also for every last batch.
    {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},
)
_CPU_PROVIDER = "CPUExecutionProvider"
_ONLY_ERRORS = 3  # onnxruntime's log severity


class Hasher:
    """A model file, ready to hash.  May be used by several threads at once.

    Attributes:
        card: what the file says about itself.
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
            device: 'auto' takes CUDA where it is usable and the CPU otherwise.
            threads: CPU threads for one batch; default: as many as this process may use.

        Raises:
            InputError: there is no such file, or it is not an ONNX file or is damaged.
            ModelError: it is not a dcsh-pg model, or one of a newer dcsh-pg.
            UsageError: no such device, or 'cuda' where CUDA is not usable.
        """
        if device not in DEVICES:
            raise UsageError(f"no device is called {device!r}", hint="use auto, cpu or cuda")
        content, name = _read(source)
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._session, self.provider = _open_session(content, name, device, threads)
        self.card = ModelCard.from_metadata(
            self._session.get_modelmeta().custom_metadata_map, source=name
        )
        _check_graph(self._session, self.card, name)

    def hash(self, images: np.ndarray) -> np.ndarray:
        """Images uint8 (N, H, W, C) of any H and W -> packed codes uint8 (N, K/8).

        An image's code does not depend on the others in its batch.

        Raises:
            ModelError: another dtype or shape, or other bands than the model takes.
        """
        self._check(images)
        if len(images) == 0:
            return np.empty((0, self.card.bits // 8), np.uint8)
        (codes,) = self._run(["code"], images)
        return codes

    def hash_real(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Like ``hash``, and the real values: codes uint8 (N, K/8), z float32 (N, K).

        Raises:
            ModelError: another dtype or shape, or other bands than the model takes.
        """
        self._check(images)
        if len(images) == 0:
            bits = self.card.bits
            return np.empty((0, bits // 8), np.uint8), np.empty((0, bits), np.float32)
        codes, z = self._run(["code", "z"], images)
        return codes, z

    def _run(self, outputs: list[str], images: np.ndarray) -> list[np.ndarray]:
        """Runs the graph on so few images at once that their orientations fit into memory."""
        step = max(1, ORIENTED_AT_ONCE // self.card.orientations)
        if self.card.orientations == 1 or len(images) <= step:
            return self._session.run(outputs, {"image": images})
        parts = [
            self._session.run(outputs, {"image": images[first : first + step]})
            for first in range(0, len(images), step)
        ]
        return [np.concatenate(found) for found in zip(*parts, strict=True)]

    def _check(self, images: np.ndarray) -> None:
        if images.ndim != 4 or images.dtype != np.uint8 or 0 in images.shape[1:3]:
            raise ModelError(
                f"images of {images.dtype} {images.shape} cannot be hashed",
                hint="give uint8 (N, H, W, C)",
            )
        if images.shape[3] != self.card.bands:
            raise ModelError(
                f"the model {self.card.name} takes images of {self.card.bands} bands, "
                f"these have {images.shape[3]}",
                hint="choose the bands with --bands, or train a model for these",
            )


def _read(source: str | Path | bytes) -> tuple[bytes, str]:
    if isinstance(source, bytes):
        return source, "the model"
    try:
        return Path(source).read_bytes(), str(source)
    except FileNotFoundError:
        raise InputError(
            f"no such model file: {source}", hint="make one with 'dcsh-pg export'"
        ) from None
    except OSError as error:
        raise InputError(
            f"cannot read the model file {source}: {error.strerror}",
            hint="give the ONNX file that 'dcsh-pg export' wrote",
        ) from None


def _open_session(
    content: bytes, name: str, device: str, threads: int | None
) -> tuple[onnxruntime.InferenceSession, str]:
    reason = ""
    if device != "cpu":
        session, reason = _open_on_cuda(content, threads)
        if session is not None:
            return session, "cuda"
    try:
        session = _session(content, [_CPU_PROVIDER], threads)
    except Exception as error:  # onnxruntime's errors share no other base
        raise InputError(
            f"{name} is not an ONNX file, or is damaged ({_first_line(error)})",
            hint="make the model file again with 'dcsh-pg export'",
        ) from error
    if device == "cuda":
        raise UsageError(
            f"CUDA is not usable here: {reason}",
            hint="use --device cpu, or install the NVIDIA driver and "
            "pip install 'onnxruntime-gpu[cuda,cudnn]'",
        )
    return session, "cpu"


def _session(content: bytes, providers: list, threads: int | None) -> onnxruntime.InferenceSession:
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = _ONLY_ERRORS
    options.intra_op_num_threads = threads or _usable_cores()
    # Threads that spin while they wait take the cores from those that read the next batch.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(content, options, providers, enable_fallback=0)


def _runtime() -> ModuleType:
    """The module onnxruntime, whose first import warns of graphics cards that it cannot use."""
    with _captured_stderr():
        import onnxruntime
    return onnxruntime


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# -- CUDA, quietly -------------------------------------------------------------------------------


def _open_on_cuda(
    content: bytes, threads: int | None
) -> tuple[onnxruntime.InferenceSession | None, str]:
    """A session on CUDA, or None and the reason why there is none.

    onnxruntime tells of missing CUDA libraries on stderr and goes on with the CPU, so what it
    says is caught and becomes the reason.
    """
    runtime = _runtime()
    if _CUDA_PROVIDER[0] not in runtime.get_available_providers():
        return None, "this onnxruntime is built without it"
    if not _has_cuda_device():
        return None, "there is no NVIDIA driver or no GPU"
    with _captured_stderr() as said, contextlib.redirect_stdout(io.StringIO()):
        try:
            if hasattr(runtime, "preload_dlls"):
                runtime.preload_dlls()
            session = _session(content, [_CUDA_PROVIDER, _CPU_PROVIDER], threads)
        except Exception as error:  # onnxruntime's errors share no other base
            return None, _first_line(error)
    if session.get_providers()[0] != _CUDA_PROVIDER[0]:
        return None, _reason("".join(said))
    return session, ""


def _has_cuda_device() -> bool:
    """Whether the NVIDIA driver is there and tells of at least one GPU."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return (
        driver.cuInit(0) == 0
        and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
        and count.value > 0
    )


@contextlib.contextmanager
def _captured_stderr() -> Iterator[list[str]]:
    """Catches what native code writes to stderr; the list gets its text when the block ends."""
    said: list[str] = []
    if sys.stderr is None:  # a program without a console, as QGIS on Windows
        yield said
        return
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                yield said
            finally:
                os.dup2(saved, 2)
                file.seek(0)
                said.append(file.read().decode(errors="replace"))
    finally:
        os.close(saved)


def _reason(said: str) -> str:
    """The cause in what onnxruntime logged: the library that it could not open."""
    for line in said.splitlines():
        if " with error: " in line:
            return line.rpartition(" with error: ")[2].strip()
    return "onnxruntime could not load its CUDA provider"


def _first_line(error: Exception) -> str:
    """What onnxruntime says, without the number and name that it puts before."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    return (text.splitlines() or [type(error).__name__])[0]


def _check_graph(session: onnxruntime.InferenceSession, card: ModelCard, name: str) -> None:
    """Raises ModelError unless inputs and outputs are those that the card promises."""
    inputs = {i.name: (i.type, i.shape[-1]) for i in session.get_inputs()}
    outputs = {o.name: (o.type, o.shape[-1]) for o in session.get_outputs()}
    if inputs != {"image": ("tensor(uint8)", card.bands)} or outputs != {
        "code": ("tensor(uint8)", card.bits // 8),
        "z": ("tensor(float)", card.bits),
    }:
        raise ModelError(
            f"{name} has other inputs or outputs than its card says",
            hint="make the model file again with 'dcsh-pg export'",
        )
