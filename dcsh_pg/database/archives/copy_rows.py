"""Scenes and chips as rows of ``dcsh.begin_load``'s temporary tables; chips in binary COPY format."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from shapely.geometry import Polygon

from dcsh_pg.database.archives import spatial
from dcsh_pg.errors import InputError, storable
from dcsh_pg.sql import Layer

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"

MESSAGE_URI = 300
"""The most characters of a URI in an error message."""

SCENE_COLUMNS = (
    "n, uri, collection, item_id, acquired, proj_code, content_hash, properties, skipped"
)
SceneRow = tuple[int, str, str | None, str | None, datetime | None, str | None, str, str, int]
"""The values of ``SCENE_COLUMNS``."""


class Scene(Protocol):
    """The stored fields of a scene; :class:`dcsh_pg.imagery.scene.SceneRecord` has them."""

    @property
    def uri(self) -> str: ...
    @property
    def collection(self) -> str | None: ...
    @property
    def item_id(self) -> str | None: ...
    @property
    def acquired(self) -> datetime | None: ...
    @property
    def proj_code(self) -> str | None: ...
    @property
    def content_hash(self) -> str: ...
    @property
    def properties(self) -> dict[str, Any]: ...


def scene_row(n: int, scene: Scene, skipped: int) -> SceneRow:
    """A row of ``dcsh_batch_scene``.

    Args:
        n: number of the scene in the load.
        skipped: how many of its windows have no chip.

    Raises:
        InputError: PostgreSQL cannot store a text or the properties of the scene.
    """
    try:
        properties = json.dumps(scene.properties, allow_nan=False, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise _unstorable(scene, f"its properties are not JSON: {error}") from None
    texts = (scene.uri, scene.collection, scene.item_id, scene.proj_code, properties)
    for text in texts:
        if text is not None and storable(text) != text:
            raise _unstorable(scene, f"it has text that is not UTF-8, or NUL: {text[:80]!r}")
    if _NUL.search(properties):
        raise _unstorable(scene, "its properties have text with NUL")
    return (
        n, scene.uri, scene.collection, scene.item_id, scene.acquired, scene.proj_code,
        scene.content_hash, properties, skipped,
    )  # fmt: skip


_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""NUL in JSON; after another backslash it would be literal text."""


def _unstorable(scene: Scene, why: str) -> InputError:
    return InputError(
        f"{scene.uri[:MESSAGE_URI]} cannot be stored: {why}",
        hint="rename the file, or correct its metadata",
    )


def chip_rows(
    first: int,
    scene: int,
    codes: np.ndarray,
    windows: np.ndarray,
    footprints: Sequence[Polygon] | np.ndarray | None,
    valid_fraction: np.ndarray,
    layer: Layer,
    acquired: np.ndarray | None = None,
) -> Iterator[bytes]:
    """The chips of a scene as rows of ``dcsh_batch_chip`` in binary COPY format.

    Args:
        first: number of the first chip in the load.
        scene: number of the scene in the load.
        codes, windows, footprints, valid_fraction: as :meth:`Loader.add` takes them.
        layer: how footprints are stored.
        acquired: datetime64[us] (N,), UTC; None, or NaT, for the time of the scene.
    """
    chips = _chip_fields(codes, windows, valid_fraction)
    chips["n"] = first + np.arange(len(codes))
    chips["scene"] = scene
    for rows, geom in spatial.wire_footprints(footprints, len(codes), layer):
        for part, times in _time_fields(acquired, rows):
            layout = [("chip", chips.dtype), ("geom", geom.dtype), ("acquired", times.dtype)]
            stream = np.empty(len(times), layout)
            stream["chip"], stream["geom"] = chips[rows[part]], geom[part]
            stream["acquired"] = times
            yield stream.tobytes()


def _time_fields(
    acquired: np.ndarray | None, rows: np.ndarray
) -> Iterator[tuple[slice | np.ndarray, np.ndarray]]:
    """Times of rows as fields of binary COPY, those that are NULL apart from the others.

    Yields:
        Which of ``rows`` they are, and their fields, a structured array.
    """
    null = [("length", ">i4")]
    if acquired is None:
        yield slice(None), np.full(len(rows), -1, ">i4").view(null)
        return
    times = acquired[rows]
    missing = np.isnat(times)
    if missing.any():
        yield missing, np.full(np.count_nonzero(missing), -1, ">i4").view(null)
    if not missing.all():
        fields = np.empty(np.count_nonzero(~missing), [*null, ("time", ">i8")])
        fields["length"] = 8
        fields["time"] = (times[~missing] - _POSTGRES_EPOCH).astype(np.int64)
        yield ~missing, fields


_POSTGRES_EPOCH = np.datetime64("2000-01-01", "us")


def _chip_fields(codes: np.ndarray, windows: np.ndarray, valid_fraction: np.ndarray) -> np.ndarray:
    """Rows of ``dcsh_batch_chip`` up to the footprint in binary COPY format, structured (N,).

    Every field is its length in bytes, then its value, big-endian; the value of ``code`` is the
    number of bits, then the packed bytes.
    """
    size = codes.shape[1]
    integers = ("n", "scene", "col_off", "row_off", "width", "height")
    layout: list[Any] = [("fields", ">i2")]
    for name in integers:
        layout += [(f"{name}_length", ">i4"), (name, ">i4")]
    layout += [("valid_length", ">i4"), ("valid", ">f4")]
    layout += [("code_length", ">i4"), ("bits", ">i4"), ("code", "u1", (size,))]
    rows = np.empty(len(codes), layout)
    rows["fields"] = len(integers) + 4
    for name in (*integers, "valid"):
        rows[f"{name}_length"] = 4
    for column, name in enumerate(integers[2:]):
        rows[name] = np.asarray(windows).reshape(-1, 4)[:, column]
    rows["valid"] = valid_fraction
    rows["code_length"], rows["bits"], rows["code"] = 4 + size, 8 * size, codes
    return rows
