"""The imagery of hits: a picture of each, and their scenes as raster layers below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from qgis.core import (
    QgsCoordinateTransformContext,
    QgsFeedback,
    QgsLayerTreeGroup,
    QgsProject,
    QgsRasterLayer,
)
from qgis.PyQt.QtCore import QCoreApplication
from qgis.PyQt.QtGui import QImage

from . import pixels
from .addresses import gdal_name, title
from .connection import Cancelled
from .hits_layer import group

GROUP = "imagery"
URI = "dcsh_pg/uri"


@dataclass
class Shown:
    """What became of the scenes of some hits."""

    rasters: list[QgsRasterLayer]
    unread: int = 0


def look(
    hits: Sequence[Mapping[str, Any]],
    most: int,
    loaded: Sequence[str],
    side: int,
    on_picture: Callable[[int, QImage], None],
    feedback: QgsFeedback,
) -> Shown:
    """Opens the scenes of hits one after the other, in the order of the hits; runs in any thread.

    Args:
        most: scenes that become raster layers; 0 for none.
        loaded: the scenes that are layers already.
        side: of the pictures, pixels.
        on_picture: gets a chip and its picture.

    Raises:
        Cancelled: the user cancelled.
    """
    shown = Shown([])
    scenes = dict.fromkeys(hit["uri"] for hit in hits)
    for number, uri in enumerate(scenes):
        if feedback.isCanceled():
            raise Cancelled
        scene = pixels.open_scene(uri)
        if scene is None:
            shown.unread += 1
            continue
        chips = [hit for hit in hits if hit["uri"] == uri]
        if number < most and uri not in loaded and pixels.is_georeferenced(scene):
            shown.rasters.append(_raster(uri, pixels.shown_bands(scene, chips[0]["bands"])))
        for hit in chips:
            picture = pixels.thumbnail(scene, hit, side)
            if picture is not None:
                on_picture(hit["id"], picture)
    return shown


def _raster(uri: str, bands: Sequence[int]) -> QgsRasterLayer:
    """A layer that the main thread may use. No style is read from a file beside the scene."""
    options = QgsRasterLayer.LayerOptions(False, QgsCoordinateTransformContext())
    layer = QgsRasterLayer(gdal_name(uri), title(uri), "gdal", options)
    layer.setCustomProperty(URI, uri)
    renderer = layer.renderer()
    if len(bands) == 3 and hasattr(renderer, "setRedBand"):
        renderer.setRedBand(bands[0])
        renderer.setGreenBand(bands[1])
        renderer.setBlueBand(bands[2])
        layer.setDefaultContrastEnhancement()
    layer.moveToThread(QCoreApplication.instance().thread())
    return layer


def loaded() -> list[str]:
    """The scenes that are raster layers in the plugin's group."""
    return [layer.customProperty(URI) for layer in _layers()]


def show(rasters: Sequence[QgsRasterLayer], wanted: Sequence[str]) -> None:
    """Adds raster layers below the hits; those of scenes that are no longer wanted are removed."""
    gone = [layer.id() for layer in _layers() if layer.customProperty(URI) not in wanted]
    QgsProject.instance().removeMapLayers(gone)
    for layer in rasters:
        if layer.isValid():
            QgsProject.instance().addMapLayer(layer, False)
            _group().addLayer(layer).setExpanded(False)


def _group() -> QgsLayerTreeGroup:
    return group().findGroup(GROUP) or group().addGroup(GROUP)


def _layers() -> list[QgsRasterLayer]:
    found = group().findGroup(GROUP)
    layers = [node.layer() for node in found.findLayers()] if found is not None else []
    return [layer for layer in layers if layer is not None and layer.customProperty(URI)]
