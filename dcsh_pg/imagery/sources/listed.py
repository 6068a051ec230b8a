"""Scenes that a catalogue or a table lists, with what it tells of each."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.address import address_error
from dcsh_pg.imagery.metadata.dates import DatePattern
from dcsh_pg.imagery.metadata.image import ImageRecord
from dcsh_pg.imagery.metadata.origin import Origin
from dcsh_pg.imagery.pixels.gdal import Sign, is_gdal_name
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.scene import Scene, UnreadableScene
from dcsh_pg.imagery.sources.files import scene_at


@dataclass(frozen=True)
class Listed:
    """An entry of a catalogue or a table.

    Attributes:
        address: of the entry itself, where a failure to read it is recorded.
        uri: absolute path, URL or GDAL name of the image; None when there is an ``error``.
        name: of the image within the listing, part of the identity of one that tells no place.
        record: what the entry tells.
        error: why the entry is of no use.
    """

    address: str
    uri: str | None = None
    name: str = ""
    record: ImageRecord | None = None
    error: InputError | None = None


def listed_scenes(
    listed: Iterable[Listed],
    *,
    reading: Reading,
    bands: int,
    georeference: bool = True,
    acquired: datetime | None = None,
    date_pattern: str | None = None,
    sign: Sign | None = None,
    any_driver: bool = False,
) -> list[Scene]:
    """The scenes of a listing in its order, each image once: its first entry counts.

    Opens none of them.  An entry of no use becomes a scene whose ``describe`` tells why.

    Args:
        reading: how the scenes are cut and turned into uint8.
        bands: channels that the model takes.
        georeference: refuse rasters of which neither they nor the listing tell the place.
        acquired: time of those whose entry tells none; without a time zone it is UTC.
        date_pattern: how their file names tell it, see :class:`dcsh_pg.imagery.metadata.dates.DatePattern`.
        sign: makes a URL one that may be read; called at every opening.
        any_driver: opens the images with every driver of GDAL, also those that read what a file
            names; see :func:`dcsh_pg.imagery.pixels.gdal.open_raster`.

    Raises:
        UsageError: ``reading.bands`` are not as many as the model takes, or a bad date pattern.
    """
    reading.check_bands(bands)
    if acquired is not None and acquired.tzinfo is None:
        acquired = acquired.replace(tzinfo=timezone.utc)
    pattern = DatePattern(date_pattern) if date_pattern else None
    scenes: dict[str, Scene] = {}
    for entry in listed:
        error = entry.error or address_error(entry.uri)
        if error is not None:
            scene: Scene = UnreadableScene(entry.address, reading, error)
        elif entry.uri in scenes:
            continue
        else:
            origin = Origin(entry.name, None, entry.record, acquired, pattern)
            scene = scene_at(
                entry.uri,
                reading,
                bands=bands,
                origin=origin,
                georeference=georeference,
                sign=sign,
                any_driver=any_driver,
            )
        scenes.setdefault(scene.uri, scene)
    return list(scenes.values())


def absolute(href: str, base: str) -> str:
    """An href as absolute path, URL or GDAL name.

    Args:
        href: absolute, or relative to the folder of ``base``; file:// becomes a path.
        base: absolute path or URL of a file.
    """
    if href.startswith("file:"):
        return unquote(urlsplit(href).path)
    if is_gdal_name(href):
        return href
    scheme, separator, rest = base.partition("://")
    if separator:
        # urljoin knows http only, but paths of s3:// and its like are joined alike.
        joined = urljoin(f"http://{rest}", href)
        return joined.replace("http", scheme, 1)
    return os.path.normpath(Path(base).parent / href)
