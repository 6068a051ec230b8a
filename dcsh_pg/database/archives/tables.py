"""An archive as a SQLAlchemy table, for programs that build their own queries.

from dcsh_pg.database.archives.tables import archive_table

chips = archive_table(conn, "naip")
select(chips.c.id, chips.c.geom).where(chips.c.acquired >= start)
"""

from __future__ import annotations

import psycopg
from geoalchemy2 import Geometry
from pgvector.sqlalchemy import BIT
from sqlalchemy import REAL, BigInteger, Column, DateTime, Integer, MetaData, Table
from sqlalchemy.types import UserDefinedType

from dcsh_pg.database.archives import registry, spatial


class Polygon(UserDefinedType):
    """PostgreSQL's own ``polygon``, as text '((lon,lat),...)'."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "polygon"


def archive_table(
    conn: psycopg.Connection, name: str, *, metadata: MetaData | None = None
) -> Table:
    """The table of an archive: ``geom`` is a geoalchemy2 Geometry, or without PostGIS a
    :class:`Polygon`; ``code`` is pgvector's BIT(K), which has ``hamming_distance``.

    Raises:
        NotFound: no archive of that name.
    """
    archive = registry.get_archive(conn, name)
    with_postgis = spatial.layer_of(conn) == "postgis"
    return Table(
        name,
        metadata if metadata is not None else MetaData(),
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column("scene_id", BigInteger, nullable=False),
        *(Column(side, Integer, nullable=False) for side in WINDOW),
        Column("geom", Geometry("POLYGON", spatial.SRID) if with_postgis else Polygon),
        Column("acquired", DateTime(timezone=True)),
        Column("valid_fraction", REAL, nullable=False),
        Column("code", BIT(archive.bits), nullable=False),
        schema="dcsh",
    )


WINDOW = ("col_off", "row_off", "width", "height")
