"""An archive together with its model, for programs: ingest into it and search it.

Every search is one SQL function (docs/sql.md), so psql returns the same rows.

    from dcsh_pg import Archive

    with Archive.open("naip") as archive:
        for hit in archive.similar_to_image("pond.png", k=5, since="2021"):
            print(hit.distance, hit.uri, hit.footprint)
"""

from __future__ import annotations

from dcsh_pg.archive.archive import Archive as Archive
