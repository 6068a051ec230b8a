"""What is known of an image besides its own file, and the identity of both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from dcsh_pg.errors import InputError
from dcsh_pg.files import digest_of
from dcsh_pg.imagery.georeference.affine import AffineGeoreference
from dcsh_pg.imagery.georeference.whole import WholeFootprint
from dcsh_pg.imagery.metadata import dates
from dcsh_pg.imagery.metadata.image import ImageMetadata
from dcsh_pg.imagery.metadata.options import SceneOptions


@dataclass(frozen=True)
class Origin:
    """What is known of an image besides its own file.

    Attributes:
        name: of the file below the source folder, with '/'.
        label: name of its sub-folder, or None.
        metadata: what a sidecar, a STAC item or a table says of it, or None.
        options: what the run says of all its scenes.
    """

    name: str
    label: str | None = None
    metadata: ImageMetadata | None = None
    options: SceneOptions = field(default_factory=SceneOptions)

    def when(self, tags: Mapping[str, str]) -> datetime | None:
        """Acquisition time, UTC: from the metadata, the options, the tags, or the file name."""
        file_name = self.name.rpartition("/")[2]
        return (
            (self.metadata and self.metadata.acquired)
            or self.options.date_of(file_name)
            or dates.from_tags(tags)
            or dates.from_name(file_name)
        )

    def georeference(
        self, width: int, height: int, *, uri: str
    ) -> AffineGeoreference | WholeFootprint | None:
        """Where the metadata place an image of ``width`` x ``height`` pixels, or None."""
        if self.metadata is None:
            return None
        return self.metadata.georeference(width, height, uri=uri)

    def properties(self) -> dict[str, Any]:
        """Properties of the scene: ``class`` from the sub-folder, and those of the metadata."""
        label = {"class": self.label} if self.label else {}
        return label | (self.metadata.properties if self.metadata else {})

    def identity(self, path: Path, *, is_georeferenced: bool) -> str:
        """Content hash of a local image -> 64 hexadecimal characters.

        The SHA-256 of the file's bytes; of an image that is not georeferenced itself, also of its
        name and its metadata.

        Raises:
            InputError: the file cannot be read.
        """
        try:
            with path.open("rb") as file:
                digest = digest_of(file)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        if not is_georeferenced:
            _update(digest, [self.name, self.metadata.digest() if self.metadata else ""])
        return digest.hexdigest()


def remote_identity(parts: Iterable[object]) -> str:
    """Content hash of an image that is not a local file, from parts of its header."""
    digest = hashlib.sha256()
    _update(digest, map(repr, parts))
    return digest.hexdigest()


def _update(digest: hashlib._Hash, parts: Iterable[str]) -> None:
    for part in parts:
        digest.update(b"\0" + part.encode())
