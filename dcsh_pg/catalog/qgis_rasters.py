"""Raster layers of a QGIS project: scenes below the hits, and a base map below all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement

import psycopg

from dcsh_pg.catalog.qgis_project import Layer
from dcsh_pg.database.search.hits import Hit
from dcsh_pg.errors import UsageError
from dcsh_pg.imagery.pixels.gdal import gdal_name
from dcsh_pg.results.record import scene_name

MOST_ZOOM = 19
"""Of a base map's tiles."""


def scene_layers(conn: psycopg.Connection, found: Sequence[Hit], most: int) -> list[Layer]:
    """The scenes of hits, nearest first, at most ``most``.

    A scene is left out if it has no coordinate reference system with a code, or is neither an existing file with an absolute path
    nor in object storage or on the web.
    """
    nearest = {hit.scene_id: hit for hit in reversed(found)}
    chosen = list(dict.fromkeys(hit.scene_id for hit in found))[:most]
    rows = conn.execute(
        "SELECT id, proj_code FROM dcsh.scene WHERE id = ANY (%s) AND proj_code ~ '^EPSG:[0-9]+$'",
        [chosen],
    ).fetchall()
    crs: dict[int, str] = dict(rows)
    shown = [nearest[id] for id in chosen if id in crs and _is_shown(nearest[id].uri)]
    return [
        Layer(
            scene_name(hit.uri),
            "gdal",
            gdal_name(hit.uri),
            _bands(hit.properties),
            crs[hit.scene_id],
        )
        for hit in shown
    ]


def base_map(url: str) -> Layer:
    """Tiles in Web Mercator at a template with {z}, {x} and {y}.

    Raises:
        UsageError: it is not such a template.
    """
    if not url.startswith(("http://", "https://")) or any(
        part not in url for part in ("{z}", "{x}", "{y}")
    ):
        raise UsageError(
            f"--basemap {url} is not a template of tiles",
            hint="for example https://tile.example.org/{z}/{x}/{y}.png",
        )
    source = f"type=xyz&url={quote(url, safe=':/')}&zmax={MOST_ZOOM}&zmin=0&crs=EPSG:3857"
    return Layer("base map", "wms", source, None, "EPSG:3857")


def _is_shown(uri: str) -> bool:
    """Whether QGIS would open one file, and not parse what a database holds as another GDAL name."""
    if "|" in uri or not uri.isprintable():
        return False
    name = gdal_name(uri)
    return name != uri or (os.path.isabs(uri) and Path(uri).is_file())


def _bands(properties: dict[str, object]) -> Element | None:
    """A renderer of the bands that the model reads; QGIS stretches other data than 8 bits."""
    bands = properties.get("bands")
    if not isinstance(bands, list) or len(bands) < 3:
        return None
    renderer = Element("rasterrenderer", type="multibandcolor", opacity="1", alphaBand="-1")
    is_stretched = properties.get("dtype") != "uint8"
    for colour, band in zip(("red", "green", "blue"), bands, strict=False):
        renderer.set(f"{colour}Band", str(band))
        if is_stretched:
            contrast = SubElement(renderer, f"{colour}ContrastEnhancement")
            for name, value in (("minValue", "0"), ("maxValue", "1")):
                SubElement(contrast, name).text = value
            SubElement(contrast, "algorithm").text = "StretchToMinimumMaximum"
    if is_stretched:
        origin = SubElement(renderer, "minMaxOrigin")
        for name, value in (
            ("limits", "CumulativeCut"),
            ("extent", "UpdatedCanvas"),
            ("statAccuracy", "Estimated"),
            ("cumulativeCutLower", "0.02"),
            ("cumulativeCutUpper", "0.98"),
        ):
            SubElement(origin, name).text = value
    return renderer
