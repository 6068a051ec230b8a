"""The machine that a benchmark ran on, for the report."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy
import sklearn
import torch

from dcsh_pg import __version__


def describe_host(device: str) -> dict[str, Any]:
    """The processor, the GPU if it is used, and versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "versions": {
            "dcsh-pg": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": numpy.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
