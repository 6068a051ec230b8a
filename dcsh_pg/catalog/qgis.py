"""An archive and a search in it as a QGIS project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg
import shapely
from psycopg.conninfo import make_conninfo
from shapely.geometry import shape

from dcsh_pg.catalog.qgis_project import (
    FOOTPRINT,
    QUERY,
    Layer,
    by_distance,
    outlines,
    postgres_source,
    write_project,
)
from dcsh_pg.catalog.qgis_rasters import base_map, scene_layers
from dcsh_pg.database.archives import registry, spatial
from dcsh_pg.database.search import chips
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.hits import Hit, hits, layer_call
from dcsh_pg.database.search.query import ChipQuery, ExamplesQuery, Query
from dcsh_pg.errors import NotFound, UsageError
from dcsh_pg.extras import require
from dcsh_pg.files import replacing
from dcsh_pg.results.to_geopandas import geo_frame, to_geopandas

SUFFIXES = (".qgz", ".qgs")


def check_project(path: Path | str) -> None:
    """Checks that a name can be that of a project.

    Raises:
        UsageError: it does not end in .qgz or .qgs.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{path}: a QGIS project must end in .qgz or .qgs", hint=f"for example {path}.qgz"
        )


def write_qgis(
    conn: psycopg.Connection,
    archive_name: str,
    path: Path | str,
    query: Query,
    filter: Filter = Filter(),
    *,
    k: int = 50,
    password: bool = False,
    scenes: int = 8,
    basemap: str | None = None,
) -> list[Path]:
    """Writes a project with the archive's chips, the hits of a search and the chips of its query.

    Below them are scenes of the hits, and a base map if one is named.

    Args:
        path: of the project, .qgz or .qgs.
        query: with PostGIS, QGIS runs this search each time that it draws.
        password: write the connection's password into the project.
        scenes: how many scenes of the hits are raster layers, the nearest first.
        basemap: URL of tiles in Web Mercator with {z}, {x} and {y}.

    Returns:
        The files written: the project and, without PostGIS, the GeoPackage that it shows.

    Raises:
        NotFound: no such archive, or none of its chips has a footprint.
        OutputError: a file cannot be written, or there is no PostGIS and the extra ``geo`` is missing.
        UsageError: ``path`` is not the name of a project, or ``basemap`` not that of tiles.
    """
    check_project(path)
    below = [] if basemap is None else [base_map(basemap)]
    path = Path(path)
    record = registry.get_archive(conn, archive_name)
    found = hits(conn, record.name, query, filter, k)
    in_view = _bounds(found) or registry.extent(conn, record.name)["bounds"]
    if in_view is None:
        raise NotFound(
            f"archive '{record.name}' has no footprints, so a map would be empty",
            hint="ingest georeferenced scenes, or give footprints with --sidecar; "
            f"'dcsh-pg search {record.name} --chip 1 -o hits.png' shows hits of any archive as pictures",
        )
    chosen = _chips_of(query)
    names = {
        "query": query.caption,
        "hits": f"nearest to {query.caption}",
        "chips": f"chips of {record.name}",
    }
    imagery = scene_layers(conn, found, scenes)
    renderers = {
        "query": outlines(QUERY, 0.9),
        "hits": by_distance([hit.distance for hit in found], is_filled=not imagery),
        "chips": outlines(FOOTPRINT, 0.15),
    }
    if not chosen:
        del names["query"]
    if spatial.layer_of(conn) == "postgis":
        provider, written = "postgres", []
        search = layer_call(conn, record.name, query, filter, k).as_string(conn)
        sources = _tables(conn, record.name, search, chosen, password)
    else:
        provider, written = "ogr", [path.with_suffix(".gpkg")]
        _write_package(conn, record.name, written[0], found, chosen)
        sources = {name: f"./{written[0].name}|layername={name}" for name in names}
    layers = [Layer(names[name], provider, sources[name], renderers[name]) for name in names]
    layers += [*imagery, *below]
    write_project(path, f"{record.name}: similar to {query.caption}", layers, in_view)
    return [path, *written]


def _chips_of(query: Query) -> Sequence[int]:
    """The chips that a query names."""
    if isinstance(query, ChipQuery):
        return [query.chip]
    return query.likes if isinstance(query, ExamplesQuery) else []


def _bounds(found: Sequence[Hit]) -> tuple[float, ...] | None:
    places = [shape(hit.footprint) for hit in found if hit.footprint is not None]
    return tuple(shapely.total_bounds(places)) if places else None


def _tables(
    conn: psycopg.Connection, archive_name: str, search: str, chosen: Sequence[int], password: bool
) -> dict[str, str]:
    """Sources of the layers in the database."""
    conninfo = make_conninfo(conn.info.dsn, password=conn.info.password)
    layer = f'"dcsh"."{archive_name}_layer"'
    where = {"query": f"id IN ({', '.join(map(str, chosen))})", "chips": ""}
    return {"hits": postgres_source(conninfo, f"({search})", password=password)} | {
        name: postgres_source(conninfo, layer, password=password, where=condition)
        for name, condition in where.items()
    }


def _write_package(
    conn: psycopg.Connection,
    archive_name: str,
    path: Path,
    found: Sequence[Hit],
    chosen: Sequence[int],
) -> None:
    """A GeoPackage with the layers ``chips``, ``hits`` and, where there is one, ``query``."""
    require("geo", f"write {path}")
    columns, footprints = chips.chips(conn, archive_name)
    frames = {
        "chips": geo_frame(columns, chips.COLUMNS, footprints),
        "hits": to_geopandas(found).reset_index(),
    }
    if chosen:
        frames["query"] = frames["chips"][frames["chips"]["id"].isin(chosen)]
    with replacing(path) as temporary:
        for name, frame in frames.items():
            frame.to_file(
                temporary, layer=name, driver="GPKG", engine="pyogrio", geometry_type="Polygon"
            )
