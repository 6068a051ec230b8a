"""Side files that GDAL opens with a raster: overviews, masks, metadata.

GDAL opens these with every driver.  So the overview file of a harmless TIFF may be a VRT that reads any
file or server, and a named pipe among them blocks for ever.
"""

from __future__ import annotations

import os
import stat
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import rasterio

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.pixels.formats import IMAGES

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ERDAS = (b"EHFA_HEADER_TAG",)
_MAGIC = {".ovr": _TIFF, ".msk": _TIFF, ".aux": _ERDAS, ".rrd": _ERDAS}
"""First bytes of side files with pixels, by suffix."""

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def is_regular(path: Path | str) -> bool:
    """Whether a path, symbolic links followed, is a regular file."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def not_regular(path: Path | str) -> InputError:
    """The error for a path that is not a regular file."""
    try:
        kind = _KINDS.get(stat.S_IFMT(os.stat(path).st_mode), "not a regular file")
    except (OSError, ValueError):
        return InputError(f"no such file: {path}", hint="a symbolic link is broken")
    return InputError(f"{path} is {kind}", hint="only regular files are read; remove or rename it")


def special_files(folder: Path) -> tuple[str, ...]:
    """Named pipes, sockets and devices of a folder, which GDAL must not open as side files.

    Those with the suffix of an image are left out: they are scenes, which fail on their own.
    """
    return _listed(folder).special


def check_side_files(path: Path) -> None:
    """Refuses a raster with side files that GDAL must not open.

    Raises:
        InputError: an overview or mask file that is not a TIFF, or names other files; or side files
            in a folder with named pipes, sockets or devices.
    """
    beside = _listed(path.parent)
    for name in beside.pixels:
        if _goes_with(name, path):
            _check_pixels(path.parent / name)
    if beside.special and any(_goes_with(name, path) for name in os.listdir(path.parent)):
        raise InputError(
            f"{path}: its side files are not opened, because {beside.special[0]!r} is not a "
            "regular file",
            hint="remove the named pipe, socket or device from the folder",
        )


def _goes_with(name: str, path: Path) -> bool:
    """Whether a name in a raster's folder is that of a side file of it."""
    name, own, stem = name.lower(), f"{path.name}.".lower(), f"{path.stem}.".lower()
    if name.startswith(own):
        return True
    of_other = tuple(f"{stem[:-1]}{suffix}." for suffix in IMAGES)
    return name.startswith(stem) and not name.endswith(IMAGES) and not name.startswith(of_other)


class _Listing(NamedTuple):
    """The side files with pixels of a folder, and its named pipes, sockets and devices."""

    pixels: tuple[str, ...] = ()
    special: tuple[str, ...] = ()


def _listed(folder: Path) -> _Listing:
    try:
        return _listing(str(folder), os.stat(folder).st_mtime_ns)
    except OSError:
        return _Listing()  # opening the raster reports more


@lru_cache(maxsize=64)
def _listing(folder: str, _changed: int) -> _Listing:
    pixels, special = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name.lower()
            if name.endswith(IMAGES):
                continue
            # DirEntry.is_file raises for a link to itself.
            if not (is_regular(entry.path) or os.path.isdir(entry.path)) and os.path.exists(
                entry.path
            ):
                special.append(entry.name)
            elif name.endswith(tuple(_MAGIC)):
                pixels.append(entry.name)
    return _Listing(tuple(sorted(pixels)), tuple(sorted(special)))


def _check_pixels(path: Path) -> None:
    """Refuses overviews or a mask that GDAL would not read as TIFF, or that name other files."""
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(_TIFF) and path.suffix.lower() in (".ovr", ".msk"):
        with rasterio.open(path, driver="GTiff", sharing=False) as source:
            if "OVERVIEWS" not in source.tag_namespaces():
                return
    elif not head or head.startswith(_MAGIC[path.suffix.lower()]):
        return
    raise InputError(
        f"{path} has no overviews or mask in a format that is opened with a raster",
        hint="give --any-driver if you trust it, or remove it",
    )
