"""An archive and a search in it as a QGIS project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import shapely
from psycopg import sql
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
from dcsh_pg.database.archives import chips, registry, spatial
from dcsh_pg.errors import UsageError
from dcsh_pg.files import replacing
from dcsh_pg.results.extras import require
from dcsh_pg.results.to_geopandas import geo_frame, to_geopandas

if TYPE_CHECKING:
    from dcsh_pg.database.search.similar import Hit

SUFFIXES = (".qgz", ".qgs")


def check_project(path: Path | str) -> None:
    """Tells whether a name can be that of a project.

    Raises:
        UsageError: it ends in something else than .qgz or .qgs.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{path}: a QGIS project is named otherwise", hint="end its name in .qgz or .qgs"
        )


def write_qgis(
    conn: psycopg.Connection,
    archive_name: str,
    path: Path | str,
    hits: Sequence[Hit],
    *,
    caption: str,
    search: dict[str, Any],
    password: bool = False,
) -> list[Path]:
    """Writes a project with the archive's chips, the hits of a search and its query chip.

    Args:
        path: of the project, .qgz or .qgs.
        hits: what the search finds now; their distances make the classes of colour.
        caption: what people call the query.
        search: the same search as arguments of ``dcsh.search_layer``; with PostGIS QGIS calls it
            each time that it draws.  Its ``chip``, if any, is shown as the query.
        password: write the connection's password into the project.

    Returns:
        The files written: the project and, without PostGIS, the GeoPackage that it shows.

    Raises:
        NotFound: no such archive.
        OutputError: a file cannot be written, or there is no PostGIS and the extra ``geo`` is missing.
        UsageError: ``path`` is not the name of a project.
    """
    check_project(path)
    path = Path(path)
    record = registry.get_archive(conn, archive_name)
    chip = search.get("chip")
    names = {"query": caption, "hits": f"nearest to {caption}", "chips": f"chips of {record.name}"}
    renderers = {
        "query": outlines(QUERY, 0.9),
        "hits": by_distance([hit.distance for hit in hits]),
        "chips": outlines(FOOTPRINT, 0.15),
    }
    if chip is None:
        del names["query"]
    if spatial.layer_of(conn) == "postgis":
        provider, written = "postgres", []
        sources = _tables(conn, record.name, search, password)
    else:
        provider, written = "ogr", [path.with_suffix(".gpkg")]
        _write_package(conn, record.name, written[0], hits, chip)
        sources = {name: f"./{written[0].name}|layername={name}" for name in names}
    layers = [Layer(names[name], provider, sources[name], renderers[name]) for name in names]
    in_view = _bounds(hits) or registry.extent(conn, record.name)["bounds"]
    write_project(path, f"{record.name}: like {caption}", layers, in_view)
    return [path, *written]


def _bounds(hits: Sequence[Hit]) -> tuple[float, ...] | None:
    places = [shape(hit.footprint) for hit in hits if hit.footprint is not None]
    return tuple(shapely.total_bounds(places)) if places else None


def _tables(
    conn: psycopg.Connection, archive_name: str, search: dict[str, Any], password: bool
) -> dict[str, str]:
    """Sources of the layers in the database."""
    arguments = sql.SQL(", ").join(
        sql.SQL("{} => {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in ({"archive": archive_name} | search).items()
    )
    call = sql.SQL("(SELECT * FROM dcsh.search_layer({}))").format(arguments).as_string(conn)
    conninfo = make_conninfo(conn.info.dsn, password=conn.info.password)
    layer = f'"dcsh"."{archive_name}_layer"'
    where = {"query": f"id = {search.get('chip')}", "chips": ""}
    return {"hits": postgres_source(conninfo, call, password=password)} | {
        name: postgres_source(conninfo, layer, password=password, where=condition)
        for name, condition in where.items()
    }


def _write_package(
    conn: psycopg.Connection,
    archive_name: str,
    path: Path,
    hits: Sequence[Hit],
    query_chip: int | None,
) -> None:
    """A GeoPackage with the layers ``chips``, ``hits`` and, where there is one, ``query``."""
    require("geo", f"write {path}")
    columns, footprints = chips.chips(conn, archive_name)
    frames = {
        "chips": geo_frame(columns, chips.COLUMNS, footprints),
        "hits": to_geopandas(hits).reset_index(),
    }
    if query_chip is not None:
        frames["query"] = frames["chips"][frames["chips"]["id"] == query_chip]
    with replacing(path) as temporary:
        for name, frame in frames.items():
            frame.to_file(
                temporary, layer=name, driver="GPKG", engine="pyogrio", geometry_type="Polygon"
            )
