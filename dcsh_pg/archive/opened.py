"""An archive that is open: its connection, its model, its way of reading."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dcsh_pg.archive.display import displayed
from dcsh_pg.archive.texts import store_text, tower_file
from dcsh_pg.card import ModelCard
from dcsh_pg.database.archives import registry
from dcsh_pg.database.server import connection, schema
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import InputError, ModelError, NotFound, UsageError
from dcsh_pg.files import replacing
from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.metadata.origin import Origin
from dcsh_pg.imagery.pixels.open import open_scene
from dcsh_pg.imagery.presets import PRESETS, preset_fields
from dcsh_pg.imagery.reading import Mask, PoolingReading, Reading
from dcsh_pg.imagery.sources.files import are_plain_pictures
from dcsh_pg.text import TextHasher

if TYPE_CHECKING:
    import psycopg
    from typing_extensions import Self

    from dcsh_pg.database.search.hits import Hit


@dataclass(frozen=True)
class _Deferred:
    """What a deferred archive will be created from.

    Attributes:
        model: the model's ONNX file.
        content: of the file.
        asked: the fields of its reading that were given.
    """

    model: Path
    content: bytes
    asked: dict[str, Any]


class OpenArchive:
    """Connection, model and reading of an archive; the base of :class:`dcsh_pg.Archive`."""

    def __init__(
        self,
        connection: psycopg.Connection,
        record: registry.ArchiveRecord,
        *,
        device: str = "auto",
    ):
        self._connection = connection
        self.record = record
        self.is_new = False
        self._deferred: _Deferred | None = None
        self.options = SceneOptions()
        self.device = device

    @property
    def connection(self) -> psycopg.Connection:
        """The psycopg connection; a new one when the server has closed the last."""
        if connection.is_lost(self._connection):
            self._connection = connection.reopen(self._connection)
        return self._connection

    def close(self) -> None:
        """Closes the connection; ``with Archive.open(...) as archive`` does it at the end."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        about = f"{self.record.bits} bits, model {self.record.card.name}"
        return f"<{type(self).__name__} '{self.name}': {about}>"

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def reading(self) -> Reading:
        return _reading_kind(self.record.card).from_json(self.record.reading)

    @classmethod
    def open(
        cls,
        name: str,
        *,
        dsn: str | None = None,
        pg_bin: Path | None = None,
        device: str = "auto",
    ) -> Self:
        """Opens an archive that exists.

        Raises:
            ServerError: the server cannot be reached or lacks pgvector.
            SchemaError: the database has no dcsh-pg schema, or that of another version.
            NotFound: no archive of that name.
        """
        conn = connect(dsn, pg_bin=pg_bin)
        schema.require_current(conn)
        return cls(conn, registry.get_archive(conn, name), device=device)

    @classmethod
    def create(
        cls,
        name: str,
        model: str | Path | None = None,
        *,
        sources: Sequence[str] = (),
        chip_size: int | None = None,
        stride: int | None = None,
        edge: str | None = None,
        bands: tuple[int | str, ...] | None = None,
        scale: tuple[float, float] | str | None = None,
        min_valid: float | None = None,
        anchor: bool | None = None,
        raw_values: bool | None = None,
        nodata: float | None = None,
        preset: str | None = None,
        mask: Mask | str | None = None,
        resolution: float | None = None,
        multiscale: tuple[int, ...] | None = None,
        at_once: bool = True,
        dsn: str | None = None,
        pg_bin: Path | None = None,
        device: str = "auto",
    ) -> Self:
        """Opens the archive, or creates it.

        An archive has one model and one reading: what is given for one that exists must be what it
        was made with.  What is None is taken from the archive, or from the model for a new one.
        A new archive for ``sources`` that are plain pictures makes each one chip, unless
        ``chip_size`` is given.  Bands that the model was trained on by name are read by name.  ``mask`` is a
        :class:`dcsh_pg.imagery.reading.Mask`, or 'none' for none where the preset has one.  An archive whose scenes all failed is created again when it is
        opened with another model or reading.

        With ``at_once=False`` a new archive is created by the first ingestion that finds scenes, so that
        an unusable source leaves no archive behind.

        Raises:
            ModelError: the archive holds codes of another model.
            UsageError: the archive was made with another reading, or is new and no model is given,
                or the reading does not fit the model.
        """
        conn = connect(dsn, pg_bin=pg_bin)
        schema.require_current(conn)
        hasher = Hasher(model, device=device) if model is not None else None
        asked: dict[str, Any] = {
            key: value
            for key, value in {
                "chip_size": chip_size,
                "stride": stride,
                "edge": edge,
                "bands": bands,
                "scale": scale,
                "min_valid": min_valid,
                "anchor": anchor,
                "raw_values": raw_values,
                "nodata": nodata,
                "preset": preset,
                "mask": mask if isinstance(mask, Mask) else None,
                "resolution": resolution,
                "multiscale": multiscale,
            }.items()
            if value is not None
        }
        with contextlib.suppress(NotFound):
            archive = cls(conn, registry.get_archive(conn, name), device=device)
            try:
                archive._check_same(hasher, asked)
                if model is not None:
                    store_text(conn, model, archive.record.card)
                return archive
            except (ModelError, UsageError):
                all_failed = archive.record.errors and not archive.record.scenes
                if hasher is None or not all_failed:
                    raise
                if not registry.drop_empty_archive(conn, archive.record):
                    raise
        if hasher is None or model is None:
            raise UsageError(
                f"archive '{name}' does not exist yet and no model is given",
                hint="name the model to make it with: --model FILE.onnx",
            )
        if hasher.card.takes_text:
            raise ModelError(
                f"{model} is a text tower, which hashes no imagery",
                hint="give the model that it lies beside, without .text",
            )
        chosen = _from_model(hasher.card, asked) | asked
        if mask == "none":
            chosen["mask"] = None
        if chip_size is None and not (sources and are_plain_pictures(sources)):
            chosen["chip_size"] = hasher.card.chip_size
        if anchor:
            chosen.setdefault("edge", "drop")
        reading = _reading_kind(hasher.card)(**chosen, dtype=hasher.card.dtype)
        reading.check_bands(hasher.card.bands)
        planned = registry.planned_archive(name, hasher.sha256, hasher.card, reading.to_json())
        archive = cls(conn, planned, device=device)
        archive.__dict__["hasher"] = hasher
        archive._deferred = _Deferred(Path(model), Path(model).read_bytes(), asked)
        if at_once:
            archive.make()
        return archive

    def make(self) -> None:
        """Creates the archive that :meth:`create` has deferred, or opens what another session created."""
        if self._deferred is None:
            return
        content, asked = self._deferred.content, self._deferred.asked
        store_text(self.connection, self._deferred.model, self.hasher.card)
        sha256 = registry.store_model(self.connection, self.hasher.card, content)
        self.record, self.is_new = registry.open_or_create_archive(
            self.connection, self.record.name, sha256, self.record.reading
        )
        self._deferred = None
        if not self.is_new:
            self._check_same(self.hasher, asked)

    def _check_same(self, hasher: Hasher | None, asked: dict[str, Any]) -> None:
        name = self.record.name
        if hasher is not None and hasher.sha256 != self.record.model_sha256:
            raise ModelError(
                f"archive '{name}' holds codes of model {self.record.card.name} "
                f"({self.record.model_sha256[:12]}), not of {hasher.card.name} "
                f"({hasher.sha256[:12]})",
                hint="codes of two models cannot be compared: leave out --model to use the "
                "archive's own, or ingest into a new archive",
            )
        for key, value in asked.items():
            if value != getattr(self.reading, key):
                option = "--" + key.replace("_", "-")
                made = getattr(self.reading, key)
                is_bare = made is None or made is False
                raise UsageError(
                    f"archive '{name}' was made with{'out' if is_bare else ''} {option}"
                    f"{'' if is_bare else f' {_shown(made)}'}, not {_shown(value)}",
                    hint=f"leave out {option}, or ingest into a new archive",
                )

    # -- model -------------------------------------------------------------------------------

    @cached_property
    def hasher(self) -> Hasher:
        """The archive's model, from the database, checked by its SHA-256."""
        return Hasher(self.model_file(), device=self.device)

    def model_file(self) -> Path:
        """The model's ONNX file in the user's cache, fetched from the database when missing."""
        return self._cached(
            self.record.model_sha256,
            lambda: registry.load_model(self.connection, self.record.model_sha256),
        )

    @cached_property
    def text_hasher(self) -> TextHasher:
        """The text tower of the archive's model, from the database.

        Raises:
            ModelError: the model has none, or it is refused.
            NotFound: it is not stored.
            UsageError: the extra ``text`` is not installed.
        """
        card = self.record.card
        return TextHasher(self._cached(card.text, lambda: tower_file(self.connection, card)))

    @staticmethod
    def _cached(sha256: str, load: Callable[[], bytes]) -> Path:
        """The file of that SHA-256 in the user's cache, loaded when missing."""
        import platformdirs

        file = Path(platformdirs.user_cache_dir("dcsh-pg")) / "models" / f"{sha256}.onnx"
        if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == sha256:
            return file
        content = load()
        with replacing(file) as part:
            part.write_bytes(content)
        return file

    def read_chip(self, hit: Hit) -> np.ndarray:
        """The picture of a hit for people, uint8 (H, W, C), read again from its scene.

        Of a model of 8 bits these are the pixels that were hashed; see :func:`dcsh_pg.archive.display.displayed`
        for others.

        Raises:
            InputError: as :meth:`read_pixels`.
        """
        return displayed(self.read_pixels(hit), self.record.card)

    def read_pixels(self, hit: Hit) -> np.ndarray:
        """The pixels of a hit as they were hashed, (H, W, C) of the model's dtype, read again from its scene.

        Raises:
            InputError: the scene's file is no longer there or cannot be read, or has embeddings.
        """
        if self.record.card.takes_vectors:
            raise InputError(f"{hit.uri} has embeddings and no pixels")
        scene = open_scene(
            hit.uri,
            self.reading,
            bands=self.record.card.bands,
            origin=Origin(
                hit.uri.rpartition("/")[2], options=replace(self.options, georeference=False)
            ),
        )
        with scene:
            pixels: np.ndarray = scene.read(np.array([hit.window])).pixels[0]
            return pixels


def _reading_kind(card: ModelCard) -> type[Reading]:
    return PoolingReading if card.takes_vectors else Reading


def _from_model(card: ModelCard, asked: dict[str, Any]) -> dict[str, Any]:
    """The fields of a reading that follow from a preset, or from the bands that a model was trained on."""
    trained = card.training.get("preset")
    preset = asked.get("preset") or (trained if trained in list(PRESETS) else None)
    is_used = preset and ("preset" in asked or "bands" not in asked)
    fields = preset_fields(preset) if preset and is_used else {}
    return fields | ({"bands": card.band_names} if card.band_names else {})


def _shown(value: object) -> str:
    if value is True:
        return "with it"
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return str(value)
