"""Pixels of scenes by GDAL: a scene that is safe to open, and a window of it as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from osgeo import gdal
from qgis.PyQt.QtGui import QImage

from .addresses import gdal_name

SELF_CONTAINED = (
    "GTiff", "JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID", "MrSID", "ECW", "HFA", "ENVI", "NITF",
    "KEA", "JPEG", "PNG", "WEBP", "BMP", "GIF", "JPEGXL", "LIBERTIFF",
)  # fmt: skip
"""Drivers whose files have their own pixels; others read any file or URL that a file names."""

_REMOTE = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_LOW_SPEED_TIME": "20",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
}


def open_scene(uri: str) -> gdal.Dataset | None:
    """A scene that the database names, or None if it is not there or not safe to open."""
    name = gdal_name(uri)
    if name is None:
        return None
    for option, value in _REMOTE.items() if name.startswith("/vsi") else ():
        gdal.SetThreadLocalConfigOption(option, value)
    known = [driver for driver in SELF_CONTAINED if gdal.GetDriverByName(driver) is not None]
    gdal.PushErrorHandler("CPLQuietErrorHandler")
    try:
        return gdal.OpenEx(name, gdal.OF_RASTER | gdal.OF_READONLY, allowed_drivers=known)
    except RuntimeError:  # GDAL 4, or where exceptions are switched on
        return None
    finally:
        gdal.PopErrorHandler()
        for option in _REMOTE:
            gdal.SetThreadLocalConfigOption(option, None)


def is_georeferenced(scene: gdal.Dataset) -> bool:
    """Whether QGIS can place a scene on the map."""
    return scene.GetGeoTransform(can_return_null=True) is not None or scene.GetGCPCount() > 0


def shown_bands(scene: gdal.Dataset, bands: Any) -> list[int]:
    """The bands to show as red, green and blue, or one: the first of those that the model reads."""
    count = scene.RasterCount
    if not isinstance(bands, list) or not all(b in range(1, count + 1) for b in bands) or not bands:
        bands = list(range(1, count + 1))
    return bands[:3] if len(bands) >= 3 else bands[:1]


def thumbnail(scene: gdal.Dataset, hit: Mapping[str, Any], side: int) -> QImage | None:
    """The window of a hit as a picture of `side` pixels, or None if it cannot be read."""
    window = [hit["col_off"], hit["row_off"], hit["width"], hit["height"]]
    window[2] = min(window[2], scene.RasterXSize - window[0])  # a chip may be padded
    window[3] = min(window[3], scene.RasterYSize - window[1])
    planes = []
    for band in shown_bands(scene, hit["bands"]):
        try:
            plane = scene.GetRasterBand(band).ReadAsArray(
                *window, buf_xsize=side, buf_ysize=side, resample_alg=gdal.GRIORA_Average
            )
        except RuntimeError:
            return None
        if plane is None:
            return None
        planes.append(plane)
    return _image(planes, side)


def _image(planes: Sequence[np.ndarray], side: int) -> QImage:
    grey = [_stretched(plane) for plane in planes]
    pixels = np.dstack(grey * 3 if len(grey) == 1 else grey)
    content = np.ascontiguousarray(pixels).tobytes()
    return QImage(content, side, side, 3 * side, QImage.Format.Format_RGB888).copy()


def _stretched(plane: np.ndarray) -> np.ndarray:
    """8 bits as they are, other data between its 2nd and 98th percentile."""
    if plane.dtype == np.uint8:
        return plane
    finite = np.nan_to_num(plane.astype(np.float64))
    low, high = np.percentile(finite, (2, 98))
    return (255 * np.clip((finite - low) / max(high - low, 1e-9), 0, 1)).astype(np.uint8)
