"""The machine: Python, libraries, onnxruntime, GPU, weights of encoders, disk."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from dcsh_pg import __version__
from dcsh_pg.doctor.finding import MISSING, OK, PROBLEM, Finding

LIBRARIES = ("numpy", "rasterio", "shapely", "pyproj", "PIL", "psycopg", "sqlalchemy")
"""Libraries with compiled parts, which can be installed and still fail to load."""

EXTRAS = {
    "torch": ("train", "train, export and benchmark"),
    "timm": ("encoders", "encoders of timm"),
    "tokenizers": ("text", "search by text"),
    "geopandas": ("geo", "GeoParquet, FlatGeobuf and GeoPackage"),
    "matplotlib": ("plot", "plots of evaluate and benchmark"),
    "distributed": ("dask", "ingest on a Dask cluster"),
}
"""Module -> the extra of dcsh-pg that installs it, and what needs it."""

LEAST_FREE = 1 << 30
"""Bytes below which a folder's disk is reported."""


def versions() -> Iterator[Finding]:
    both = _installed("dcsh-pg", "dcsh-pg-cpu")
    if len(both) > 1:
        yield Finding(
            "dcsh-pg",
            PROBLEM,
            "dcsh-pg and dcsh-pg-cpu are both installed, and overwrite each other's files",
            "pip uninstall dcsh-pg dcsh-pg-cpu, then install one of them",
        )
    else:
        yield Finding("dcsh-pg", OK, __version__)
    yield Finding(
        "Python", OK, f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    )


def libraries() -> Iterator[Finding]:
    loaded = []
    for name in LIBRARIES:
        try:
            module = import_module(name)
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            yield Finding(
                name,
                PROBLEM,
                f"cannot be loaded: {reason}",
                f"pip install --force-reinstall {'pillow' if name == 'PIL' else name}",
            )
        else:
            loaded.append(f"{name} {getattr(module, '__version__', '')}")
    if len(loaded) < len(LIBRARIES):
        return
    yield Finding("libraries", OK, ", ".join(loaded))
    import rasterio

    try:
        rasterio.CRS.from_epsg(32630).to_wkt()
    except Exception as error:
        named = [name for name in ("PROJ_LIB", "PROJ_DATA", "GDAL_DATA") if os.environ.get(name)]
        yield Finding(
            "PROJ",
            PROBLEM,
            f"coordinate reference systems are unknown: {error}",
            f"unset {' '.join(named)}, which points to another installation" if named else None,
        )
    else:
        yield Finding("GDAL", OK, rasterio.__gdal_version__)


def onnxruntime() -> Iterator[Finding]:
    builds = _installed("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml")
    names = ", ".join(f"{name} {version}" for name, version in builds.items())
    if len(builds) > 1:
        keep = "onnxruntime-gpu" if "onnxruntime-gpu" in builds else "onnxruntime"
        yield Finding(
            "onnxruntime",
            PROBLEM,
            f"{names} are all installed, and overwrite each other's files",
            f"pip uninstall {' '.join(builds)}, then pip install {keep}",
        )
        return
    from dcsh_pg.inference import runtime

    try:
        providers = runtime().get_available_providers()
    except Exception as error:
        yield Finding(
            "onnxruntime",
            PROBLEM,
            f"{names or 'not installed'}: {error}",
            "pip install --force-reinstall onnxruntime",
        )
        return
    shown = [name.removesuffix("ExecutionProvider") for name in providers]
    yield Finding("onnxruntime", OK, f"{names or 'of unknown origin'}: {', '.join(shown)}")


def gpu() -> Iterator[Finding]:
    """Whether the package's model runs on CUDA."""
    from dcsh_pg.errors import DcshError
    from dcsh_pg.hasher import Hasher
    from dcsh_pg.inference import has_cuda_device
    from dcsh_pg.synthetic import MODEL

    if not has_cuda_device():
        yield Finding("GPU", MISSING, "no NVIDIA driver or no GPU; models run on the CPU")
        return
    try:
        Hasher(MODEL, device="cuda")
    except DcshError as error:
        yield Finding("GPU", MISSING, f"there is one, but {error.message}", error.hint)
    else:
        yield Finding("GPU", OK, "CUDA is usable")


def hashing() -> Iterator[Finding]:
    """Whether the package's model gives codes on the CPU."""
    from dcsh_pg.hasher import Hasher
    from dcsh_pg.synthetic import MODEL

    hasher = Hasher(MODEL, device="cpu")
    yield Finding("hashing", OK, f"the model of the demo gives codes of {hasher.card.bits} bits")


def extras() -> Iterator[Finding]:
    for module, (extra, purpose) in EXTRAS.items():
        if find_spec(module) is None:
            yield Finding(
                module,
                MISSING,
                f"not installed; for {purpose}",
                f"pip install '{_distribution()}[{extra}]'",
            )
        else:
            yield Finding(module, OK, f"{metadata.version(module)}, for {purpose}")


def weights() -> Iterator[Finding]:
    """Which pretrained weights have been downloaded."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    torch = Path(os.environ.get("TORCH_HOME") or cache / "torch") / "hub" / "checkpoints"
    hub = Path(os.environ.get("HF_HOME") or cache / "huggingface") / "hub"
    names = {file.stem.rpartition("-")[0] or file.stem for file in torch.glob("*.pth")}
    names |= {folder.name.split("--")[-1] for folder in hub.glob("models--timm--*")}
    if names:
        yield Finding("weights", OK, f"downloaded: {', '.join(sorted(names))}")
    else:
        yield Finding(
            "weights",
            MISSING,
            f"no pretrained weights of encoders in {torch}",
            "'dcsh-pg train --encoder densenet169' downloads them; offline use --weights FILE, or "
            "--encoder small, which needs none",
        )


def disk() -> Iterator[Finding]:
    from dcsh_pg.database.server.data_folder import data_folder

    folders = {
        "data": data_folder(),
        "cache": Path(platformdirs.user_cache_dir("dcsh-pg")),
        "temporary files": Path(tempfile.gettempdir()),
    }
    free = {name: _free(folder) for name, folder in folders.items()}
    shown = ", ".join(f"{n} {size / 2**30:.1f} GiB ({folders[n]})" for n, size in free.items())
    low = [name for name, size in free.items() if size < LEAST_FREE]
    yield Finding(
        "free disk",
        PROBLEM if low else OK,
        shown,
        f"free space for {', '.join(low)}, or name other folders with DCSH_PG_DATA, "
        "XDG_CACHE_HOME and TMPDIR"
        if low
        else None,
    )


def _installed(*names: str) -> dict[str, str]:
    """The versions of those distributions that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _distribution() -> str:
    return next(iter(_installed("dcsh-pg", "dcsh-pg-cpu")), "dcsh-pg")


def _free(folder: Path) -> int:
    """Free bytes on the disk of a folder that may not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
