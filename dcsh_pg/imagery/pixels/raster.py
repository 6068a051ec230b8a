"""Scenes that GDAL reads: GeoTIFF, COG, VRT, JPEG 2000, remote files and its other formats."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.transform import from_bounds
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from dcsh_pg.errors import InputError
from dcsh_pg.imagery import grid
from dcsh_pg.imagery.georeference.affine import AffineGeoreference, Georeference
from dcsh_pg.imagery.georeference.control_points import georeference_of_gcps, georeference_of_rpcs
from dcsh_pg.imagery.georeference.placed import Placed
from dcsh_pg.imagery.georeference.whole import WholeFootprint
from dcsh_pg.imagery.metadata.origin import Origin, remote_identity
from dcsh_pg.imagery.pixels import bands as band_rules
from dcsh_pg.imagery.pixels.gdal import Handles, gdal, is_gdal_name
from dcsh_pg.imagery.pixels.limits import check_raster
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.reduce import read_window
from dcsh_pg.imagery.resample import Raster
from dcsh_pg.imagery.scene import Chips, Scene, SceneRecord

OVERVIEW_SIDE = 1024
"""Longest side in pixels of the decimated read for the percentiles of scale 'auto'."""


@dataclass(frozen=True)
class _Layout:
    """What is needed to read pixels, computed once for a scene."""

    width: int
    height: int
    bands: tuple[int, ...]
    palette: np.ndarray | None
    linear: np.ndarray | None
    limits: np.ndarray | None
    georeference: Georeference | WholeFootprint | None
    is_georeferenced: bool


class RasterScene(Scene):
    """A scene that GDAL reads; arguments as of :func:`dcsh_pg.imagery.pixels.open.open_scene`."""

    def __init__(
        self, uri: str, reading: Reading, *, channels: int, origin: Origin, offset: int = 0
    ):
        """``offset`` is added to all values, before GDAL's scale and offset."""
        super().__init__(uri, reading, channels)
        self._origin, self._offset = origin, offset
        self._handles = Handles(uri, origin.options)
        self._lock = threading.Lock()
        self._layout: _Layout | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Pickled without open files and what was computed from them."""
        return {key: value for key, value in vars(self).items() if key not in ("_lock", "_layout")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock(), _layout=None)

    def describe(self) -> SceneRecord:
        with gdal(self.uri), self._handles.use() as source:
            layout = self._lay_out(source)
            tags = source.tags(ns="EXIF") | source.tags() | source.tags(ns="IMAGERY")
            georeference, metadata = layout.georeference, self._origin.metadata
            resolution = None
            if georeference:
                resolution = georeference.resolution(layout.width, layout.height)
            return SceneRecord(
                uri=self.uri,
                content_hash=self._identity(source, layout),
                width=layout.width,
                height=layout.height,
                windows=grid.windows(
                    layout.width,
                    layout.height,
                    self.reading,
                    self._anchor(georeference),
                    uri=self.uri,
                ),
                acquired=self._origin.when(tags),
                proj_code=georeference.proj_code if georeference else None,
                resolution=resolution,
                bands=layout.bands,
                collection=metadata.collection if metadata else None,
                item_id=metadata.item_id if metadata else None,
                properties=_properties(source, layout) | self._origin.properties(),
            )

    def read(self, windows: np.ndarray) -> Chips:
        windows = np.asarray(windows, dtype=np.int32).reshape(-1, 4)
        with gdal(self.uri), self._handles.use() as source:
            layout = self._lay_out(source)
            pixels = self._blank(windows)
            valid_fraction = np.zeros(len(windows), np.float32)

            def read_part(*part: int) -> tuple[np.ndarray, np.ndarray]:
                data, valid = self._read(source, layout, Window(*part))
                return band_rules.to_pixels(data, valid, layout.limits, self.reading)

            size = (layout.width, layout.height)
            for index, window in enumerate(windows.tolist()):
                valid_fraction[index] = read_window(pixels[index], window, size, read_part)
        footprints = layout.georeference.footprints(windows) if layout.georeference else None
        return Chips(pixels, windows, footprints, valid_fraction)

    def place(self) -> Placed:
        """Its size and position, from the header.

        Raises:
            InputError: as :meth:`describe`.
        """
        with gdal(self.uri), self._handles.use() as source:
            layout = self._lay_out(source)
        return Placed(layout.width, layout.height, layout.georeference)

    @contextmanager
    def raster(self) -> Iterator[Raster]:
        """Its pixels, for :func:`dcsh_pg.imagery.resample.resample`; one raster at a time in a thread."""
        with gdal(self.uri), self._handles.use() as source:
            layout = self._lay_out(source)

            def read(
                left: int, top: int, width: int, height: int, reduction: int
            ) -> tuple[np.ndarray, np.ndarray]:
                shape = (-(-height // reduction), -(-width // reduction))
                data, valid = self._read(source, layout, Window(left, top, width, height), shape)
                return band_rules.to_pixels(data, valid, layout.limits, self.reading)

            overviews = source.overviews(layout.bands[0])
            yield Raster(layout.width, layout.height, read, overviews)

    def read_mercator(
        self, bounds: tuple[float, float, float, float], size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """A square of Web Mercator (EPSG:3857), resampled: pixels and their validity.

        Args:
            bounds: west, south, east, north in metres.
            size: width and height of the result in pixels.

        Returns:
            Pixels (size, size, C) as of :class:`Chips`; bool (size, size).

        Raises:
            InputError: the pixels cannot be read, or the raster has no CRS.
        """
        with gdal(self.uri), self._handles.use() as source:
            layout = self._lay_out(source)
            crs = source.crs or source.gcps[1]
            if not crs:
                raise InputError(f"{self.uri} has no coordinate reference system")
            has_mask = source.nodata is not None or ColorInterp.alpha in source.colorinterp
            with WarpedVRT(
                source,
                src_crs=crs,
                crs="EPSG:3857",
                transform=from_bounds(*bounds, size, size),
                width=size,
                height=size,
                resampling=Resampling.bilinear if layout.palette is None else Resampling.nearest,
                add_alpha=not has_mask,
            ) as warped:
                window = Window(0, 0, size, size)
                data, valid = self._read(warped, layout, window)
            return band_rules.to_pixels(data, valid, layout.limits, self.reading)

    def close(self) -> None:
        self._handles.close()

    def _anchor(self, georeference: Georeference | WholeFootprint | None) -> tuple[float, float]:
        if self.reading.anchor and isinstance(georeference, AffineGeoreference):
            return georeference.origin
        return (0, 0)

    def _lay_out(self, source: rasterio.DatasetReader) -> _Layout:
        with self._lock:
            if self._layout is None:
                self._layout = self._work_out(source)
            return self._layout

    def _work_out(self, source: rasterio.DatasetReader) -> _Layout:
        if source.count == 0:
            parts = ", ".join(source.subdatasets[:3])
            raise InputError(
                f"{self.uri} contains only subdatasets",
                hint=f"give one of them: {parts}" if parts else None,
            )
        check_raster(source, self.uri)
        grid.windows(source.width, source.height, self.reading, uri=self.uri)  # raises for too many
        bands, palette = self._choose_bands(source)
        dtype = np.result_type(*(source.dtypes[band - 1] for band in bands))
        if dtype.kind == "c":
            raise InputError(
                f"{self.uri} contains complex numbers", hint="convert it to amplitudes"
            )
        linear = limits = None
        if palette is None and not self.reading.raw_values:
            chosen = [[of[band - 1] for band in bands] for of in (source.scales, source.offsets)]
            linear = band_rules.physical_scale(*chosen, uri=self.uri)
        if self._offset and palette is None:
            linear = np.array([(1.0, 0.0)] * len(bands)) if linear is None else linear
            linear = linear + linear[:, :1] * (0, self._offset)
        band_rules.check_type(dtype, linear, self.reading, uri=self.uri)
        if palette is None and band_rules.is_stretched(dtype, linear, self.reading):
            limits = self._stretch_limits(source, bands, linear)
        georeference, is_georeferenced = self._georeference(source)
        return _Layout(
            source.width,
            source.height,
            bands,
            palette,
            linear,
            limits,
            georeference,
            is_georeferenced,
        )

    def _read(
        self,
        source: rasterio.DatasetReader,
        layout: _Layout,
        window: Window,
        shape: tuple[int, int] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Physical values (B, H, W) and validity bool (H, W) of a window within the raster."""
        data, valid = _read(source, layout.bands, layout.palette, window, shape)
        if self.reading.nodata is not None and source.nodata is None:
            valid = valid & (data != self.reading.nodata).any(axis=0)
        return band_rules.to_physical(data, layout.linear), valid

    def _choose_bands(
        self, source: rasterio.DatasetReader
    ) -> tuple[tuple[int, ...], np.ndarray | None]:
        colours = [colour.name for colour in source.colorinterp]
        if self.reading.bands is None and self.channels == 3 and colours[0] == "palette":
            return (1,), _palette(source)
        bands = band_rules.choose_bands(
            colours, self.channels, self.reading, uri=self.uri, names=source.descriptions
        )
        return bands, None

    def _stretch_limits(
        self, source: rasterio.DatasetReader, bands: tuple[int, ...], linear: np.ndarray | None
    ) -> np.ndarray:
        step = max(1.0, max(source.width, source.height) / OVERVIEW_SIDE)
        shape = (max(1, round(source.height / step)), max(1, round(source.width / step)))
        whole = Window(0, 0, source.width, source.height)
        data, valid = _read(source, bands, None, whole, shape)
        if self.reading.nodata is not None and source.nodata is None:
            valid = valid & (data != self.reading.nodata).any(axis=0)
        return band_rules.stretch_limits(band_rules.to_physical(data, linear), valid, self.reading)

    def _georeference(
        self, source: rasterio.DatasetReader
    ) -> tuple[Georeference | WholeFootprint | None, bool]:
        """Where the raster lies, or None; and whether the raster itself is georeferenced."""
        try:
            own = self._own_georeference(source)
            georeference = own or self._given_georeference(source)
            if georeference is not None:
                georeference.footprints(np.array([[0, 0, source.width, source.height]]))
            return georeference, own is not None
        except InputError:
            if self._origin.options.georeference:
                raise
            return None, False

    def _own_georeference(self, source: rasterio.DatasetReader) -> Georeference | None:
        if source.crs and not source.transform.is_identity:
            return AffineGeoreference(source.crs.to_wkt(), source.transform, uri=self.uri)
        points, crs = source.gcps
        if points and crs:
            return georeference_of_gcps(points, crs.to_wkt(), uri=self.uri)
        return georeference_of_rpcs(source, uri=self.uri) if source.tags(ns="RPC") else None

    def _given_georeference(
        self, source: rasterio.DatasetReader
    ) -> AffineGeoreference | WholeFootprint | None:
        given = self._origin.georeference(source.width, source.height, uri=self.uri)
        if given is None and self._origin.options.georeference:
            missing = "transform" if source.crs else "coordinate reference system"
            raise InputError(
                f"{self.uri} has no {missing}",
                hint="set it with gdal_edit.py, or give --no-georeference to ingest it without a "
                "footprint",
            )
        return given

    def _identity(self, source: rasterio.DatasetReader, layout: _Layout) -> str:
        if is_gdal_name(self.uri):
            shape = (source.width, source.height, source.count, source.dtypes)
            crs = source.crs.to_wkt() if source.crs else None
            return remote_identity(
                [self.uri, shape, tuple(source.transform), crs, sorted(source.tags().items())]
            )
        has_place = layout.is_georeferenced and source.driver not in _PICTURE_DRIVERS
        return self._origin.identity(Path(self.uri), is_georeferenced=has_place)


_PICTURE_DRIVERS = {"JPEG", "PNG", "WEBP", "BMP", "GIF"}
"""Formats georeferenced by side files, so that their bytes alone do not identify them."""


def _read(
    source: rasterio.DatasetReader,
    bands: tuple[int, ...],
    palette: np.ndarray | None,
    window: Window,
    shape: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Data (B, H, W) in the file's type and validity bool (H, W) of a window within the raster."""
    distinct = sorted(set(bands))
    out = (len(distinct), *shape) if shape else None
    data = source.read(distinct, window=window, out_shape=out)
    valid = np.ones(data.shape[1:], dtype=bool)
    flags = [source.mask_flag_enums[band - 1] for band in distinct]
    if any(MaskFlags.per_dataset in flag for flag in flags):
        valid &= source.read_masks(distinct[0], window=window, out_shape=shape) > 0
    elif not all(MaskFlags.all_valid in flag for flag in flags):
        valid &= (source.read_masks(distinct, window=window, out_shape=out) > 0).any(axis=0)
    if data.dtype.kind == "f":
        valid &= np.isfinite(data).all(axis=0)
    if palette is not None:
        colours = palette[data[0]]
        return np.moveaxis(colours[..., :3], -1, 0), valid & (colours[..., 3] > 0)
    return data[[distinct.index(band) for band in bands]], valid


def _palette(source: rasterio.DatasetReader) -> np.ndarray:
    """The colour table -> uint8 (65536, 4) red, green, blue, alpha."""
    colours = np.zeros((65536, 4), np.uint8)
    for index, colour in source.colormap(1).items():
        colours[index] = colour
    return colours


def _properties(source: rasterio.DatasetReader, layout: _Layout) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "driver": source.driver,
        "dtype": source.dtypes[layout.bands[0] - 1],
        "bands": list(layout.bands),
    }
    if layout.linear is not None:
        properties["gdal_scale_offset"] = layout.linear.tolist()
    if layout.limits is not None:
        properties["scale"] = layout.limits.tolist()
    return properties
