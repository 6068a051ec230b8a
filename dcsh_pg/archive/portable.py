"""The file of an exported archive: a ZIP file whose members are stored as they are.

    manifest.json   what the archive is, and the SHA-256 of the other members
    model.onnx      its model
    text.onnx       the text tower of the model, where it has one
    scenes.ndjson   a scene a line
    chips.parquet   the chips with codes and footprints, GeoParquet

Members are not compressed by ZIP, so that GDAL and DuckDB read ``chips.parquet`` in place.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from dcsh_pg.errors import InputError, OutputError
from dcsh_pg.extras import requires
from dcsh_pg.files import digest_of

if TYPE_CHECKING:
    import pyarrow
    from _typeshed import ReadableBuffer, WriteableBuffer

FORMAT = 1
"""Version of the format; a higher one is refused."""

MANIFEST, MODEL, SCENES, CHIPS = "manifest.json", "model.onnx", "scenes.ndjson", "chips.parquet"
TEXT = "text.onnx"

MAX_DIRECTORY = 1 << 16
MAX_MANIFEST = 1 << 20


def chip_schema(bits: int) -> pyarrow.Schema:
    """Columns of ``chips.parquet``; ``scene`` is the number of a line of ``scenes.ndjson``.

    Raises:
        OutputError: the extra ``geo`` is not installed.
    """
    with requires("geo", "export or import an archive", OutputError):
        import pyarrow
    return pyarrow.schema(
        [
            ("id", pyarrow.int64()),
            ("scene", pyarrow.int32()),
            ("col_off", pyarrow.int32()),
            ("row_off", pyarrow.int32()),
            ("width", pyarrow.int32()),
            ("height", pyarrow.int32()),
            ("valid_fraction", pyarrow.float32()),
            ("code", pyarrow.binary(bits // 8)),
            ("acquired", pyarrow.timestamp("us", tz="UTC")),
            ("geometry", pyarrow.binary()),
        ]
    )


class Writer(io.RawIOBase):
    """A member that is written, with its SHA-256 and size."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        block = memoryview(data).cast("B")
        self._file.write(block)
        self.digest.update(block)
        self.size += len(block)
        return len(block)

    def tell(self) -> int:
        return self.size


@contextmanager
def member(container: zipfile.ZipFile, name: str, manifest: dict[str, Any]) -> Iterator[Writer]:
    """A new member to write; its SHA-256 is entered in ``manifest``."""
    with container.open(name, "w", force_zip64=True) as file:
        writer = Writer(file)
        yield writer
        manifest.setdefault("members", {})[name] = writer.digest.hexdigest()


class Part(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, file: IO[bytes], start: int, size: int):
        self._file, self._start, self.size = file, start, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, self.size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        size = max(0, min(len(view), self.size - self._at))
        self._file.seek(self._start + self._at)
        block = self._file.read(size)
        view[: len(block)] = block
        self._at += len(block)
        return len(block)


class _Limited(io.BufferedReader):
    """A file of which no block that is larger than a directory of few members is read."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise zipfile.BadZipFile("its directory is too long")
        return super().read(size)


def members(file: IO[bytes], name: str) -> dict[str, Part]:
    """The members of the container, none of them read yet.

    Raises:
        InputError: it is no such container.
    """
    try:
        limited = _Limited(io.FileIO(file.fileno(), closefd=False))
        size = limited.seek(0, io.SEEK_END)
        with zipfile.ZipFile(limited) as container:
            found = {info.filename: _part(file, info, size) for info in container.infolist()}
    except (
        zipfile.BadZipFile,
        ValueError,
        EOFError,
        OSError,
        struct.error,
        NotImplementedError,
    ) as error:
        raise InputError(
            f"{name} is not an exported archive: {error}",
            hint="make one with 'dcsh-pg archive export', or copy it again",
        ) from None
    missing = {MANIFEST, MODEL, SCENES, CHIPS} - set(found)
    if missing:
        raise InputError(
            f"{name} is not an exported archive: it has no {min(missing)}",
            hint="make one with 'dcsh-pg archive export'",
        )
    return found


def _part(file: IO[bytes], info: zipfile.ZipInfo, size: int) -> Part:
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise ValueError(f"{info.filename} is compressed or encrypted")
    file.seek(info.header_offset)
    signature, name_length, extra_length = struct.unpack("<4s22xHH", file.read(30))
    start = info.header_offset + 30 + name_length + extra_length
    if signature != b"PK\x03\x04" or start + info.file_size > size:
        raise ValueError(f"{info.filename} is cut off")
    return Part(file, start, info.file_size)


def sha256(part: Part) -> str:
    """The SHA-256 of a member, hexadecimal."""
    part.seek(0)
    digest = digest_of(part)
    part.seek(0)
    return digest.hexdigest()
