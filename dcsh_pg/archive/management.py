"""An archive over the years: its scenes, their addresses, its name."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dcsh_pg.archive.export_file import export_archive
from dcsh_pg.archive.import_file import import_archive
from dcsh_pg.archive.opened import OpenArchive
from dcsh_pg.archive.rehashing import RehashReport, rehash_archive
from dcsh_pg.database.archives import registry, upkeep
from dcsh_pg.database.search import scenes
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.scenes import StoredScene
from dcsh_pg.database.server import schema
from dcsh_pg.database.server.connect import connect
from dcsh_pg.hasher import Hasher
from dcsh_pg.ingest import Pipeline
from dcsh_pg.progress import SILENT, Progress

if TYPE_CHECKING:
    from typing_extensions import Self


class ManagedArchive(OpenArchive):
    """What changes an archive besides ingestion."""

    @classmethod
    def list(
        cls, *, dsn: str | None = None, pg_bin: Path | None = None
    ) -> builtins.list[registry.ArchiveRecord]:
        """The archives of a database, by name.

        Raises:
            ServerError, SchemaError: as :meth:`open`.
        """
        with connect(dsn, pg_bin=pg_bin) as conn:
            schema.require_current(conn)
            return registry.list_archives(conn)

    @classmethod
    def import_(
        cls,
        path: Path | str,
        name: str | None = None,
        *,
        dsn: str | None = None,
        pg_bin: Path | None = None,
        device: str = "auto",
        progress: Progress = SILENT,
    ) -> Self:
        """Creates an archive from a file of :meth:`export`, and opens it.

        Args:
            name: of the new archive; None takes that of the file.

        Raises:
            InputError, ModelError, UsageError, ServerError, OutputError: as
                :func:`dcsh_pg.archive.import_file.import_archive`.
        """
        conn = connect(dsn, pg_bin=pg_bin)
        schema.require_current(conn)
        return cls(conn, import_archive(conn, path, name, progress=progress), device=device)

    def export(self, path: Path | str, *, progress: Progress = SILENT) -> int:
        """Writes the archive with its scenes and model into one file; returns the number of chips.

        Raises:
            OutputError: the file cannot be written, or the extra ``geo`` is not installed.
        """
        return export_archive(self.connection, self.name, path, progress=progress)

    def drop(self) -> None:
        """Drops the archive with its chips, scenes and errors; its model stays in the database.

        Raises:
            NotFound: it was dropped or replaced since it was opened.
            ServerError: this role does not own it.
        """
        registry.check_unchanged(self.connection, self.record)
        registry.drop_archive(self.connection, self.name)

    def rename(self, new_name: str) -> None:
        """Renames the archive with its table and layer; privileges and dependent views stay.

        Raises:
            UsageError: the new name is invalid or taken.
            ServerError: this role does not own the archive.
        """
        upkeep.rename_archive(self.connection, self.name, new_name)
        self.record = replace(self.record, name=new_name)

    def scenes(
        self, *, filter: Filter = Filter(), gone: bool = False, limit: int | None = None
    ) -> builtins.list[StoredScene]:
        """The scenes that pass a filter, by id.

        Args:
            filter: an area selects the scenes with a chip in it.
            gone: only those whose file no longer exists; URLs and GDAL names are not checked.
            limit: at most this many.

        Raises:
            UsageError: the filter cannot be applied, or ``gone`` and none of several files exists, so
                a disk may be missing.
        """
        found = scenes.scenes(self.connection, self.name, filter, limit=None if gone else limit)
        return scenes.gone_from_disk(self.name, found)[:limit] if gone else found

    def remove_scenes(
        self,
        addresses: Sequence[str] = (),
        *,
        filter: Filter = Filter(),
        gone: bool = False,
    ) -> tuple[int, int]:
        """Removes the scenes that meet every condition given, with their chips, in one transaction.

        Args:
            addresses: their paths, URLs or GDAL names, as stored.
            filter: as of :meth:`scenes`.
            gone: as of :meth:`scenes`.

        Returns:
            The number of scenes and of chips removed.

        Raises:
            NotFound: no scene has one of the addresses.
            UsageError: no condition is given, or as :meth:`scenes`.
            ServerError: this role may not write.
        """
        found = scenes.selected(self.connection, self.name, addresses, filter, gone=gone)
        return upkeep.remove_scenes(self.connection, self.name, [scene.id for scene in found])

    def relocate(self, old: str, new: str) -> int:
        """Replaces the folder ``old`` by ``new`` in the addresses of scenes, in one transaction.

        Files are not touched.  The rest is as of
        :func:`dcsh_pg.database.archives.upkeep.relocate`.

        Raises:
            NotFound: no address lies below ``old``.
            UsageError: another scene has one of the new addresses.
            ServerError: this role may not write.
        """
        return upkeep.relocate(self.connection, self.name, old, new)

    def rehash(
        self,
        model: Path | str,
        *,
        new_name: str | None = None,
        swap: bool = False,
        pipeline: Pipeline | None = None,
    ) -> RehashReport:
        """Hashes the stored windows with another model; searches continue meanwhile.

        Scenes are opened as ``options`` says.  The rest is as of
        :func:`dcsh_pg.archive.rehashing.rehash_archive`.

        Raises:
            ModelError, InputError: the model cannot be used.
            UsageError: the archive has that model, or is being hashed again with another one.
            ServerError: this role does not own the archive.
        """
        report = rehash_archive(
            self.connection, self.name, Hasher(model, device=self.device), model,
            new_name=new_name, swap=swap, options=self.options, pipeline=pipeline,
        )  # fmt: skip
        if report.is_swapped and new_name is None:
            self.record = registry.get_archive(self.connection, self.name)
            self.__dict__.pop("hasher", None)
        return report
