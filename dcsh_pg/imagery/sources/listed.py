"""The entries of a source, and the scenes that they become."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.address import address_error
from dcsh_pg.imagery.metadata.image import ImageMetadata
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.metadata.origin import Origin
from dcsh_pg.imagery.pixels.gdal import is_gdal_name
from dcsh_pg.imagery.pixels.open import open_scene
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.scene import Scene, UnreadableScene


@dataclass(frozen=True)
class Listed:
    """An entry of a source: an image, or why there is none.

    Attributes:
        address: of the entry itself, under which a failure is recorded; of a file its path.
        uri: absolute path, URL or GDAL name of the image; None where there is an ``error``.
        name: of the image within the source, with '/'; part of the identity of an image that is not
            georeferenced.
        metadata: what the source says of the image.
        error: why the entry cannot be used.
        label: name of the sub-folder that the image lies in, or None.
        named: the user named this very file, so every driver of GDAL may open it.
    """

    address: str
    uri: str | None = None
    name: str = ""
    metadata: ImageMetadata | None = None
    error: InputError | None = None
    label: str | None = None
    named: bool = False


def listed_scenes(
    listed: Iterable[Listed],
    *,
    reading: Reading,
    bands: int,
    options: SceneOptions | None = None,
) -> list[Scene]:
    """The scenes of a source in its order, each image once: its first entry counts.

    Opens none of them.  An entry that cannot be used becomes a scene whose ``describe`` raises its
    error.

    Args:
        reading: how the scenes are cut and their pixels read.
        bands: channels that the model takes.
        options: how the scenes are opened, dated and georeferenced.

    Raises:
        UsageError: ``reading.bands`` are not as many as the model takes.
    """
    reading.check_bands(bands)
    options = options or SceneOptions()
    scenes: dict[str, Scene] = {}
    for entry in listed:
        scene = _scene(entry, reading, bands, options)
        scenes.setdefault(scene.uri, scene)
    return list(scenes.values())


def _scene(entry: Listed, reading: Reading, bands: int, options: SceneOptions) -> Scene:
    error = entry.error or (address_error(entry.uri) if entry.uri is not None else None)
    if error is not None or entry.uri is None:
        error = error or InputError(f"{entry.address} has no image")
        return UnreadableScene(entry.address, reading, error)
    if entry.named:
        options = replace(options, any_driver=True)
    origin = Origin(entry.name, entry.label, entry.metadata, options)
    return open_scene(entry.uri, reading, bands=bands, origin=origin)


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
