"""Files, folders, globs and URLs of embeddings."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from dcsh_pg.embeddings import arrays, geoparquet, geozarr, raster
from dcsh_pg.embeddings.file import Using
from dcsh_pg.errors import InputError
from dcsh_pg.imagery.address import address_error
from dcsh_pg.imagery.scene import Scene, UnreadableScene
from dcsh_pg.imagery.sources.files import files_listing
from dcsh_pg.imagery.sources.listed import Listed

FORMATS = (geoparquet, raster, arrays, geozarr)
"""The formats, in the order in which they are asked."""


def find_embeddings(sources: Sequence[str], using: Using) -> list[Scene]:
    """The files of embeddings of ``sources``, in their order, each once.

    Opens none of them.  One that cannot be used becomes a scene whose ``describe`` raises its error.

    Args:
        sources: each a file, a folder (searched with its sub-folders), a glob or a URL.

    Raises:
        InputError: a source does not exist or contains no embeddings.
    """
    suffixes = tuple(suffix for module in FORMATS for suffix in module.SUFFIXES)
    listed: list[Listed] = []
    for source in sources:
        stores = _stores(source)
        listed += stores or files_listing([source], suffixes=suffixes, what="file of embeddings")
    scenes = {entry.address: _scene(entry, using) for entry in _main_files(listed)}
    return list(scenes.values())


def _stores(source: str) -> list[Listed]:
    """The Zarr stores, which are folders, that a path or a glob names."""
    paths = [Path(path).absolute() for path in sorted(glob.glob(source)) or [source]]
    if not all(path.suffix.lower() in geozarr.SUFFIXES and path.is_dir() for path in paths):
        return []
    return [Listed(str(path), str(path), path.name, named=True) for path in paths]


def _main_files(listed: list[Listed]) -> list[Listed]:
    """Without the files that belong to others: scales, the tables and land masks of arrays."""
    arrays_found = {
        entry.address.removesuffix(".npy") for entry in listed if entry.address.endswith(".npy")
    }

    def is_main(entry: Listed) -> bool:
        stem, _, suffix = entry.address.rpartition(".")
        is_part = suffix != "npy" and stem in arrays_found
        return not (is_part or stem.endswith(raster.SCALES))

    return [entry for entry in listed if is_main(entry)]


def _scene(entry: Listed, using: Using) -> Scene:
    error = entry.error or (address_error(entry.uri) if entry.uri else None)
    if error is not None or entry.uri is None:
        error = error or InputError(f"{entry.address} has no embeddings")
        return UnreadableScene(entry.address, using.reading, error)
    name = entry.uri.lower().partition("?")[0]
    for module in FORMATS:
        if name.endswith(module.SUFFIXES):
            found: Scene = module.opened(entry.uri, entry.name, using)
            return found
    endings = " ".join(suffix for module in FORMATS for suffix in module.SUFFIXES)
    return UnreadableScene(
        entry.uri,
        using.reading,
        InputError(
            f"{entry.uri} is not a file of embeddings", hint=f"its name must end in {endings}"
        ),
    )
