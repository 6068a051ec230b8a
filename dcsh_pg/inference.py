"""The onnxruntime session of a model: its device, and limits on memory and time."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import psutil

from dcsh_pg.errors import InputError, ModelError, UsageError

if TYPE_CHECKING:
    import onnxruntime

_CUDA_PROVIDER = (
    "CUDAExecutionProvider",
    # TF32 would round products to 10 bits of mantissa: other codes on the GPU than on the CPU.
    # The exhaustive search is repeated for every new shape, so also for every last batch.
    {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},
)
_CPU_PROVIDER = "CPUExecutionProvider"
_ONLY_ERRORS, SILENT = 3, 4  # onnxruntime's log severities; fatal errors are raised

MEMORY_SHARE = 0.75
"""Fraction of this machine's memory that all models of a process may allocate on the CPU."""
TRIAL_SECONDS = 120.0
"""Time limit for opening a model and hashing two small images."""
AGAIN = "make the model file again with 'dcsh-pg export'"


class Watchdog:
    """Stops a block that takes longer than ``TRIAL_SECONDS``.

    Attributes:
        barked: whether the time ran out.
    """

    def __init__(self) -> None:
        self.barked = False
        self._stop: Callable[[], object] = lambda: None
        self._lock = threading.Lock()
        self._timer = threading.Timer(TRIAL_SECONDS, self._bark)
        self._timer.daemon = True

    def __enter__(self) -> Watchdog:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def guard(self, stop: Callable[[], object]) -> None:
        """Calls ``stop`` when the time runs out."""
        with self._lock:
            self._stop = stop
            if self.barked:
                stop()

    def _bark(self) -> None:
        with self._lock:
            self.barked = True
            self._stop()


def too_slow(name: str) -> ModelError:
    return ModelError(
        f"{name} takes more than {TRIAL_SECONDS:g} s to open and hash two small images", hint=AGAIN
    )


def open_session(
    content: bytes, name: str, device: str, threads: int | None, watchdog: Watchdog
) -> tuple[onnxruntime.InferenceSession, str]:
    reason = ""
    if device != "cpu":
        session, reason = _open_on_cuda(content, threads)
        if session is not None:
            return session, "cuda"
    try:
        session = _session(content, [_CPU_PROVIDER], threads, watchdog)
    except Exception as error:  # onnxruntime's errors have no other common base
        if watchdog.barked:
            raise too_slow(name) from None
        raise InputError(
            f"{name} is not an ONNX file, or is damaged ({first_line(error)})", hint=AGAIN
        ) from error
    if device == "cuda":
        raise UsageError(
            f"CUDA is not usable here: {reason}",
            hint="use --device cpu, or install the NVIDIA driver and "
            "pip install 'onnxruntime-gpu[cuda,cudnn]'",
        )
    return session, "cpu"


def _session(
    content: bytes, providers: list[Any], threads: int | None, watchdog: Watchdog | None = None
) -> onnxruntime.InferenceSession:
    onnx = runtime()
    options = onnx.SessionOptions()
    options.log_severity_level = SILENT if providers == [_CPU_PROVIDER] else _ONLY_ERRORS
    # Allocators and providers, which sessions share, log to the process's logger.
    onnx.set_default_logger_severity(options.log_severity_level)
    options.intra_op_num_threads = threads or _usable_cores()
    # Threads that spin while waiting take cores from those that read the next batch.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if _limit_memory():
        options.add_session_config_entry("session.use_env_allocators", "1")
    if watchdog is not None and hasattr(options, "set_load_cancellation_flag"):
        watchdog.guard(lambda: options.set_load_cancellation_flag(True))
    return onnx.InferenceSession(content, options, providers, enable_fallback=0)


@cache
def _limit_memory() -> bool:
    """Limits the memory of this process's models on the CPU; False where that is not possible."""
    onnx = runtime()
    limit = int(MEMORY_SHARE * _memory())
    try:
        arena = onnx.OrtArenaCfg({"max_mem": limit})
        kind = onnx.OrtAllocatorType.ORT_ARENA_ALLOCATOR
        memory = onnx.OrtMemoryInfo("Cpu", kind, 0, onnx.OrtMemType.DEFAULT)
        onnx.create_and_register_allocator(memory, arena)
    except Exception:  # an older onnxruntime, or this program has registered one of its own
        return False
    return True


def _memory() -> int:
    """Bytes of memory that this process may use."""
    limits = [psutil.virtual_memory().total]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(file).read_text()))
    return min(limits)


@cache
def runtime() -> ModuleType:
    """The module onnxruntime, without the warnings about GPUs of its first import."""
    with _captured_stderr():
        return import_module("onnxruntime")


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# -- CUDA, quietly -------------------------------------------------------------------------------


def _open_on_cuda(
    content: bytes, threads: int | None
) -> tuple[onnxruntime.InferenceSession | None, str]:
    """A session on CUDA, or None and the reason why there is none.

    onnxruntime reports missing CUDA libraries on stderr and falls back to the CPU, so its stderr is
    captured for the reason.
    """
    onnx = runtime()
    if _CUDA_PROVIDER[0] not in onnx.get_available_providers():
        return None, "this onnxruntime is built without it"
    if not has_cuda_device():
        return None, "there is no NVIDIA driver or no GPU"
    with _captured_stderr() as captured, contextlib.redirect_stdout(io.StringIO()):
        try:
            if hasattr(onnx, "preload_dlls"):
                onnx.preload_dlls()
            session = _session(content, [_CUDA_PROVIDER, _CPU_PROVIDER], threads)
        except Exception as error:  # onnxruntime's errors have no other common base
            return None, first_line(error)
    if session.get_providers()[0] != _CUDA_PROVIDER[0]:
        return None, _reason("".join(captured))
    return session, ""


def has_cuda_device() -> bool:
    """Whether the NVIDIA driver is installed and finds at least one GPU."""
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
    """Captures the stderr of native code; the list has its text when the block ends."""
    captured: list[str] = []
    if sys.stderr is None:  # a program without a console, as QGIS on Windows
        yield captured
        return
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                yield captured
            finally:
                os.dup2(saved, 2)
                file.seek(0)
                captured.append(file.read().decode(errors="replace"))
    finally:
        os.close(saved)


def _reason(captured: str) -> str:
    """The cause in onnxruntime's log: the library that it could not open."""
    for line in captured.splitlines():
        if " with error: " in line:
            return line.rpartition(" with error: ")[2].strip()
    return "onnxruntime could not load its CUDA provider"


def first_line(error: Exception) -> str:
    """The first line of an onnxruntime error, without its number and name."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    return (text.splitlines() or [type(error).__name__])[0]
