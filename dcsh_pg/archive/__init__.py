"""An archive together with its model, for programs: ingest into it and search it.

Every search is one SQL function (docs/sql.md), so psql returns the same rows.

    from dcsh_pg import Archive, Filter

    archive = Archive.open("naip")
    for hit in archive.similar_to_image("pond.png", k=5):
        print(hit.distance, hit.uri, hit.footprint)

    query = archive.query_chip(17)
    hits = archive.search(query, k=20, filter=Filter(since=datetime(2021, 1, 1)))
"""

from __future__ import annotations

from dcsh_pg.archive.archive import Archive as Archive
