"""Files, folders, globs and URLs."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from natsort import natsort_keygen, ns
from rasterio.io import DatasetReader

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.metadata.sidecar import Sidecar
from dcsh_pg.imagery.pixels.formats import IMAGES
from dcsh_pg.imagery.pixels.gdal import gdal, is_gdal_name, open_raster
from dcsh_pg.imagery.pixels.open import is_picture
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.scene import Scene
from dcsh_pg.imagery.sources.listed import Listed, listed_scenes
from dcsh_pg.imagery.sources.walk import unreadable, walk
from dcsh_pg.pixel_types import TYPES, UINT8


def find_scenes(
    sources: Sequence[str],
    *,
    reading: Reading,
    bands: int,
    sidecar: Path | None = None,
    options: SceneOptions | None = None,
) -> list[Scene]:
    """The scenes of :func:`files_listing`, as :func:`listed_scenes` returns them."""
    reading.check_bands(bands)
    listed = files_listing(sources, sidecar=sidecar)
    return listed_scenes(listed, reading=reading, bands=bands, options=options)


def files_listing(
    sources: Sequence[str],
    *,
    sidecar: Path | None = None,
    suffixes: tuple[str, ...] = IMAGES,
    what: str = "image",
) -> list[Listed]:
    """One entry for each image that ``sources`` name, and for each row of a sidecar without a file.

    Args:
        sources: each a file, a folder (searched with its sub-folders), a glob, a URL or a GDAL
            name such as '/vsizip/...'.
        sidecar: CSV or GeoJSON file, see :class:`dcsh_pg.imagery.metadata.sidecar.Sidecar`.
        suffixes, what: endings of the files to find in folders, and their name in messages.

    Returns:
        Sources in the order given, a folder's files in natural order, each file once.

    Raises:
        InputError: a source does not exist or contains no image, or the sidecar cannot be read.
    """
    records = Sidecar(sidecar) if sidecar else None
    images = _find(sources, _Kind(suffixes, what))
    if records is None:
        return images
    found = [records.find(image.name) for image in images]
    if not any(found):
        raise InputError(
            f"sidecar {sidecar} matches none of the {len(images)} images",
            hint=f"its names must be like {images[0].name!r}, but it has {records.names()[:1]}",
        )
    listed = [
        replace(image, error=image.error or one)
        if isinstance(one, InputError)
        else replace(image, metadata=one)
        for image, one in zip(images, found, strict=True)
    ]
    return listed + [Listed(where, error=error) for where, error in records.nameless]


def are_plain_pictures(sources: Sequence[str], *, any_driver: bool = False) -> bool:
    """Whether ``sources`` contain only pictures that are not georeferenced.

    They are hashed whole by default (``chip_size=None``), rasters in chips.  Only the first raster is
    opened.

    Raises:
        InputError: a source does not exist or contains no image.
    """
    images = [(image.uri, image.named) for image in _find(sources, _IMAGES) if not image.error]
    raster = next(((uri, named) for uri, named in images if uri and not is_picture(uri)), None)
    if raster is None:
        return True
    uri, named = raster
    try:
        with gdal(uri), open_raster(uri, any_driver=any_driver or named) as source:
            return source.crs is None and source.gcps[1] is None and not source.tags(ns="RPC")
    except InputError:
        return False


def native_type(
    sources: Sequence[str], *, raw_values: bool = False, any_driver: bool = False
) -> str:
    """The type of :data:`dcsh_pg.pixel_types.TYPES` that keeps the values of the first raster of ``sources``.

    Of plain pictures, and of rasters that cannot be read, it is uint8.

    Args:
        raw_values: of the reading.

    Raises:
        InputError: a source does not exist or contains no image.
    """
    for image in _find(sources, _IMAGES):
        if image.error or image.uri is None or is_picture(image.uri):
            continue
        try:
            with (
                gdal(image.uri),
                open_raster(image.uri, any_driver=any_driver or image.named) as source,
            ):
                return _type_of(source, raw_values)
        except InputError:
            continue
    return UINT8


def _type_of(source: DatasetReader, raw_values: bool) -> str:
    if not source.count:
        return UINT8
    dtype = np.result_type(*source.dtypes)
    if dtype.kind == "c" or dtype == np.uint8:
        return UINT8
    is_scaled = set(source.scales) != {1.0} or set(source.offsets) != {0.0}
    is_kept = str(dtype) in TYPES and (raw_values or not is_scaled)
    return str(dtype) if is_kept else "float32"


@dataclass(frozen=True)
class _Kind:
    """Endings of the files to find, and their name in messages."""

    suffixes: tuple[str, ...]
    what: str

    def hint(self) -> str:
        endings = " ".join(suffix[1:] for suffix in self.suffixes)
        return f"{self.what}s are {endings}; give others as files"


_IMAGES = _Kind(IMAGES, "image")


def _find(sources: Sequence[str], kind: _Kind) -> list[Listed]:
    images: dict[str, Listed] = {}
    for source in sources:
        for image in _expand(source, kind):
            images.setdefault(image.address, image)
    return list(images.values())


def _expand(source: str, kind: _Kind) -> Iterator[Listed]:
    if is_gdal_name(source):
        yield Listed(source, source, source.rpartition("/")[2], named=True)
        return
    try:
        path = Path(os.path.abspath(Path(source).expanduser()))
        is_folder, is_there = path.is_dir(), path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, no such user
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{source} cannot be read: {reason}", hint="check the spelling of the path"
        ) from None
    if is_folder:
        yield from _in_folder(path, kind)
    elif is_there:
        yield Listed(str(path), str(path), path.name, named=True, error=unreadable(path))
    elif glob.has_magic(source):
        matches = sorted(_matches(path), key=_natural)
        if not matches:
            raise InputError(f"no file matches {source}", hint="check the spelling of the pattern")
        yield from _in_matches(source, [Path(match) for match in matches], kind)
    else:
        raise InputError(f"no such file or folder: {source}", hint="check the spelling of the path")


def _in_matches(source: str, matches: list[Path], kind: _Kind) -> Iterator[Listed]:
    """The images that a glob matches, and those in folders that it matches."""
    is_empty = True
    for match in matches:
        found = [Listed(str(match), str(match), match.name, error=unreadable(match))]
        if match.is_dir():
            found, _ = _search(match, kind)
        elif not match.name.lower().endswith(kind.suffixes):
            continue
        yield from found
        is_empty = is_empty and not found
    if is_empty:
        raise InputError(
            f"{source} matches {len(matches)} files and folders, but no {kind.what}",
            hint=kind.hint(),
        )


def _matches(pattern: Path) -> list[str]:
    """Matches of a glob.  '**' follows no symbolic links, so that loops of them end."""
    if "**" not in pattern.parts:
        return glob.glob(str(pattern))
    fixed = next(n for n, part in enumerate(pattern.parts) if glob.has_magic(part))
    root = Path(*pattern.parts[:fixed])
    found = root.glob(str(Path(*pattern.parts[fixed:])))
    return [str(p) for p in found if not any(part[0] == "." for part in p.parts[fixed:])]


def _search(folder: Path, kind: _Kind) -> tuple[list[Listed], Counter[str]]:
    """The images in a folder, unreadable ones included; and other files, counted by suffix."""
    images: list[Listed] = []
    others: Counter[str] = Counter()
    for entry in walk(folder):
        if entry.is_folder or entry.path.name.lower().endswith(kind.suffixes):
            label = entry.path.parent.name if "/" in entry.name else None
            images.append(
                Listed(str(entry.path), str(entry.path), entry.name, label=label, error=entry.error)
            )
        else:
            others[entry.path.suffix or "no extension"] += 1
    return sorted(images, key=lambda image: _natural(image.name)), others


def _in_folder(folder: Path, kind: _Kind) -> list[Listed]:
    images, others = _search(folder, kind)
    if not images:
        seen = ", ".join(f"{count} {kind}" for kind, count in others.most_common(5)) or "nothing"
        raise InputError(
            f"no {kind.what} in {folder}: it contains {seen}",
            hint=kind.hint(),
        )
    return images


_by_number = natsort_keygen(alg=ns.IGNORECASE)


def _natural(name: str) -> tuple[object, str]:
    """Sort key that puts 'a2' before 'A10'; a total order."""
    return _by_number(name), name
