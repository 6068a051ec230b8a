"""Opening rasters with GDAL: its settings, handles and errors."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.env import ensure_env_with_credentials
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader

from dcsh_pg.errors import DcshError, InputError
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.pixels.memory import HEAVY_BLOCK, OneAtATime, gdal_cache_bytes
from dcsh_pg.imagery.pixels.side_files import (
    check_side_files,
    is_regular,
    not_regular,
    special_files,
)

# Once for the process: warnings.catch_warnings() is not thread-safe.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

_OPTIONS: dict[str, str | int] = {"GDAL_ERROR_ON_LIBJPEG_WARNING": "TRUE"}
if "GDAL_CACHEMAX" not in os.environ:
    _OPTIONS["GDAL_CACHEMAX"] = gdal_cache_bytes()
_REMOTE_OPTIONS = {
    # One request for the header of a COG, without listing its folder.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_VERSION": "2",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
    # A server that stops responding fails the scene, not the run.
    "GDAL_HTTP_CONNECTTIMEOUT": "30",
    "GDAL_HTTP_LOW_SPEED_TIME": "60",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "VSI_CACHE": "TRUE",
}
_FILE_SYSTEMS = {
    "http": "/vsicurl/http://",
    "https": "/vsicurl/https://",
    "s3": "/vsis3/",
    "gs": "/vsigs/",
}
"""GDAL's file systems by URL scheme, which need no cloud provider's library."""

SELF_CONTAINED = (
    "GTiff", "JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID", "MrSID", "ECW", "HFA", "ENVI", "NITF",
    "KEA", "JPEG", "PNG", "WEBP", "BMP", "GIF", "BIGGIF", "JPEGXL", "LIBERTIFF",
)  # fmt: skip
"""GDAL's drivers for files that contain their own pixels.

The others may read any file or URL that a file names: VRT, WMS, GTI, Zarr and so on.  Only files that the
user names, and --any-driver, use them.
"""

OPEN_PER_THREAD = 16
HELD_PER_THREAD = 32 << 20
"""Most bytes of the strips or tiles that a thread's open handles hold, each its last one."""

_local = threading.local()

_GDAL_NAME = re.compile(r"/vsi|[A-Za-z][A-Za-z0-9+.-]+://|[A-Za-z0-9_]{2,}:[^\\]")
_QUERY = re.compile(r"(://[^\s'\"?]+)\?[^\s'\"]+")


def is_gdal_name(text: str) -> bool:
    """Whether ``text`` is a URL or a GDAL name ('/vsizip/...', 's3://...', 'NETCDF:...'), not a path."""
    return bool(_GDAL_NAME.match(text)) and not os.path.exists(text)


def gdal_name(uri: str) -> str:
    """The name under which GDAL opens a URL or a path."""
    scheme, separator, rest = uri.partition("://")
    return _FILE_SYSTEMS[scheme] + rest if separator and scheme in _FILE_SYSTEMS else uri


@contextmanager
def gdal(uri: str) -> Iterator[None]:
    """GDAL configured for ``uri``; any error becomes an InputError that names ``uri``."""
    options = dict(_OPTIONS)
    if is_gdal_name(uri):
        options |= _REMOTE_OPTIONS
    elif special_files(Path(uri).parent):
        options["GDAL_DISABLE_READDIR_ON_OPEN"] = "EMPTY_DIR"
    try:
        with rasterio.Env(**options):
            yield
    except DcshError:
        raise
    except Exception as error:
        # Damaged files make rasterio raise any class: UnicodeDecodeError, OverflowError, ...
        raise _refusal(uri, error) from None


def open_raster(uri: str, name: str | None = None, *, any_driver: bool) -> DatasetReader:
    """Opens a raster.  Call it within ``gdal(uri)``.

    Args:
        uri: path, URL or GDAL name.
        name: the signed URL to open instead.
        any_driver: with every driver of GDAL; else only with those of ``SELF_CONTAINED``, and only
            if neither the file nor its side files name another file or URL.

    Raises:
        InputError: it is not a regular file, or it refers to other files.
    """
    if not is_gdal_name(uri):
        path = Path(uri)
        if os.path.exists(path) and not (is_regular(path) or (any_driver and path.is_dir())):
            raise not_regular(path)
        if not any_driver:
            check_side_files(path)
    elif not any_driver and "/vsistdin" in uri:
        raise InputError(f"{uri} is standard input", hint="name a file")
    drivers = None if any_driver else [driver for driver in SELF_CONTAINED if driver in _drivers()]
    source = _open(gdal_name(name or uri), drivers)
    if not any_driver and "OVERVIEWS" in source.tag_namespaces():
        source.close()
        raise InputError(
            f"{uri} names another file as its overviews, which is not opened",
            hint="give --any-driver if you trust it, or rewrite it with gdal_translate",
        )
    return source


@ensure_env_with_credentials  # type: ignore[untyped-decorator]  # rasterio has no types
def _open(name: str, drivers: list[str] | None) -> DatasetReader:
    if drivers is None:
        return rasterio.open(name, sharing=False)
    # rasterio.open takes one driver only.
    return DatasetReader(name, driver=drivers, sharing=False)


@cache
def _drivers() -> frozenset[str]:
    with rasterio.Env() as environment:
        return frozenset(environment.drivers())


def _refusal(uri: str, error: Exception) -> InputError:
    path = Path(uri)
    if not is_gdal_name(uri):
        if not os.path.exists(uri):
            return InputError(
                f"no such file: {uri}",
                hint="check whether it was moved, and where relative paths start from",
            )
        if path.stat().st_size == 0:
            return InputError(f"{uri} is empty (0 bytes)", hint="copy or download it again")
    reason = (str(error.__cause__ or error).strip() or type(error).__name__).splitlines()[0]
    if "not recognized as being in a supported file format" in reason:
        return InputError(
            f"{uri} is not an image that GDAL can read",
            hint="check it with gdalinfo; formats that refer to other files, such as VRT, need the file "
            "itself as SOURCE, or --any-driver",
        )
    reason = re.sub(r"^CPLE_\w+\(\d+, \d+, '(.*)'\)$", r"\1", reason)
    reason = _QUERY.sub(r"\1", reason)  # keeps signatures out of logs
    if is_gdal_name(uri):
        hint = "check the address and whether it can be read from here"
    else:
        hint = "check it with gdalinfo -checksum; it may be damaged"
    return InputError(f"{uri} cannot be read: {reason}", hint=hint)


_heavy: OneAtATime[DatasetReader] = OneAtATime()


def _held(handles: Mapping[Handles, DatasetReader]) -> int:
    return sum(_block_bytes(handle) for handle in handles.values() if not handle.closed)


def _block_bytes(source: DatasetReader) -> int:
    """Bytes of the largest strip or tile of all bands, which a file may store together."""
    return sum(
        rows * columns * np.dtype(dtype).itemsize
        for (rows, columns), dtype in zip(source.block_shapes, source.dtypes, strict=True)
    )


class Handles:
    """Open GDAL handles of one raster, one per thread, because a handle must not be shared.

    Each thread keeps at most ``OPEN_PER_THREAD`` handles of all rasters and closes its oldest for a
    new one, so that no archive exceeds the limit on open files.

    Args:
        uri: path, URL or GDAL name.
        options: of which ``sign`` and ``any_driver`` are used.
    """

    def __init__(self, uri: str, options: SceneOptions):
        self._uri, self._options = uri, options
        self._lock = threading.Lock()
        self._open: list[rasterio.DatasetReader] = []

    def __getstate__(self) -> dict[str, Any]:
        """Pickled without the open handles."""
        return {key: value for key, value in vars(self).items() if key not in ("_lock", "_open")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock(), _open=[])

    def get(self) -> rasterio.DatasetReader:
        """This thread's handle, opened on first use.  Call it within ``gdal(uri)``."""
        mine: OrderedDict[Handles, rasterio.DatasetReader]
        mine = _local.__dict__.setdefault("handles", OrderedDict())
        handle = mine.get(self)
        if handle is None or handle.closed:
            handle = mine[self] = self._opened()
            with self._lock:
                self._open = [other for other in self._open if not other.closed] + [handle]
        mine.move_to_end(self)
        while len(mine) > 1 and (len(mine) > OPEN_PER_THREAD or _held(mine) > HELD_PER_THREAD):
            mine.popitem(last=False)[1].close()
        return handle

    @contextmanager
    def use(self) -> Iterator[rasterio.DatasetReader]:
        """A handle to read with.  Call it within ``gdal(uri)``.

        It is this thread's, unless the raster's strips or tiles are so large that a handle holds tens
        of megabytes: then all threads share one handle, and only one such raster is open.
        """
        handle = self.get()
        if _block_bytes(handle) < HEAVY_BLOCK:
            yield handle
            return
        with _heavy.use(self, self._opened) as shared:
            yield shared

    def _opened(self) -> rasterio.DatasetReader:
        return open_raster(self._uri, self._signed(), any_driver=self._options.any_driver)

    def _signed(self) -> str:
        if self._options.sign is None or not is_gdal_name(self._uri):
            return self._uri
        try:
            return str(self._options.sign(self._uri))
        except Exception as error:
            raise InputError(
                f"{self._uri} cannot be signed: {type(error).__name__}: {error}",
                hint="check the function of --sign",
            ) from None

    def close(self) -> None:
        """Closes the handles of all threads; none may be in use."""
        _heavy.close(self)
        with self._lock:
            for handle in self._open:
                handle.close()
            self._open.clear()
