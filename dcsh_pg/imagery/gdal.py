"""Opening rasters with GDAL: its settings, its handles, and its errors in our words."""

from __future__ import annotations

import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError

from dcsh_pg.errors import InputError

# Said once for the process: warnings.catch_warnings() is not safe in threads.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

_OPTIONS = {"GDAL_ERROR_ON_LIBJPEG_WARNING": "TRUE"}
_REMOTE_OPTIONS = {
    # One request for the header of a COG instead of a listing of its folder.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_VERSION": "2",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
    # A server that falls silent fails the scene, not the run.
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
"""What opens a URL of which scheme: GDAL's own, so that no cloud provider's library is needed."""

Sign = Callable[[str], str]
"""Makes a URL one that may be read, by a token in it for example."""

OPEN_PER_THREAD = 16
_local = threading.local()

_GDAL_NAME = re.compile(r"/vsi|[A-Za-z][A-Za-z0-9+.-]+://|[A-Za-z0-9_]{2,}:[^\\]")
_QUERY = re.compile(r"(://[^\s'\"?]+)\?[^\s'\"]+")


def is_gdal_name(text: str) -> bool:
    """Whether ``text`` is a URL or a GDAL name ('/vsizip/...', 's3://...', 'NETCDF:...'), no path."""
    return bool(_GDAL_NAME.match(text)) and not Path(text).exists()


def gdal_name(uri: str) -> str:
    """The name under which GDAL opens a URL or a path."""
    scheme, separator, rest = uri.partition("://")
    return _FILE_SYSTEMS[scheme] + rest if separator and scheme in _FILE_SYSTEMS else uri


@contextmanager
def gdal(uri: str) -> Iterator[None]:
    """GDAL set up for ``uri``; its errors become an InputError that names ``uri``."""
    options = _OPTIONS | (_REMOTE_OPTIONS if is_gdal_name(uri) else {})
    try:
        with rasterio.Env(**options):
            yield
    except (RasterioError, CRSError, OSError) as error:
        raise _told(uri, error) from None


def _told(uri: str, error: Exception) -> InputError:
    path = Path(uri)
    if not is_gdal_name(uri):
        if not path.exists():
            return InputError(
                f"no such file: {uri}",
                hint="look whether it was moved, or where relative names start from",
            )
        if path.stat().st_size == 0:
            return InputError(f"{uri} is empty (0 bytes)", hint="copy or download it again")
    reason = str(error.__cause__ or error).splitlines()[0]
    if "not recognized as being in a supported file format" in reason:
        return InputError(
            f"{uri} is not an image that GDAL can read", hint="look at it with gdalinfo"
        )
    reason = re.sub(r"^CPLE_\w+\(\d+, \d+, '(.*)'\)$", r"\1", reason)
    reason = _QUERY.sub(r"\1", reason)  # a signed URL must not get into logs
    if is_gdal_name(uri):
        hint = "look whether the address is right and may be read from here"
    else:
        hint = "look at it with gdalinfo -checksum; it may be damaged"
    return InputError(f"{uri} cannot be read: {reason}", hint=hint)


class Handles:
    """Open GDAL handles of one raster, one a thread, because a handle must not be shared.

    Each thread keeps at most ``OPEN_PER_THREAD`` handles of all rasters together and closes its
    oldest for a new one, so that no archive is too large for the limit on open files.

    Args:
        uri: path, URL or GDAL name.
        sign: called with a URL at every opening, because tokens expire.
    """

    def __init__(self, uri: str, sign: Sign | None = None):
        self._uri, self._sign = uri, sign
        self._lock = threading.Lock()
        self._open: list[rasterio.DatasetReader] = []

    def __getstate__(self) -> dict:
        """Travels to other processes without the open handles."""
        return {key: value for key, value in vars(self).items() if key not in ("_lock", "_open")}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state, _lock=threading.Lock(), _open=[])

    def get(self) -> rasterio.DatasetReader:
        """This thread's handle, opened when it has none.  Call it within ``gdal(uri)``."""
        mine: OrderedDict[Handles, rasterio.DatasetReader]
        mine = _local.__dict__.setdefault("handles", OrderedDict())
        handle = mine.get(self)
        if handle is None or handle.closed:
            handle = mine[self] = rasterio.open(gdal_name(self._signed()), sharing=False)
            with self._lock:
                self._open = [other for other in self._open if not other.closed] + [handle]
        mine.move_to_end(self)
        while len(mine) > OPEN_PER_THREAD:
            mine.popitem(last=False)[1].close()
        return handle

    def _signed(self) -> str:
        if self._sign is None or not is_gdal_name(self._uri):
            return self._uri
        try:
            return str(self._sign(self._uri))
        except Exception as error:
            raise InputError(
                f"{self._uri} cannot be signed: {type(error).__name__}: {error}",
                hint="look at the function that signs",
            ) from None

    def close(self) -> None:
        """Closes the handles of all threads; none may be in use."""
        with self._lock:
            for handle in self._open:
                handle.close()
            self._open.clear()
