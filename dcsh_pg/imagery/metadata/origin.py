"""What is known of an image besides its own file, and the identity that follows from both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dcsh_pg.errors import InputError
from dcsh_pg.imagery.metadata import dates
from dcsh_pg.imagery.metadata.image import ImageRecord

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Origin:
    """What is known of an image besides its own file.

    Attributes:
        name: of the file below the source folder, with '/'.
        label: name of the sub-folder that it lies in, or None.
        record: what a sidecar, a STAC item or a table tells of it, or None.
        acquired: given for all images, or None.
        date_pattern: how file names tell the date, or None.
    """

    name: str
    label: str | None = None
    record: ImageRecord | None = None
    acquired: datetime | None = None
    date_pattern: dates.DatePattern | None = None

    def when(self, tags: Mapping[str, str]) -> datetime | None:
        """Time of acquisition, UTC: what was said explicitly first, then tags, then the name."""
        base = self.name.rpartition("/")[2]
        if self.record and self.record.acquired:
            return self.record.acquired
        return (
            self.acquired
            or (self.date_pattern.find(base) if self.date_pattern else None)
            or dates.from_tags(tags)
            or dates.from_name(base)
        )

    def properties(self) -> dict[str, Any]:
        """Properties of the scene: ``class`` from the sub-folder, and those of the record."""
        label = {"class": self.label} if self.label else {}
        return label | (self.record.properties if self.record else {})

    def identity(self, path: Path, *, tells_place: bool) -> str:
        """Content hash of a local image -> 64 hexadecimal characters.

        The SHA-256 of the file's bytes; of an image that does not tell its own place, also of
        its name and its record.

        Raises:
            InputError: the file cannot be read.
        """
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        if not tells_place:
            _update(digest, [self.name, self.record.digest() if self.record else ""])
        return digest.hexdigest()


def remote_identity(parts: Iterable[object]) -> str:
    """Content hash of an image that is no local file, from what its header tells."""
    digest = hashlib.sha256()
    _update(digest, map(repr, parts))
    return digest.hexdigest()


def _update(digest: hashlib._Hash, parts: Iterable[str]) -> None:
    for part in parts:
        digest.update(b"\0" + part.encode())
