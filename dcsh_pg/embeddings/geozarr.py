"""Zarr with the ``geoemb:`` convention: an array of embeddings (y, x, band) or (band, y, x), with ``spatial:`` and ``proj:``.

The attributes, of the array or of its group: ``geoemb:type``, ``geoemb:dimensions``, ``geoemb:quantization``;
``spatial:transform`` (six numbers, as of rasterio) and ``proj:code``, ``proj:wkt2`` or ``proj:projjson``.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio import Affine

from dcsh_pg.embeddings.file import EmbeddingFile, Using, identity
from dcsh_pg.embeddings.making import Making
from dcsh_pg.embeddings.pooling import REGION_BYTES, Pixels, PooledFile
from dcsh_pg.embeddings.raster import scaled
from dcsh_pg.errors import DcshError, InputError
from dcsh_pg.extras import requires
from dcsh_pg.imagery.georeference.affine import AffineGeoreference

SUFFIXES = (".zarr",)
BANDS = ("band", "bands", "embedding", "channel", "feature", "dimension", "dim")
SCALES = ("scales", "scale")
"""Arrays of the group that have the scale of each pixel."""


class GeoZarrFile(PooledFile):
    """A local Zarr store, version 2 or 3."""

    FORMAT = "zarr"

    @contextlib.contextmanager
    def pixels(self) -> Iterator[Pixels]:
        with requires("zarr", f"read {self.uri}", InputError):
            import zarr

        try:
            group = zarr.open(store=self.uri, mode="r")
            yield _ZarrPixels(group, self.using, self.uri)
        except (DcshError, MemoryError):
            raise
        except Exception as error:  # whatever a codec raises
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(
                f"{self.uri} cannot be read: {reason}", hint="check the store"
            ) from None

    def content(self) -> str:
        """SHA-256 over the names and contents of the store's files."""
        digest = hashlib.sha256()
        root = Path(self.uri)
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(root).as_posix()}\0{identity(str(path))}\0".encode())
        return digest.hexdigest()


def opened(uri: str, name: str, using: Using) -> EmbeddingFile:
    return GeoZarrFile(uri, name, using)


class _ZarrPixels(Pixels):
    def __init__(self, store: Any, using: Using, uri: str):
        self._making: Making = using.making
        array, attributes = _array(store, using.columns.embedding, uri)
        self._array, self._scales = array, None
        self._last = _bands_are_last(array, attributes)
        shape = array.shape if self._last else (*array.shape[1:], array.shape[0])
        chunks = array.chunks if self._last else (*array.chunks[1:], array.chunks[0])
        self.height, self.width, self.dimension = shape
        self.block = (chunks[1], chunks[0])
        if np.prod(array.chunks, dtype=float) * array.dtype.itemsize > 8 * REGION_BYTES:
            raise InputError(f"{uri} has chunks of {array.chunks}, which are too large")
        if array.dtype.kind not in "fi":
            raise InputError(f"{uri} has numbers of {array.dtype}")
        self._check_quantisation(attributes, uri)
        if self._making.dequantisation == "scales":
            self._scales = next((store[name] for name in SCALES if name in store), None)
            if self._scales is None or self._scales.shape != (self.height, self.width):
                raise InputError(f"{uri} has no array 'scales' of the shape of its pixels")
        self._fill = attributes.get("_FillValue", attributes.get("nodata"))
        self.georeference = _place(attributes, uri)

    def _check_quantisation(self, attributes: dict[str, Any], uri: str) -> None:
        """Raises InputError where the store says that its numbers are quantised and the model's are
        not, or the other way round."""
        is_whole = self._array.dtype.kind == "i"
        if is_whole != (self._making.dequantisation != "none"):
            rule = attributes.get("geoemb:quantization")
            raise InputError(
                f"{uri} has numbers of {self._array.dtype}"
                + (f", quantised by {str(rule)[:80]}" if rule else ""),
                hint="train a model for it with --dequantise "
                + ("signed-power or scales" if is_whole else "none"),
            )

    def read(self, left: int, top: int, width: int, height: int) -> np.ndarray:
        rows, columns = slice(top, top + height), slice(left, left + width)
        if self._last:
            stored = np.moveaxis(self._array[rows, columns], -1, 0)
        else:
            stored = self._array[:, rows, columns]
        values: np.ndarray = self._making.dequantised(np.asarray(stored)).copy()
        if isinstance(self._fill, int | float) and self._making.dequantisation == "none":
            values[stored == self._fill] = np.nan
        if self._scales is not None:
            values = scaled(values, self._scales[rows, columns])
        values[:, ~np.isfinite(values).all(axis=0)] = np.nan
        return values


def _array(store: Any, named: str | None, uri: str) -> tuple[Any, dict[str, Any]]:
    """The array of embeddings, and its attributes over those of its group."""
    if hasattr(store, "shape"):
        return store, dict(store.attrs)
    arrays = {name: array for name, array in store.arrays() if array.ndim == 3}
    if named is not None and named in arrays:
        found = named
    elif named is None and len(arrays) == 1:
        [found] = arrays
    elif named is None and "embeddings" in arrays:
        found = "embeddings"
    else:
        raise InputError(
            f"{uri} has the arrays {', '.join(arrays) or 'of no three dimensions'}",
            hint="name the one with the embeddings: --embedding-column NAME",
        )
    array = arrays[found]
    return array, dict(store.attrs) | dict(array.attrs)


def _bands_are_last(array: Any, attributes: dict[str, Any]) -> bool:
    """Whether the array is (y, x, band); else (band, y, x)."""
    names = getattr(array.metadata, "dimension_names", None) or attributes.get("_ARRAY_DIMENSIONS")
    if names and str(names[0]).lower() in BANDS:
        return False
    if names and str(names[-1]).lower() in BANDS:
        return True
    dimension = attributes.get("geoemb:dimensions")
    return bool(array.shape[-1] == dimension or array.shape[0] != dimension)


def _place(attributes: dict[str, Any], uri: str) -> AffineGeoreference | None:
    transform = attributes.get("spatial:transform", attributes.get("proj:transform"))
    crs = next(
        (attributes[k] for k in ("proj:code", "proj:wkt2", "proj:projjson") if attributes.get(k)),
        None,
    )
    if transform is None or crs is None:
        return None
    try:
        affine = Affine(*map(float, transform[:6]))
        wkt = CRS.from_user_input(crs).to_wkt()
    except (CRSError, TypeError, ValueError):
        raise InputError(
            f"{uri} has a spatial:transform or proj: attribute that cannot be read"
        ) from None
    return AffineGeoreference(wkt, affine, uri=uri)
