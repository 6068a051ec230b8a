"""A QGIS project of an archive: its chips, and the hits of a search coloured by their distance.

With PostGIS the layers come from the database, so that they are always what it holds.  Without it
QGIS could not draw them from there: they are in a GeoPackage beside the project.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from psycopg.conninfo import conninfo_to_dict

from dcsh_pg.files import replacing

VERSION = "3.22.0"
"""Of QGIS, whose format the project has; later ones read it."""

COLOURS = (
    (68, 1, 84),
    (65, 68, 135),
    (42, 120, 142),
    (34, 168, 132),
    (122, 209, 81),
    (253, 231, 37),
)
"""Of the classes of distance, nearest first: viridis."""

INK = (35, 35, 35)
QUERY = (214, 39, 40)
FOOTPRINT = (120, 120, 120)


@dataclass(frozen=True)
class Layer:
    """A layer of polygons, or a raster.

    Attributes:
        name: what people read.
        provider: 'postgres' or 'ogr'; 'gdal' or 'wms' for a raster.
        source: the provider's address of it.
        renderer: how it is drawn; None leaves a raster to QGIS.
        crs: its coordinate reference system.
    """

    name: str
    provider: str
    source: str
    renderer: Element | None
    crs: str = "EPSG:4326"

    @property
    def is_raster(self) -> bool:
        return self.provider in ("gdal", "wms")


def write_project(
    path: Path | str, title: str, layers: Sequence[Layer], extent: Sequence[float] | None
) -> None:
    """Writes a project file, .qgz or .qgs, that shows ``layers``, the first on top.

    ``extent`` is west, south, east and north in degrees of what is in view at first.

    Raises:
        OutputError: the file cannot be written.
    """
    text = ElementTree.tostring(_project(title, layers, extent), encoding="unicode")
    content = f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n{text}\n"
    path = Path(path)
    with replacing(path) as temporary:
        if path.suffix.lower() == ".qgs":
            temporary.write_text(content, encoding="utf-8")
        else:
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(f"{path.stem}.qgs", content)


def postgres_source(conninfo: str, table: str, *, password: bool = False, where: str = "") -> str:
    """Address of a table of the database, or of a query in parentheses, with key id and footprint geom.

    The password is in it only where ``password`` asks for it; else QGIS asks its user.
    """
    parts = conninfo_to_dict(conninfo)
    # QGIS keeps require_auth but does not pass it to libpq: see docs/operations.md.
    names: tuple[str, ...] = (
        "service",
        "dbname",
        "host",
        "port",
        "sslmode",
        "require_auth",
        "user",
    )
    if password:
        names = (*names, "password")
    known = [f"{name}={_quoted(str(parts[name]))}" for name in names if parts.get(name)]
    escaped = table.replace("\\", "\\\\").replace('"', '\\"')
    named = table if table.startswith('"') else f'"{escaped}"'
    return " ".join(
        [*known, "key='id'", "estimatedmetadata=true", "srid=4326", "type=Polygon",
         "checkPrimaryKeyUnicity='0'", f"table={named} (geom)", f"sql={where}"]
    )  # fmt: skip


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def outlines(colour: tuple[int, int, int], width: float) -> Element:
    """Footprints as outlines; ``width`` in millimetres."""
    renderer = Element("renderer-v2", type="singleSymbol", symbollevels="0", enableorderby="0")
    _symbol(SubElement(renderer, "symbols"), "0", None, colour, width)
    return renderer


def by_distance(distances: Sequence[int], *, is_filled: bool = True) -> Element:
    """Footprints filled or outlined by classes of the attribute ``distance``, which has these values."""
    low, high = min(distances, default=0), max(distances, default=0)
    count = min(len(COLOURS), high - low + 1)
    bounds = [low + (high + 1 - low) * n // count for n in range(count + 1)]
    renderer = Element(
        "renderer-v2",
        type="graduatedSymbol",
        attr="distance",
        graduatedMethod="GraduatedColor",
        symbollevels="0",
        enableorderby="0",
    )
    ranges, symbols = SubElement(renderer, "ranges"), SubElement(renderer, "symbols")
    for n, (first, end) in enumerate(pairwise(bounds)):
        name = f"{first} bits" if end == first + 1 else f"{first} to {end - 1} bits"
        SubElement(
            ranges, "range", symbol=str(n), render="true", label=name,
            lower=f"{first - 0.5:.1f}", upper=f"{end - 0.5:.1f}",
        )  # fmt: skip
        colour = COLOURS[n * (len(COLOURS) - 1) // max(count - 1, 1)]
        fill, outline, width = (colour, INK, 0.2) if is_filled else (None, colour, 0.8)
        _symbol(symbols, str(n), fill, outline, width)
    return renderer


def _symbol(
    symbols: Element,
    name: str,
    fill: tuple[int, int, int] | None,
    outline: tuple[int, int, int],
    width: float,
) -> None:
    symbol = SubElement(symbols, "symbol", name=name, type="fill", alpha="1", clip_to_extent="1")
    layer = SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0"})
    options = SubElement(layer, "Option", type="Map")
    red, green, blue = fill or (0, 0, 0)
    for key, value in {
        "color": f"{red},{green},{blue},190",
        "style": "solid" if fill else "no",
        "outline_color": ",".join(map(str, (*outline, 255))),
        "outline_style": "solid",
        "outline_width": str(width),
        "outline_width_unit": "MM",
    }.items():
        SubElement(options, "Option", name=key, value=value, type="QString")


def _project(title: str, layers: Sequence[Layer], extent: Sequence[float] | None) -> Element:
    project = Element("qgis", projectname=title, version=VERSION)
    SubElement(project, "title").text = title
    _crs(SubElement(project, "projectCrs"), "EPSG:3857")
    properties = SubElement(project, "properties")
    for group, name, kind, value in (
        ("SpatialRefSys", "ProjectionsEnabled", "int", "1"),
        ("Paths", "Absolute", "bool", "false"),
    ):
        SubElement(SubElement(properties, group), name, type=kind).text = value
    tree = SubElement(project, "layer-tree-group")
    canvas = SubElement(project, "mapcanvas", name="theMapCanvas")
    SubElement(canvas, "units").text = "meters"
    if extent is not None:
        box = SubElement(canvas, "extent")
        for name, metres in zip(("xmin", "ymin", "xmax", "ymax"), _in_view(extent), strict=True):
            SubElement(box, name).text = f"{metres:.3f}"
    _crs(SubElement(canvas, "destinationsrs"), "EPSG:3857")
    maps = SubElement(project, "projectlayers")
    for number, layer in enumerate(layers):
        key = f"dcsh_pg_layer_{number}"
        SubElement(
            tree, "layer-tree-layer", id=key, name=layer.name, source=layer.source,
            providerKey=layer.provider, checked="Qt::Checked", expanded="1",
        )  # fmt: skip
        maps.append(_map_layer(key, layer))
    return project


def _map_layer(key: str, layer: Layer) -> Element:
    item = Element("maplayer", type="raster" if layer.is_raster else "vector")
    SubElement(item, "id").text = key
    SubElement(item, "datasource").text = layer.source
    SubElement(item, "layername").text = layer.name
    SubElement(item, "provider", encoding="UTF-8").text = layer.provider
    _crs(SubElement(item, "srs"), layer.crs)
    if layer.is_raster:
        drawn = SubElement(item, "pipe")
    else:
        item.set("geometry", "Polygon")
        item.set("wkbType", "Polygon")
        SubElement(item, "layerGeometryType").text = "2"
        drawn = item
    if layer.renderer is not None:
        drawn.append(layer.renderer)
    return item


def _crs(parent: Element, code: str) -> None:
    from pyproj import CRS

    system = SubElement(parent, "spatialrefsys", nativeFormat="Wkt")
    SubElement(system, "wkt").text = CRS(code).to_wkt()
    SubElement(system, "authid").text = code


def _in_view(extent: Sequence[float]) -> tuple[float, float, float, float]:
    """Bounds in Web Mercator with a margin around them, metres; the poles, which it has not, cut off."""
    from pyproj import Transformer

    west, south, east, north = extent
    to_metres = Transformer.from_crs(4326, 3857, always_xy=True).transform
    left, bottom = to_metres(west, max(south, -85.0))
    right, top = to_metres(east, min(north, 85.0))
    margin = max(right - left, top - bottom) / 20 or 100.0
    return left - margin, bottom - margin, right + margin, top + margin
