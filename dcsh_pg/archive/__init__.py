"""The door for programs: an archive together with its model, to ingest into and to search.

Every search here is one SQL function (docs/sql.md), so psql gives the same rows.

    from dcsh_pg import Archive

    archive = Archive.open("naip")
    for hit in archive.similar_to_image("pond.png", k=5):
        print(hit.distance, hit.uri, hit.footprint)
"""

from __future__ import annotations

from dcsh_pg.archive.ingestion import Ingestion
from dcsh_pg.archive.publishing import Publishing
from dcsh_pg.archive.query import Query

__all__ = ["Archive", "Query"]


class Archive(Ingestion, Publishing):
    """An archive in the database: :meth:`open` it, or :meth:`create` it, then ingest and search.

    Attributes:
        connection: the psycopg connection it uses.
        record: name, bits, reading, counts, the model's card and SHA-256.
        reading: how its scenes are cut into chips and turned into uint8.
        device: where the model runs, here or on the workers of a cluster: auto, cpu or cuda.
        is_new: whether :meth:`create` made it just now.
        options: how scenes are opened, dated and georeferenced, in ingestion and when the chips of
            hits are read.
    """
