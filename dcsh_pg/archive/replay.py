"""Searches with a manifest, and their repetition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dcsh_pg import __version__, sql
from dcsh_pg.archive.manifest import Manifest
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.digest import archive_digest
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.server.connection import snapshot
from dcsh_pg.database.server.rows import scalar
from dcsh_pg.errors import ModelError, NotFound

if TYPE_CHECKING:
    import psycopg

    from dcsh_pg.archive.archive import Archive
    from dcsh_pg.archive.found import Hits
    from dcsh_pg.database.search.query import Query


@dataclass(frozen=True)
class Replayed:
    """A search that was repeated.

    Attributes:
        hits: the answer now.
        is_same: whether its ids and distances are those of the manifest, in their order.
        differences: what is different, a line each; also where the hits are the same.
    """

    hits: Hits
    is_same: bool
    differences: tuple[str, ...]


def recorded_search(
    archive: Archive, query: Query, *, k: int | None = 10, filter: Filter = Filter()
) -> tuple[Hits, Manifest]:
    """A search with its manifest, both of one moment.  All chips are read for the archive's digest.

    Raises:
        ModelError, NotFound, UsageError: as :meth:`dcsh_pg.Archive.search`.
    """
    conn = archive.connection
    with snapshot(conn):
        record = registry.get_archive(conn, archive.name)
        found = archive.search(query, k=k, filter=filter)
        manifest = Manifest(
            archive=archive.name,
            chips=record.chips,
            digest=archive_digest(conn, record),
            model_sha256=record.model_sha256,
            query=query,
            filter=replace(filter, scenes=None),
            scenes=_content_hashes(conn, filter.scenes),
            k=k,
            hits=tuple((hit.id, hit.distance) for hit in found),
            versions={
                "dcsh_pg": __version__,
                "postgresql": conn.info.parameter_status("server_version") or "",
                "schema": sql.REVISION,
            },
        )
    return found, manifest


def replay(archive: Archive, manifest: Manifest) -> Replayed:
    """Repeats a search in an archive, under any name and on any server, and compares the answers.

    Raises:
        ModelError: the archive has codes of another model.
        NotFound: a chip or a scene of the query does not exist here.
        UsageError: as :meth:`dcsh_pg.Archive.search`.
    """
    conn = archive.connection
    with snapshot(conn):
        record = registry.get_archive(conn, archive.name)
        if record.model_sha256 != manifest.model_sha256:
            raise ModelError(
                f"archive '{archive.name}' has codes of model {record.model_sha256[:12]}, the search was "
                f"made with model {manifest.model_sha256[:12]}",
                hint="replay it in an archive of that model: distances of two models cannot be compared",
            )
        scenes = _scenes(conn, record.id, manifest.scenes)
        filter = replace(manifest.filter, scenes=scenes)
        found = archive.search(manifest.query, k=manifest.k, filter=filter)
        is_unchanged = archive_digest(conn, record) == manifest.digest
    answer = [(hit.id, hit.distance) for hit in found]
    differences = []
    if not is_unchanged:
        differences.append(
            f"archive '{archive.name}' has changed: it has {record.chips} chips, and had {manifest.chips}"
        )
    differences += _compared(manifest.hits, answer)
    return Replayed(found, answer == list(manifest.hits), tuple(differences))


def _compared(former: Sequence[tuple[int, int]], now: Sequence[tuple[int, int]]) -> list[str]:
    """What is different between two answers: their lengths, and the first rank that differs."""
    lines = []
    if len(former) != len(now):
        lines.append(f"{len(now)} hits, and were {len(former)}")
    for rank, (was, found) in enumerate(zip(former, now, strict=False), start=1):
        if was != found:
            lines.append(
                f"rank {rank} is chip {found[0]} at {found[1]} bits, and was chip {was[0]} at "
                f"{was[1]} bits"
            )
            break
    gone = len(set(former) - set(now))
    if gone:
        lines.append(f"{gone} of the former hits are no longer among them")
    return lines


def _content_hashes(
    conn: psycopg.Connection, ids: Sequence[int] | object | None
) -> tuple[str, ...] | None:
    """The content hashes of scenes, which a copy of the archive has too."""
    if ids is None:
        return None
    found = scalar(
        conn,
        list,
        "SELECT coalesce(array_agg(content_hash ORDER BY id), '{}') FROM dcsh.scene WHERE id = ANY (%s)",
        [list(ids)],  # type: ignore[call-overload]
    )
    return tuple(found)


def _scenes(
    conn: psycopg.Connection, archive_id: int, hashes: Sequence[str] | None
) -> list[int] | None:
    if hashes is None:
        return None
    found = scalar(
        conn,
        list,
        "SELECT coalesce(array_agg(id), '{}') FROM dcsh.scene WHERE archive_id = %s "
        "AND content_hash = ANY (%s)",
        [archive_id, list(hashes)],
    )
    if len(found) < len(set(hashes)):
        raise NotFound(
            f"{len(set(hashes)) - len(found)} of the scenes that were searched are not in this archive",
            hint="replay it in the archive that it was made in, or a copy of it",
        )
    return found
