"""An exported archive, checked and stored in one transaction.

Nothing in the file is trusted: digests show damage, and every value is checked before it is stored.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import psycopg
import shapely

from dcsh_pg import strict_json
from dcsh_pg.archive.portable import (
    CHIPS,
    FORMAT,
    MANIFEST,
    MAX_MANIFEST,
    MODEL,
    SCENES,
    TEXT,
    Part,
    chip_schema,
    members,
    sha256,
)
from dcsh_pg.archive.texts import store_tower
from dcsh_pg.card import ModelCard
from dcsh_pg.database.archives import registry, spatial
from dcsh_pg.database.archives.copy_rows import (
    COPY_HEADER,
    COPY_TRAILER,
    SCENE_COLUMNS,
    SceneRow,
    chip_rows,
    scene_row,
)
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import scalar
from dcsh_pg.errors import DcshError, InputError, UsageError
from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery.address import address_error
from dcsh_pg.imagery.reading import PoolingReading, Reading
from dcsh_pg.model_check import MAX_BYTES
from dcsh_pg.progress import SILENT, Progress

MAX_LINE = 16 << 20
"""Bytes of a scene."""
MAX_FOOTER = 64 << 20
"""Bytes of the directory of a Parquet file."""
MAX_GROUP = 64 << 20
"""Bytes of a group of rows."""
MAX_CORNERS = 1_000
"""Of a footprint."""
_OPTIONAL = ("acquired", "geometry")
_FIRST_TIME, _END_OF_TIME = np.array(["0001-01-01", "9999-12-31"], "datetime64[us]")
_DECODED_ROWS = 1_024
_STORED_ROWS = 16_384
_CODECS = {"UNCOMPRESSED", "SNAPPY"}
_ID = 2**62


@dataclass(frozen=True)
class _Scene:
    uri: str
    collection: str | None
    item_id: str | None
    acquired: datetime | None
    proj_code: str | None
    content_hash: str
    properties: dict[str, Any]


def import_archive(
    conn: psycopg.Connection,
    path: Path | str,
    name: str | None = None,
    *,
    progress: Progress = SILENT,
) -> registry.ArchiveRecord:
    """Creates an archive from a file of :func:`dcsh_pg.archive.export_file.export_archive`.

    In one transaction; other loads wait for it.  Chip ids are those of the file.

    Args:
        name: of the new archive; None takes that of the file.

    Raises:
        InputError: the file cannot be read, is damaged, or has content that cannot be stored.
        ModelError: its model is refused.
        UsageError: the name is invalid or taken.
        ServerError: this role may not create archives.
        OutputError: the extra ``geo`` is not installed.
    """
    try:
        with open(path, "rb") as file:
            return _import(conn, file, str(path), name, progress)
    except (DcshError, psycopg.Error):
        raise
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}",
            hint="check the spelling of the path",
        ) from None
    except Exception as error:
        # A damaged Parquet file makes pyarrow raise many classes.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _damaged(str(path), reason) from None


def _damaged(name: str, reason: str) -> InputError:
    return InputError(f"{name} is damaged: {reason[:300]}", hint="copy or export it again")


def _import(
    conn: psycopg.Connection, file: IO[bytes], path: str, name: str | None, progress: Progress
) -> registry.ArchiveRecord:
    parts = members(file, path)
    manifest = _manifest(parts[MANIFEST], path)
    for one in {MODEL, SCENES, CHIPS, TEXT} & parts.keys():
        if sha256(parts[one]) != manifest["members"].get(one):
            raise _damaged(path, f"the SHA-256 of {one} is not that of the manifest")
    for one in {MODEL, TEXT} & parts.keys():
        if parts[one].size > MAX_BYTES:
            raise _damaged(path, f"{one} is too large")
    content = parts[MODEL].read()
    hasher = Hasher(content, device="cpu")
    tower = parts[TEXT].read() if TEXT in parts else None
    if tower is not None and hashlib.sha256(tower).hexdigest() != hasher.card.text:
        raise _damaged(path, f"{TEXT} is not the text tower of its model")
    reading = _reading(manifest["reading"], hasher.card)
    name = name or str(manifest["name"])
    progress.start("importing chips", total=manifest["chips"])
    try:
        with sql_errors(), conn.transaction():
            model = registry.store_model(conn, hasher.card, content)
            if tower is not None:
                store_tower(conn, tower, hasher.card)
            registry.create_archive(conn, name, model, reading.to_json())
            conn.execute("SELECT dcsh.begin_load()")
            counts = _copy_scenes(conn, parts[SCENES], manifest["scenes"])
            before = scalar(conn, int, "SELECT dcsh_private.import_scenes(%s)", [name])
            chips = _Chips(conn, name, hasher.card.bits, before, counts, progress)
            chips.copy(parts[CHIPS])
            last = chips.last_id
            if not last <= manifest["last_chip_id"] < _ID:
                raise ValueError("its last chip id is out of range")
            conn.execute(
                "SELECT dcsh_private.end_import(%s, %s, %s::integer[], %s)",
                [name, before, counts, manifest["last_chip_id"]],
            )
    except (UsageError, DcshError) as error:
        if isinstance(
            error.__cause__, psycopg.DataError | psycopg.IntegrityError
        ) and not isinstance(error.__cause__, psycopg.errors.DuplicateTable):
            raise _damaged(path, error.message) from error
        raise
    with sql_errors():
        conn.execute("SELECT dcsh.create_code_index(%s) WHERE dcsh_private.has_hamming()", [name])
        conn.execute(f'ANALYZE dcsh."{name}"')
    return registry.get_archive(conn, name)


def _manifest(part: Part, path: str) -> dict[str, Any]:
    if part.size > MAX_MANIFEST:
        raise _damaged(path, f"{MANIFEST} is too long")
    manifest = strict_json.loads_checked(part.read().decode())
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int:
        raise _damaged(path, f"{MANIFEST} has no format")
    if manifest["format"] > FORMAT:
        raise InputError(
            f"{path} was made by a newer dcsh-pg (format {manifest['format']})",
            hint="upgrade dcsh-pg: pip install --upgrade dcsh-pg",
        )
    types = {
        "members": dict, "reading": dict, "name": str, "scenes": int, "chips": int,
        "last_chip_id": int,
    }  # fmt: skip
    for key, type_ in types.items():
        if type(manifest.get(key)) is not type_:
            raise _damaged(path, f"{MANIFEST} has no valid {key!r}")
    return manifest


def _reading(fields: dict[str, Any], card: ModelCard) -> Reading:
    """A reading of which every field has its type.

    Raises:
        ValueError: a field is unknown or of another type.
        UsageError: a value is out of range.
    """
    types: dict[str, tuple[type, ...]] = {
        "chip_size": (int, type(None)), "stride": (int, type(None)), "edge": (str,),
        "bands": (list, type(None)), "scale": (list, str, type(None)), "min_valid": (int, float),
        "anchor": (bool,), "raw_values": (bool,), "by_colour": (bool,), "dtype": (str,),
        "nodata": (int, float), "preset": (str,), "resolution": (int, float), "multiscale": (list,),
        "mask": (dict,),
    }  # fmt: skip
    for key, value in fields.items():
        numbers = value if isinstance(value, list) else []
        kinds = (int, str) if key == "bands" else (int, float)
        is_mask = key != "mask" or _is_mask(value)
        if (
            type(value) not in types.get(key, ())
            or not is_mask
            or any(type(n) not in kinds for n in numbers)
        ):
            raise ValueError(f"its reading has no valid {key!r}")
    reading = (PoolingReading if card.takes_vectors else Reading).from_json(fields)
    reading.check_bands(card.bands)
    reading.check_dtype(card.dtype)
    return reading


def _is_mask(value: Any) -> bool:
    """Whether each field of a mask has its type."""
    if not isinstance(value, dict) or not value.keys() <= {"band", "values", "bits"}:
        return False
    numbers = [*value.get("values", ()), *value.get("bits", ())]
    return type(value.get("band")) in (int, str) and all(type(n) is int for n in numbers)


def _copy_scenes(conn: psycopg.Connection, part: Part, expected: int) -> list[int]:
    """Copies the scenes into the temporary table; returns the number of chips of each."""
    counts: list[int] = []
    with conn.cursor().copy(f"COPY pg_temp.dcsh_batch_scene ({SCENE_COLUMNS}) FROM STDIN") as copy:
        for chips, row in _scenes(part):
            counts.append(chips)
            copy.write_row(row)
    if len(counts) != expected:
        raise ValueError(f"it has {len(counts)} scenes, not {expected}")
    return counts


def _scenes(part: Part) -> Iterator[tuple[int, SceneRow]]:
    file = io.BufferedReader(part)
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise ValueError(f"scene {number} is too long")
        fields = strict_json.loads_checked(line.decode())
        try:
            yield fields["chips"], _scene_row(number, fields)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"scene {number} is not valid ({error})") from None


def _scene_row(number: int, fields: dict[str, Any]) -> SceneRow:
    for key in ("collection", "item_id", "proj_code", "acquired"):
        if type(fields[key]) not in (str, type(None)):
            raise ValueError(key)
    if type(fields["uri"]) is not str or not fields["uri"] or address_error(fields["uri"]):
        raise ValueError("uri")
    if type(fields["properties"]) is not dict:
        raise ValueError("properties")
    if not re.fullmatch(r"[0-9a-f]{64}", fields["content_hash"]):
        raise ValueError("content_hash")
    for key in ("chips", "skipped"):
        if type(fields[key]) is not int or not 0 <= fields[key] < 2**31:
            raise ValueError(key)
    acquired = None
    if fields["acquired"] is not None:
        acquired = datetime.fromisoformat(fields["acquired"]).astimezone(timezone.utc)
    texts = {key: fields[key] for key in ("uri", "collection", "item_id", "proj_code")}
    scene = _Scene(
        **texts,
        acquired=acquired,
        content_hash=fields["content_hash"],
        properties=fields["properties"],
    )
    return scene_row(number, scene, fields["skipped"])


class _Chips:
    """Copies chips into the new archive, a bounded number at a time.

    Attributes:
        last_id: the largest id so far.
    """

    def __init__(
        self,
        conn: psycopg.Connection,
        name: str,
        bits: int,
        before: int,
        counts: Sequence[int],
        progress: Progress,
    ):
        self._conn, self._name, self._bits, self._before = conn, name, bits, before
        self._expected = np.array([0, *counts], np.int64)
        self._found = np.zeros_like(self._expected)
        self._progress = progress
        self._layer = spatial.layer_of(conn)
        self.last_id = 0

    def copy(self, part: Part) -> None:
        """Copies all chips.

        Raises:
            ValueError: a value is not one of an exported archive.
        """
        import pyarrow

        waiting: list[pyarrow.RecordBatch] = []
        for batch in _batches(part, self._bits):
            waiting.append(batch)
            if sum(map(len, waiting)) >= _STORED_ROWS:
                self._store(pyarrow.Table.from_batches(waiting))
                waiting = []
        if waiting:
            self._store(pyarrow.Table.from_batches(waiting))
        if not np.array_equal(self._found, self._expected):
            raise ValueError("its scenes do not have as many chips as they say")

    def _store(self, table: Any) -> None:
        columns = {name: table[name].to_numpy() for name in table.column_names[:7]}
        ids, scene = columns["id"], columns["scene"]
        if np.any(np.diff(ids, prepend=self.last_id) < 1) or ids[-1] >= _ID:
            raise ValueError("its chip ids do not ascend")
        if scene.min() < 1 or scene.max() >= len(self._expected):
            raise ValueError("a chip has no scene")
        windows = np.stack([columns[c] for c in ("col_off", "row_off", "width", "height")], axis=1)
        valid = columns["valid_fraction"]
        if windows[:, 2:].min() < 1 or not np.all((valid >= 0) & (valid <= 1)):
            raise ValueError("a chip has an empty window or an invalid fraction")
        codes = np.frombuffer(b"".join(table["code"].to_pylist()), np.uint8).reshape(len(ids), -1)
        acquired = table["acquired"].to_numpy().astype("datetime64[us]")
        if np.any((acquired < _FIRST_TIME) | (acquired >= _END_OF_TIME)):
            raise ValueError("a chip has a time out of range")
        footprints = _footprints(table["geometry"].to_pylist())
        self._found += np.bincount(scene, minlength=len(self._found))
        self.last_id = int(ids[-1])
        with self._conn.cursor().copy(
            "COPY pg_temp.dcsh_batch_chip FROM STDIN (FORMAT binary)"
        ) as copy:
            copy.write(COPY_HEADER)
            for first, end in _runs(scene, shapely.is_missing(footprints)):
                rows = slice(first, end)
                here = None if footprints[first] is None else list(footprints[rows])
                for block in chip_rows(
                    first,
                    int(scene[first]),
                    codes[rows],
                    windows[rows],
                    here,
                    valid[rows],
                    self._layer,
                    acquired[rows],
                ):
                    copy.write(block)
            copy.write(COPY_TRAILER)
        self._conn.execute(
            "SELECT dcsh_private.import_chips(%s, %s, %s::bigint[])",
            [self._name, self._before, ids.tolist()],
        )
        self._progress.advance(len(ids))


def _batches(part: Part, bits: int) -> Iterator[Any]:
    """The rows of the Parquet file, whose directory is checked before pages are read."""
    import pyarrow
    from pyarrow import parquet

    part.seek(-8, io.SEEK_END)
    if int.from_bytes(part.read(4), "little") > MAX_FOOTER:
        raise ValueError(f"the directory of {CHIPS} is too long")
    part.seek(0)
    file = parquet.ParquetFile(
        pyarrow.PythonFile(part, mode="r"),
        read_dictionary=["geometry"],
        pre_buffer=False,
        thrift_string_size_limit=MAX_FOOTER,
        thrift_container_size_limit=10_000_000,
    )
    schema = chip_schema(bits)
    found = {field.name: field.type for field in file.schema_arrow}
    geometry = found.get("geometry")
    if geometry is not None and pyarrow.types.is_dictionary(geometry):
        found["geometry"] = geometry.value_type
    if list(found.items()) != [(field.name, field.type) for field in schema]:
        raise ValueError(f"{CHIPS} has other columns than an archive of {bits} bits")
    for n in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(n)
        columns = [group.column(i) for i in range(group.num_columns)]
        if {column.compression for column in columns} - _CODECS:
            raise ValueError(f"{CHIPS} is compressed by another method than Snappy")
        size = sum(max(c.total_compressed_size, c.total_uncompressed_size) for c in columns)
        if not 0 <= size <= MAX_GROUP:
            raise ValueError(f"a group of rows of {CHIPS} is too large")
    for batch in file.iter_batches(batch_size=_DECODED_ROWS, use_threads=False):
        if any(batch[name].null_count for name in schema.names if name not in _OPTIONAL):
            raise ValueError("a chip lacks a value")
        if len(batch):
            yield batch


def _footprints(wkb: list[bytes | None]) -> np.ndarray:
    """Footprints, object (N,), polygons without holes or None.

    Raises:
        ValueError: one is something else, or lies outside of longitude and latitude.
    """
    footprints = shapely.from_wkb(np.array(wkb, object))
    there = footprints[~shapely.is_missing(footprints)]
    bounds = shapely.bounds(there)
    is_polygon = shapely.get_type_id(there) == shapely.GeometryType.POLYGON
    if (
        not np.all(is_polygon & ~shapely.is_empty(there))
        or np.any(shapely.get_num_interior_rings(there))
        or np.any(shapely.get_num_coordinates(there) > MAX_CORNERS)
        or not np.all(np.abs(bounds) <= (360, 180, 360, 180))
    ):
        raise ValueError("a footprint is not a polygon in longitude and latitude")
    return footprints


def _runs(*columns: np.ndarray) -> Iterator[tuple[int, int]]:
    """Bounds of the runs of rows in which all columns are constant."""
    changes = np.zeros(len(columns[0]) - 1, bool)
    for column in columns:
        changes |= column[1:] != column[:-1]
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), len(columns[0])]
    return pairwise(edges)
