"""Finding the scenes that a list of files, folders, globs and URLs means."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.dates import DatePattern
from dcsh_pg.imagery.folder import PictureScene
from dcsh_pg.imagery.gdal import Sign, gdal, is_gdal_name
from dcsh_pg.imagery.origin import Origin
from dcsh_pg.imagery.raster import RasterScene
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.scene import Scene
from dcsh_pg.imagery.sidecar import Sidecar

RASTER_SUFFIXES = (".tif", ".tiff", ".gtiff", ".jp2", ".j2k", ".img", ".ntf", ".nitf", ".kea")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")


@dataclass(frozen=True)
class _Found:
    """An image: absolute path or GDAL name, its name below the source, and its class folder."""

    uri: str
    name: str
    label: str | None = None


def find_scenes(
    sources: Sequence[str],
    *,
    reading: Reading,
    bands: int,
    georeference: bool = True,
    acquired: datetime | None = None,
    date_pattern: str | None = None,
    sidecar: Path | None = None,
    sign: Sign | None = None,
) -> list[Scene]:
    """The scenes that ``sources`` mean.  Opens none of them.

    Args:
        sources: each a file, a folder (searched with its sub-folders), a glob, a URL or a GDAL
            name such as '/vsizip/...'.
        reading: how the scenes are cut and turned into uint8.
        bands: channels that the model takes.
        georeference: refuse rasters that do not tell their place; the refusal comes from
            ``describe``.  Plain pictures are never refused.
        acquired: time of acquisition of all scenes; without a time zone it is UTC.
        date_pattern: how file names tell the date, see :class:`dcsh_pg.imagery.dates.DatePattern`.
        sidecar: CSV or GeoJSON file, see :class:`dcsh_pg.imagery.sidecar.Sidecar`.
        sign: makes a URL one that may be read; called at every opening.

    Returns:
        Sources in the order given, a folder's files in natural order, each file once.

    Raises:
        InputError: a source is not there or holds no image, or the sidecar cannot be read.
        UsageError: ``reading.bands`` are not as many as the model takes, or a bad date pattern.
    """
    reading.check_bands(bands)
    if acquired is not None and acquired.tzinfo is None:
        acquired = acquired.replace(tzinfo=timezone.utc)
    pattern = DatePattern(date_pattern) if date_pattern else None
    records = Sidecar(sidecar) if sidecar else None
    found = _find(sources)
    if records and not any(records.find(image.name) for image in found):
        raise InputError(
            f"sidecar {sidecar} tells of none of the {len(found)} images",
            hint=f"its names must be like {found[0].name!r}, but it has {records.names()[:1]}",
        )
    scenes: list[Scene] = []
    for image in found:
        record = records.find(image.name) if records else None
        origin = Origin(image.name, image.label, record, acquired, pattern)
        scenes.append(
            scene_at(
                image.uri,
                reading,
                bands=bands,
                origin=origin,
                georeference=georeference,
                sign=sign,
            )
        )
    return scenes


def scene_at(
    uri: str,
    reading: Reading,
    *,
    bands: int,
    origin: Origin,
    georeference: bool = True,
    sign: Sign | None = None,
) -> Scene:
    """The scene at an absolute path, URL or GDAL name.  Opens nothing.

    Args:
        origin: what is known of it besides its file.
        sign: makes a URL one that may be read; called at every opening.
    """
    if _is_picture(uri):
        return PictureScene(Path(uri), reading, channels=bands, origin=origin)
    return RasterScene(
        uri, reading, channels=bands, origin=origin, georeference=georeference, sign=sign
    )


def are_plain_pictures(sources: Sequence[str]) -> bool:
    """Whether ``sources`` hold only pictures that do not tell their own place.

    Those are taken whole by default (``chip_size=None``), rasters in chips.  Of rasters only the
    first is opened.

    Raises:
        InputError: a source is not there or holds no image.
    """
    raster = next((image.uri for image in _find(sources) if not _is_picture(image.uri)), None)
    if raster is None:
        return True
    import rasterio

    try:
        with gdal(raster), rasterio.open(raster) as source:
            return source.crs is None and source.gcps[1] is None and not source.tags(ns="RPC")
    except InputError:
        return False


def _find(sources: Sequence[str]) -> list[_Found]:
    images: dict[str, _Found] = {}
    for source in sources:
        for image in _expand(source):
            images.setdefault(image.uri, image)
    return list(images.values())


def _expand(source: str) -> Iterator[_Found]:
    if is_gdal_name(source):
        yield _Found(source, source.rpartition("/")[2])
        return
    path = Path(os.path.abspath(Path(source).expanduser()))
    if path.is_dir():
        yield from _search(path)
    elif path.exists():
        yield _Found(str(path), path.name)
    elif glob.has_magic(source):
        matches = sorted(glob.glob(str(path), recursive=True), key=_natural)
        if not matches:
            raise InputError(
                f"no file matches {source}", hint="look at the pattern for a spelling mistake"
            )
        for match in matches:
            if Path(match).is_dir():
                yield from _search(Path(match))
            elif _has_suffix(match):
                yield _Found(match, Path(match).name)
    else:
        raise InputError(
            f"no such file or folder: {source}", hint="look at the path for a spelling mistake"
        )


def _search(folder: Path) -> list[_Found]:
    """The images in a folder and its sub-folders."""
    images, others = [], Counter()
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.startswith("."):
                continue
            path = Path(root, name)
            if _has_suffix(name):
                label = path.parent.name if path.parent != folder else None
                images.append(_Found(str(path), path.relative_to(folder).as_posix(), label))
            else:
                others[path.suffix or "no extension"] += 1
    if not images:
        seen = ", ".join(f"{count} {kind}" for kind, count in others.most_common(5)) or "nothing"
        suffixes = " ".join(suffix[1:] for suffix in (*RASTER_SUFFIXES, *PICTURE_SUFFIXES))
        raise InputError(
            f"no image in {folder}: it holds {seen}",
            hint=f"read from folders are {suffixes}; name any other GDAL raster itself",
        )
    return sorted(images, key=lambda image: _natural(image.name))


def _has_suffix(name: str) -> bool:
    return name.lower().endswith((*RASTER_SUFFIXES, *PICTURE_SUFFIXES))


def _is_picture(uri: str) -> bool:
    """Whether a file is a picture without a world file or a CRS beside it."""
    if is_gdal_name(uri) or not uri.lower().endswith(PICTURE_SUFFIXES):
        return False
    stem, suffix = os.path.splitext(uri)
    world = (".wld", suffix + "w", suffix[:2] + suffix[-1] + "w")
    if any(os.path.exists(stem + ending) for ending in world):
        return False
    auxiliary = Path(uri + ".aux.xml")
    return not (auxiliary.exists() and b"<SRS" in auxiliary.read_bytes())


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which 'a2' comes before 'A10'; a total order, whatever the case."""
    parts = re.split(r"(\d+)", name.casefold())
    key = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
    return [*key, (2, 0, name)]
