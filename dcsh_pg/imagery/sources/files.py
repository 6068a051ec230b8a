"""Finding the scenes that a list of files, folders, globs and URLs means."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.metadata.dates import DatePattern
from dcsh_pg.imagery.metadata.origin import Origin
from dcsh_pg.imagery.metadata.sidecar import Sidecar
from dcsh_pg.imagery.pixels.formats import IMAGES, PICTURES
from dcsh_pg.imagery.pixels.gdal import Sign, gdal, is_gdal_name, open_raster
from dcsh_pg.imagery.pixels.picture import PictureScene
from dcsh_pg.imagery.pixels.raster import RasterScene
from dcsh_pg.imagery.pixels.side_files import is_regular
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.scene import Scene, UnreadableScene
from dcsh_pg.imagery.sources.walk import unreadable, walk

_SUFFIXES = " ".join(suffix[1:] for suffix in IMAGES)

MAX_AUXILIARY = 16 << 20
"""Bytes of an .aux.xml that are searched for a coordinate reference system."""


@dataclass(frozen=True)
class _Found:
    """An image.

    Attributes:
        uri: absolute path, URL or GDAL name.
        name: below the source.
        label: its class folder, or None.
        named: whether the user named this very file; others come from a folder or a glob.
        error: why it cannot be read, or None.
    """

    uri: str
    name: str
    label: str | None = None
    named: bool = False
    error: InputError | None = None


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
    any_driver: bool = False,
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
        date_pattern: how file names tell the date, see :class:`dcsh_pg.imagery.metadata.dates.DatePattern`.
        sidecar: CSV or GeoJSON file, see :class:`dcsh_pg.imagery.metadata.sidecar.Sidecar`.
        sign: makes a URL one that may be read; called at every opening.
        any_driver: opens what folders and globs hold with every driver of GDAL, as it does files
            that are named; else only with those of files that refer to no others.

    Returns:
        Sources in the order given, a folder's files in natural order, each file once.  A file that
        cannot be read, as far as its name and kind tell, is a scene whose ``describe`` raises.

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
    if records and not any(records.find(image.name) is not None for image in found):
        raise InputError(
            f"sidecar {sidecar} tells of none of the {len(found)} images",
            hint=f"its names must be like {found[0].name!r}, but it has {records.names()[:1]}",
        )
    scenes: list[Scene] = []
    for image in found:
        record = records.find(image.name) if records else None
        error = image.error or (record if isinstance(record, InputError) else None)
        if error is not None:
            scenes.append(UnreadableScene(image.uri, reading, error))
            continue
        origin = Origin(image.name, image.label, record, acquired, pattern)
        scenes.append(
            scene_at(
                image.uri,
                reading,
                bands=bands,
                origin=origin,
                georeference=georeference,
                sign=sign,
                any_driver=any_driver or image.named,
            )
        )
    if records:
        scenes += [UnreadableScene(where, reading, error) for where, error in records.nameless]
    return scenes


def scene_at(
    uri: str,
    reading: Reading,
    *,
    bands: int,
    origin: Origin,
    georeference: bool = True,
    sign: Sign | None = None,
    any_driver: bool = False,
) -> Scene:
    """The scene at an absolute path, URL or GDAL name.  Opens nothing.

    Args:
        origin: what is known of it besides its file.
        sign: makes a URL one that may be read; called at every opening.
        any_driver: see :func:`dcsh_pg.imagery.pixels.gdal.open_raster`.
    """
    if _is_picture(uri):
        return PictureScene(Path(uri), reading, channels=bands, origin=origin)
    return RasterScene(
        uri,
        reading,
        channels=bands,
        origin=origin,
        georeference=georeference,
        sign=sign,
        any_driver=any_driver,
    )


def are_plain_pictures(sources: Sequence[str], *, any_driver: bool = False) -> bool:
    """Whether ``sources`` hold only pictures that do not tell their own place.

    Those are taken whole by default (``chip_size=None``), rasters in chips.  Of rasters only the
    first is opened.

    Raises:
        InputError: a source is not there or holds no image.
    """
    raster = next((i for i in _find(sources) if not (i.error or _is_picture(i.uri))), None)
    if raster is None:
        return True
    try:
        with (
            gdal(raster.uri),
            open_raster(raster.uri, any_driver=any_driver or raster.named) as source,
        ):
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
        yield _Found(source, source.rpartition("/")[2], named=True)
        return
    try:
        path = Path(os.path.abspath(Path(source).expanduser()))
        is_folder, is_there = path.is_dir(), path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, no such user
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{source} cannot be read: {reason}", hint="look at the path for a spelling mistake"
        ) from None
    if is_folder:
        yield from _in_folder(path)
    elif is_there:
        yield _Found(str(path), path.name, named=True, error=unreadable(path))
    elif glob.has_magic(source):
        matches = sorted(_matches(path), key=_natural)
        if not matches:
            raise InputError(
                f"no file matches {source}", hint="look at the pattern for a spelling mistake"
            )
        yield from _in_matches(source, [Path(match) for match in matches])
    else:
        raise InputError(
            f"no such file or folder: {source}", hint="look at the path for a spelling mistake"
        )


def _in_matches(source: str, matches: list[Path]) -> Iterator[_Found]:
    """The images that a glob matches, and those in the folders that it matches."""
    is_empty = True
    for match in matches:
        found = [_Found(str(match), match.name, error=unreadable(match))]
        if match.is_dir():
            found, _ = _search(match)
        elif not match.name.lower().endswith(IMAGES):
            continue
        yield from found
        is_empty = is_empty and not found
    if is_empty:
        raise InputError(
            f"{source} matches {len(matches)} files and folders, and no image",
            hint=f"images are {_SUFFIXES}; name any other GDAL raster itself",
        )


def _matches(pattern: Path) -> list[str]:
    """What a glob matches.  '**' follows no symbolic links, so that loops of them end."""
    if "**" not in pattern.parts:
        return glob.glob(str(pattern))
    fixed = next(n for n, part in enumerate(pattern.parts) if glob.has_magic(part))
    root = Path(*pattern.parts[:fixed])
    found = root.glob(str(Path(*pattern.parts[fixed:])))
    return [str(p) for p in found if not any(part[0] == "." for part in p.parts[fixed:])]


def _search(folder: Path) -> tuple[list[_Found], Counter[str]]:
    """The images in a folder with what cannot be read there; and other files, counted by suffix."""
    images: list[_Found] = []
    others: Counter[str] = Counter()
    for entry in walk(folder):
        if entry.is_folder or entry.path.name.lower().endswith(IMAGES):
            label = entry.path.parent.name if "/" in entry.name else None
            images.append(_Found(str(entry.path), entry.name, label, error=entry.error))
        else:
            others[entry.path.suffix or "no extension"] += 1
    return sorted(images, key=lambda image: _natural(image.name)), others


def _in_folder(folder: Path) -> list[_Found]:
    images, others = _search(folder)
    if not images:
        seen = ", ".join(f"{count} {kind}" for kind, count in others.most_common(5)) or "nothing"
        raise InputError(
            f"no image in {folder}: it holds {seen}",
            hint=f"read from folders are {_SUFFIXES}; name any other GDAL raster itself",
        )
    return images


def _is_picture(uri: str) -> bool:
    """Whether a file is a picture without a world file or a CRS beside it."""
    if is_gdal_name(uri) or not uri.lower().endswith(PICTURES):
        return False
    stem, suffix = os.path.splitext(uri)
    world = (".wld", suffix + "w", suffix[:2] + suffix[-1] + "w")
    if any(os.path.exists(stem + ending) for ending in world):
        return False
    auxiliary = Path(uri + ".aux.xml")
    if not is_regular(auxiliary):
        return True
    with suppress(OSError), auxiliary.open("rb") as file:
        return b"<SRS" not in file.read(MAX_AUXILIARY)
    return True


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which 'a2' comes before 'A10'; a total order, whatever the case."""
    parts = re.split(r"(\d+)", name.casefold())
    key = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
    return [*key, (2, 0, name)]
