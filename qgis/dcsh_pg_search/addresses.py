"""Addresses of scenes as the database has them, as names that GDAL opens; needs no QGIS."""

from __future__ import annotations

import re

_FILE_SYSTEMS = {
    "http": "/vsicurl/http://",
    "https": "/vsicurl/https://",
    "s3": "/vsis3/",
    "gs": "/vsigs/",
}
_PATH = re.compile(r"/(?!vsi)|[A-Za-z]:[\\/]")


def gdal_name(uri: str) -> str | None:
    """The name of a local file or of one in object storage; None for all else that GDAL would open.

    A database may name anything: GDAL's own names ('/vsizip/...', 'WMS:...') are not opened, nor is one
    with '|', which separates options of QGIS.
    """
    if "|" in uri or not uri.isprintable():
        return None
    scheme, separator, rest = uri.partition("://")
    if separator:
        return _FILE_SYSTEMS[scheme] + rest if scheme in _FILE_SYSTEMS else None
    return uri if _PATH.match(uri) else None


def title(uri: str) -> str:
    """The last part of an address, for people."""
    return re.split(r"[\\/]", uri.split("?")[0].rstrip("/"))[-1] or uri
