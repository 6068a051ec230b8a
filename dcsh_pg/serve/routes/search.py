"""Searches, and the same search for other programs."""

from __future__ import annotations

import tempfile
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Response

from dcsh_pg import results
from dcsh_pg.catalog.qgis import write_qgis
from dcsh_pg.database.search.hits import hits, search_sql
from dcsh_pg.database.search.nearness import nothing_near
from dcsh_pg.errors import UsageError
from dcsh_pg.serve.answers import collection, without_path
from dcsh_pg.serve.asked import AskedSearch, asking
from dcsh_pg.serve.command import command
from dcsh_pg.serve.routes.archives import DOWNLOADS, QGIS
from dcsh_pg.serve.routes.shared import Name, TheService

router = APIRouter(tags=["search"])


@router.post("/archives/{name}/search")
def search(name: Name, asked: AskedSearch, service: TheService) -> dict[str, Any]:
    """The k chips most similar to a query, by (distance, id), as a GeoJSON feature collection."""
    with service.reading() as conn:
        archive = service.archive(conn, name)
        query, filter = asking(conn, archive, asked)
        found = hits(conn, archive.name, query, filter, asked.k)
        note = nothing_near(conn, archive.record, query, found)
    about = {"caption": query.caption, "chip": getattr(query, "chip", None)}
    return collection(found) | {"query": about, "note": note}


@router.post("/archives/{name}/export/{format}", response_class=Response)
def export(
    name: Name,
    format: Annotated[Literal["geojson", "csv", "geoparquet", "qgis"], Path()],
    asked: AskedSearch,
    service: TheService,
) -> Response:
    """The hits of a search as a file: the outputs of ``dcsh-pg search --out``, or with PostGIS the project
    of ``dcsh-pg qgis``, which names the database's host, port and user and has no password."""
    with (
        tempfile.TemporaryDirectory(dir=service.folder) as folder,
        service.reading() as conn,
    ):
        archive = service.archive(conn, name)
        query, filter = asking(conn, archive, asked)
        file = FilePath(folder) / f"{archive.name}{(DOWNLOADS | QGIS)[format]}"
        if format != "qgis":
            found = hits(conn, archive.name, query, filter, asked.k)
            results.write([without_path(hit) for hit in found], file)
        elif service.layer == "postgis":
            # No scenes: their paths are those of this server.
            write_qgis(
                conn, archive.name, file, query, filter,
                k=asked.k, scenes=0, basemap=service.settings.basemap,
            )  # fmt: skip
        else:
            raise UsageError(
                "a QGIS project of the database needs PostGIS",
                hint="open the GeoJSON or GeoParquet file in QGIS",
            )
        content = file.read_bytes()
    return Response(
        content,
        media_type="application/octet-stream",
        headers={"content-disposition": f'attachment; filename="{file.name}"'},
    )


@router.post("/archives/{name}/text")
def text(name: Name, asked: AskedSearch, service: TheService) -> dict[str, str]:
    """The search as SQL for psql and as a command of dcsh-pg; both return the same rows."""
    with service.reading() as conn:
        archive = service.archive(conn, name)
        query, filter = asking(conn, archive, asked)
        return {
            "sql": search_sql(conn, archive.name, query, filter, asked.k),
            "command": command(archive.name, query, asked.filter, filter, asked.k),
        }
