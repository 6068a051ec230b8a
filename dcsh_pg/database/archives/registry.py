"""The registry: models, archives, and the scenes that could not be ingested."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import psycopg
from psycopg import errors as sqlstate
from psycopg.types.json import Jsonb

from dcsh_pg.card import ModelCard
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import one_row, scalar
from dcsh_pg.errors import ModelError, NotFound, UsageError


@dataclass(frozen=True)
class ArchiveRecord:
    """A row of the registry.

    Attributes:
        id: key in ``dcsh.archive``; 0 if the archive does not exist yet.
        name: of the archive and of its table in schema ``dcsh``.
        model_sha256: SHA-256 of its model's ONNX file.
        card: its model's card.
        reading: how its scenes are cut and converted to uint8, as JSON.
        scenes, chips: how many it has.
        skipped: windows without a chip, for too few valid pixels.
        errors: scenes that could not be ingested.
        created: when it was created.
    """

    id: int
    name: str
    model_sha256: str
    card: ModelCard
    reading: dict[str, Any]
    scenes: int
    chips: int
    skipped: int
    errors: int
    created: datetime

    @property
    def bits(self) -> int:
        """K, the length of its codes."""
        return self.card.bits

    def summary(self) -> dict[str, Any]:
        """The archive as JSON."""
        return {
            "name": self.name,
            "model": self.card.name,
            "method": self.card.method,
            "model_sha256": self.model_sha256,
            "bits": self.bits,
            "reading": self.reading,
            "scenes": self.scenes,
            "chips": self.chips,
            "skipped": self.skipped,
            "errors": self.errors,
            "created": self.created.isoformat(),
        }


@dataclass(frozen=True)
class ModelRecord:
    """A model that the database stores.

    Attributes:
        sha256: SHA-256 of its ONNX file.
        name, method: of its card.
        bits: K, the length of its codes.
        bands: channels of the images it takes.
        size: of its ONNX file in bytes.
        created: when it was stored.
        archives: names of the archives that use it, or whose model's text tower it is.
    """

    sha256: str
    name: str
    method: str
    bits: int
    bands: int
    size: int
    created: datetime
    archives: list[str]


@dataclass(frozen=True)
class IngestError:
    """A scene that could not be ingested."""

    uri: str
    message: str
    hint: str | None
    at: datetime


def store_model(conn: psycopg.Connection, card: ModelCard, onnx: bytes) -> str:
    """Stores an ONNX file with its card, once; returns its SHA-256."""
    sha256 = hashlib.sha256(onnx).hexdigest()
    with sql_errors():
        conn.execute(
            """
            INSERT INTO dcsh.model (sha256, name, method, bits, bands, card, onnx)
            SELECT %s, %s, %s, %s, %s, %s, %b
            WHERE NOT EXISTS (SELECT FROM dcsh.model WHERE sha256 = %s)
            ON CONFLICT (sha256) DO NOTHING
            """,
            [
                sha256, card.name, card.method, card.bits, card.bands,
                Jsonb(card.to_json()), onnx, sha256,
            ],
        )  # fmt: skip
    return sha256


def has_model(conn: psycopg.Connection, sha256: str) -> bool:
    """Whether the file of that SHA-256 is stored."""
    return scalar(conn, bool, "SELECT EXISTS (SELECT FROM dcsh.model WHERE sha256 = %s)", [sha256])


def load_model(conn: psycopg.Connection, sha256: str) -> bytes:
    """The ONNX file of that SHA-256.

    Raises:
        NotFound: it is not stored here.
        ModelError: the stored file has another SHA-256.
    """
    with sql_errors():
        row = conn.execute(
            "SELECT onnx FROM dcsh.model WHERE sha256 = %s", [sha256], binary=True
        ).fetchone()
    if row is None:
        raise NotFound(f"no model {sha256} in the database")
    if hashlib.sha256(row[0]).hexdigest() != sha256:
        raise ModelError(
            f"model {sha256[:12]} in the database is damaged: its SHA-256 differs",
            hint="restore table dcsh.model from a backup",
        )
    return bytes(row[0])


def list_models(conn: psycopg.Connection) -> list[ModelRecord]:
    """All models of the database, by name, oldest first."""
    with sql_errors():
        rows = conn.execute(
            """
            SELECT m.sha256, m.name, m.method, m.bits, m.bands, octet_length(m.onnx), m.created,
                   array(SELECT a.name FROM dcsh.archive a JOIN dcsh.model u ON u.id = a.model_id
                         WHERE m.id = u.id OR m.sha256 = u.card->>'text' ORDER BY a.name)
            FROM dcsh.model m ORDER BY m.name, m.id
            """
        )
        return [ModelRecord(*row) for row in rows]


def create_archive(
    conn: psycopg.Connection, name: str, model_sha256: str, reading: dict[str, Any]
) -> ArchiveRecord:
    """Creates an archive for the codes of a stored model: ``dcsh.create_archive``.

    In one transaction, so that the record returned is never that of another session's archive of
    the same name.

    Raises:
        UsageError: the name is invalid or taken, or the model is not stored.
    """
    with sql_errors(), conn.transaction():
        conn.execute("SELECT dcsh.create_archive(%s, %s, %s)", [name, model_sha256, Jsonb(reading)])
        return get_archive(conn, name)


def planned_archive(
    name: str, model_sha256: str, card: ModelCard, reading: dict[str, Any]
) -> ArchiveRecord:
    """The record of an archive that does not exist yet: ``id`` is 0, which no archive has."""
    return ArchiveRecord(
        0, name, model_sha256, card, reading,
        scenes=0, chips=0, skipped=0, errors=0, created=datetime.now(timezone.utc),
    )  # fmt: skip


def open_or_create_archive(
    conn: psycopg.Connection, name: str, model_sha256: str, reading: dict[str, Any]
) -> tuple[ArchiveRecord, bool]:
    """The archive of that name, and whether this call created it; of several sessions one does.

    Raises:
        UsageError: the name is invalid, or the model is not stored.
        NotFound: another session created it and has dropped it since.
    """
    try:
        return create_archive(conn, name, model_sha256, reading), True
    except UsageError as error:
        if not isinstance(error.__cause__, sqlstate.DuplicateTable):
            raise
    return get_archive(conn, name), False


def get_archive(conn: psycopg.Connection, name: str) -> ArchiveRecord:
    """The archive of that name.

    Raises:
        NotFound: there is none; the hint suggests the nearest name.
    """
    found = list_archives(conn, name)
    if found:
        return found[0]
    names = [archive.name for archive in list_archives(conn)]
    near = difflib.get_close_matches(name.lower(), names, n=1)
    if near:
        hint = f"did you mean '{near[0]}'?"
    elif names:
        hint = "archives: " + ", ".join(names)
    else:
        hint = "there is no archive yet; create one with 'dcsh-pg ingest'"
    raise NotFound(f"no archive '{name}'", hint=hint)


def list_archives(conn: psycopg.Connection, name: str | None = None) -> list[ArchiveRecord]:
    """All archives, by name, or only the one that is named, if it exists."""
    with sql_errors():
        rows = conn.execute(
            """
            SELECT a.id, a.name, m.sha256, m.card, a.reading, s.scenes, s.chips, s.skipped,
                   (SELECT count(*) FROM dcsh.ingest_error e WHERE e.archive_id = a.id), a.created
            FROM dcsh.archive a JOIN dcsh.model m ON m.id = a.model_id,
                LATERAL (SELECT count(*) AS scenes, coalesce(sum(chips), 0) AS chips,
                                coalesce(sum(skipped), 0) AS skipped
                         FROM dcsh.scene WHERE archive_id = a.id) s
            WHERE %(name)s::text IS NULL OR a.name = %(name)s
            ORDER BY a.name
            """,
            {"name": name},
        ).fetchall()
    return [
        ArchiveRecord(
            id, name, sha256, ModelCard.from_json(card, source=f"archive '{name}'"), *rest
        )
        for id, name, sha256, card, *rest in rows
    ]


def drop_archive(conn: psycopg.Connection, name: str) -> None:
    """Drops an archive with its chips, scenes and errors: ``dcsh.drop_archive``.

    Raises:
        NotFound: there is none of that name.
    """
    get_archive(conn, name)
    with sql_errors():
        conn.execute("SELECT dcsh.drop_archive(%s)", [name])


def drop_empty_archive(conn: psycopg.Connection, archive: ArchiveRecord) -> bool:
    """Drops this very archive if it has no scene: ``dcsh_private.drop_empty_archive``.

    Returns False if it has one, or if another session has dropped it.
    """
    return scalar(conn, bool, "SELECT dcsh_private.drop_empty_archive(%s)", [archive.id])


def check_unchanged(conn: psycopg.Connection, archive: ArchiveRecord) -> None:
    """Checks that the name still belongs to this very archive, with this model.

    Raises:
        NotFound: it belongs to another archive, or to none, or the archive has another model.
    """
    with sql_errors():
        row = conn.execute(
            "SELECT a.id, m.sha256 FROM dcsh.archive a JOIN dcsh.model m ON m.id = a.model_id "
            "WHERE a.name = %s",
            [archive.name],
        ).fetchone()
    if row != (archive.id, archive.model_sha256):
        raise NotFound(
            f"archive '{archive.name}' was dropped, replaced or hashed again since it was opened",
            hint="open it again",
        )


def create_code_index(conn: psycopg.Connection, name: str) -> str:
    """Creates the exact index that searches of an archive use, unless it exists:
    ``dcsh.create_code_index``; returns its name.

    Raises:
        NotFound: no such archive.
        ServerError: the database has no access method ``hamming``.
    """
    get_archive(conn, name)
    return scalar(conn, str, "SELECT dcsh.create_code_index(%s)::text", [name])


def drop_code_index(conn: psycopg.Connection, name: str) -> bool:
    """Drops that index: ``dcsh.drop_code_index``; False where there was none.

    Raises:
        NotFound: no such archive.
    """
    get_archive(conn, name)
    return scalar(conn, bool, "SELECT dcsh.drop_code_index(%s)", [name])


def remove_scene(conn: psycopg.Connection, name: str, uri: str) -> int:
    """Removes a scene and its chips: ``dcsh.remove_scene``; returns the number of chips.

    Raises:
        NotFound: no such archive or scene.
    """
    return scalar(conn, int, "SELECT dcsh.remove_scene(%s, %s)", [name, uri])


def ingest_errors(conn: psycopg.Connection, name: str) -> list[IngestError]:
    """The scenes of an archive that could not be ingested, by URI.

    Raises:
        NotFound: there is no archive of that name.
    """
    archive = get_archive(conn, name)
    with sql_errors():
        rows = conn.execute(
            "SELECT uri, message, hint, at FROM dcsh.ingest_error WHERE archive_id = %s ORDER BY uri",
            [archive.id],
        )
        return [IngestError(*row) for row in rows]


def clear_ingest_errors(conn: psycopg.Connection, name: str) -> int:
    """Deletes the recorded errors of an archive; returns how many there were.

    Raises:
        NotFound: there is no archive of that name.
    """
    archive = get_archive(conn, name)
    with sql_errors():
        return conn.execute(
            "DELETE FROM dcsh.ingest_error WHERE archive_id = %s", [archive.id]
        ).rowcount


def extent(conn: psycopg.Connection, name: str) -> dict[str, Any]:
    """The bounds, times and properties of an archive, as JSON.

    ``bounds`` is west, south, east, north in degrees, or None; ``acquired`` the first and last
    time, or None; ``properties`` the names of the scenes' properties.

    Raises:
        NotFound: there is no archive of that name.
    """
    archive = get_archive(conn, name)
    bounds = one_row(conn, "SELECT * FROM dcsh.extent(%s)", [name])
    (properties,) = one_row(
        conn,
        "SELECT array(SELECT DISTINCT jsonb_object_keys(properties) AS key "
        "FROM dcsh.scene WHERE archive_id = %s ORDER BY key)",
        [archive.id],
    )
    return {
        "bounds": None if bounds[0] is None else list(bounds),
        "acquired": acquired(conn, archive),
        "properties": properties,
    }


def acquired(conn: psycopg.Connection, archive: ArchiveRecord) -> list[str] | None:
    """The first and last time of an archive's scenes in ISO 8601; None if they have none."""
    first, last = one_row(
        conn,
        "SELECT min(acquired), max(acquired) FROM dcsh.scene WHERE archive_id = %s",
        [archive.id],
    )
    return None if first is None else [first.isoformat(), last.isoformat()]


def scene_summaries(conn: psycopg.Connection, name: str) -> dict[str, Any]:
    """Property of the scenes -> its range or its values: ``dcsh_private.scene_summaries``.

    Raises:
        NotFound: no such archive.
    """
    return scalar(conn, dict, "SELECT dcsh_private.scene_summaries(%s)", [name])
