"""A numpy array (N, D) and a table of its rows: X.npy with X.parquet or X.csv, which has lon and lat or a geometry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dcsh_pg.embeddings.file import (
    MAX_DIMENSION,
    EmbeddingFile,
    Using,
    Vectors,
    check_finite,
    identity,
    load,
    row_windows,
    rows_at_once,
)
from dcsh_pg.embeddings.places import Places
from dcsh_pg.errors import DcshError, InputError
from dcsh_pg.extras import requires
from dcsh_pg.imagery.grid import MAX_CHIPS, NO_WINDOWS
from dcsh_pg.imagery.scene import SceneRecord

TABLES = (".parquet", ".csv")


class ArrayFile(EmbeddingFile):
    """An array and its table."""

    def describe(self) -> SceneRecord:
        array = self._array()
        table = self._table()
        places = None
        if table is not None:
            with _batches(table, self.uri) as (schema, _):
                places = Places(schema, self.using.columns, table)
        return SceneRecord(
            uri=self.uri,
            content_hash=identity(self.uri, identity(table) if table else "", self.using.columns),
            width=1,
            height=len(array),
            windows=NO_WINDOWS,
            acquired=None if places and places.time else self.when(),
            properties={"format": "array"},
        )

    def vectors(self) -> Iterator[Vectors]:
        array, table = self._array(), self._table()
        step = rows_at_once(array.shape[1])
        if table is None:
            for first in range(0, len(array), step):
                values = self._values(array, first, step)
                yield _block(values, first, None, None)
            return
        first = 0
        with _batches(table, self.uri) as (schema, batches):
            places = Places(schema, self.using.columns, table)
            for whole in batches:
                for start in range(0, len(whole), step):
                    batch = whole.slice(start, step)
                    values = self._values(array, first, len(batch))
                    if len(values) < len(batch):
                        break
                    yield _block(
                        values,
                        first,
                        places.footprints(batch, first),
                        places.acquired(batch, first),
                    )
                    first += len(batch)
        if first != len(array):
            raise InputError(
                f"{self.uri} has {len(array)} rows, {table} another number",
                hint="write one row of the table for each vector, in their order",
            )

    def _array(self) -> np.ndarray:
        array = load(self.uri)
        if array.ndim != 2 or not 1 <= array.shape[1] <= MAX_DIMENSION or len(array) > MAX_CHIPS:
            raise InputError(
                f"{self.uri} has an array of {array.shape}",
                hint=f"write (rows, numbers), at most {MAX_CHIPS:,} rows",
            )
        return array

    def _values(self, array: np.ndarray, first: int, count: int) -> np.ndarray:
        values = self.using.making.dequantised(np.ascontiguousarray(array[first : first + count]))
        check_finite(values, first, self.uri)
        return values

    def _table(self) -> str | None:
        """The table; None where no footprints are wanted.

        Raises:
            InputError: there is none.
        """
        if not self.using.options.georeference:
            return None
        found = [Path(self.uri).with_suffix(suffix) for suffix in TABLES]
        table = next((str(path) for path in found if path.is_file()), None)
        if table is None:
            raise InputError(
                f"{self.uri} has no table beside it",
                hint=f"write {found[0].name} or {found[1].name} with the place of each row, or give "
                "--no-georeference",
            )
        return table


def opened(uri: str, name: str, using: Using) -> EmbeddingFile:
    from dcsh_pg.embeddings.tessera import TesseraFile

    if using.making.dequantisation == "scales":
        return TesseraFile(uri, name, using)
    return ArrayFile(uri, name, using)


SUFFIXES = (".npy",)


def _block(values: np.ndarray, first: int, footprints: Any, acquired: Any) -> Vectors:
    count = len(values)
    return Vectors(
        values, row_windows(first, count), footprints, np.ones(count, np.float32), acquired
    )


@contextlib.contextmanager
def _batches(table: str, uri: str) -> Iterator[tuple[Any, Iterator[Any]]]:
    """The schema of a table, and its rows as pyarrow batches."""
    with requires("geo", f"read {table}", InputError):
        import pyarrow
        from pyarrow import csv, parquet

    try:
        if table.endswith(".csv"):
            with csv.open_csv(table) as reader:
                yield reader.schema, iter(reader)
        else:
            with parquet.ParquetFile(table) as file:
                yield file.schema_arrow, file.iter_batches()
    except DcshError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{table} cannot be read: {reason}", hint=f"it is the table of {uri}"
        ) from None
