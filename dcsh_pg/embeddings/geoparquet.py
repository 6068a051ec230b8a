"""GeoParquet with an embedding a row: Clay, Major TOM, Earth Index and their like."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from dcsh_pg.embeddings.file import (
    MAX_DIMENSION,
    EmbeddingFile,
    Using,
    Vectors,
    check_finite,
    identity,
    row_windows,
    rows_at_once,
)
from dcsh_pg.embeddings.places import Places
from dcsh_pg.errors import DcshError, InputError
from dcsh_pg.extras import requires
from dcsh_pg.imagery.grid import MAX_CHIPS, NO_WINDOWS
from dcsh_pg.imagery.scene import SceneRecord

SUFFIXES = (".parquet", ".geoparquet", ".gpq", ".pq")
NAMES = ("embedding", "embeddings", "vector", "emb")
MAX_FOOTER = 64 << 20
MAX_PAGE_RATIO = 1000
"""A column that decompresses to more times its size, and to more than ``SMALL``, is refused."""
SMALL = 64 << 20


def opened(uri: str, name: str, using: Using) -> EmbeddingFile:
    return GeoParquetFile(uri, name, using)


class GeoParquetFile(EmbeddingFile):
    """A Parquet file with a column of vectors of equal length, and geometries."""

    def describe(self) -> SceneRecord:
        with self._opened() as file:
            column, places = self._columns(file)
            options = (
                [self.using.columns] if self.using.columns != type(self.using.columns)() else []
            )
            return SceneRecord(
                uri=self.uri,
                content_hash=identity(self.uri, *options),
                width=1,
                height=file.metadata.num_rows,
                windows=NO_WINDOWS,
                acquired=None if places and places.time else self.when(),
                properties={"format": "geoparquet", "embedding_column": column},
            )

    def vectors(self) -> Iterator[Vectors]:
        with self._opened() as file:
            column, places = self._columns(file)
            first = 0
            dimension = 1
            rows = 0
            for batch in file.iter_batches(
                batch_size=self._rows(file, column),
                columns=[column, *(places.names if places else [])],
            ):
                if not len(batch):
                    continue
                values = self._values(batch.column(column), first)
                if first and values.shape[1] != dimension:
                    raise InputError(
                        f"{self.uri}: embeddings have {dimension} numbers, "
                        f"from row {first} on {values.shape[1]}"
                    )
                dimension, rows = values.shape[1], len(batch)
                yield Vectors(
                    values,
                    row_windows(first, rows),
                    places.footprints(batch, first) if places else None,
                    np.ones(rows, np.float32),
                    places.acquired(batch, first) if places else None,
                )
                first += rows

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        """The file; whatever pyarrow raises becomes an InputError that names it."""
        with requires("geo", f"read {self.uri}", InputError):
            import pyarrow
            from pyarrow import parquet

        try:
            with parquet.ParquetFile(
                self.uri,
                thrift_string_size_limit=MAX_FOOTER,
                thrift_container_size_limit=10_000_000,
            ) as file:
                _check_sizes(file, self.uri)
                yield file
        except DcshError:
            raise
        except (pyarrow.ArrowException, OSError, ValueError, MemoryError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(
                f"{self.uri} cannot be read: {reason}", hint="copy or download it again"
            ) from None

    def _columns(self, file: Any) -> tuple[str, Places | None]:
        schema, columns = file.schema_arrow, self.using.columns
        column = embedding_column(schema, columns.embedding, self.uri)
        is_placed = self.using.options.georeference
        return column, Places(schema, columns, self.uri) if is_placed else None

    def _rows(self, file: Any, column: str) -> int:
        """Rows of a batch, from the average size of an embedding."""
        kind = file.schema_arrow.field(column).type
        width = getattr(kind, "list_size", 0)
        if width < 1:
            index = next(
                i
                for i in range(len(file.schema))
                if file.schema.column(i).path.split(".")[0] == column
            )
            groups = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]
            values = sum(group.column(index).num_values for group in groups)
            width = -(-values // max(1, file.metadata.num_rows))
        return rows_at_once(width)

    def _values(self, column: Any, first: int) -> np.ndarray:
        """Lists of numbers, a pyarrow array, -> dequantised float32 (N, D)."""
        stored = stored_lists(column, first, self.uri)
        making = self.using.making
        if making.dequantisation == "signed-power" and stored.dtype != np.int8:
            raise InputError(
                f"{self.uri} has {stored.dtype} embeddings, not int8",
                hint="these are not quantised: train a model with --dequantise none",
            )
        values = making.dequantised(stored)
        check_finite(values, first, self.uri)
        return values


def embedding_column(schema: Any, named: str | None, uri: str) -> str:
    """The column of lists of numbers: that of the name, or the only one, or the best known name.

    Raises:
        InputError: there is none, or it cannot be told which.
    """
    import pyarrow

    def is_embedding(kind: Any) -> bool:
        types = pyarrow.types
        is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
        if not is_list:
            return False
        value = kind.value_type
        return bool(types.is_floating(value) or types.is_integer(value))

    found: list[str] = [field.name for field in schema if is_embedding(field.type)]
    if named is not None:
        if named in found:
            return named
        hint = f"give --embedding-column one of {', '.join(found)}" if found else None
        raise InputError(f"{uri} has no column {named!r} of lists of numbers", hint=hint)
    lower = {name.lower(): name for name in reversed(found)}
    known = [lower[name] for name in NAMES if name in lower]
    if known or len(found) == 1:
        return (known or found)[0]
    raise InputError(
        f"{uri} has {len(found) or 'no'} columns of lists of numbers"
        + (f": {', '.join(found[:10])}" if found else ""),
        hint="name the one with the embeddings: --embedding-column NAME",
    )


def stored_lists(column: Any, first: int, uri: str) -> np.ndarray:
    """Lists of numbers of one length, a pyarrow array, -> (N, D), of 32-bit floats not copied.

    Raises:
        InputError: a list is missing or has another length, or a number is missing.
    """
    import pyarrow

    if column.null_count:
        row = first + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise InputError(f"{uri}: row {row} has no embedding", hint="remove the row")
    count = len(column)
    if pyarrow.types.is_fixed_size_list(column.type):
        dimension = column.type.list_size
        flat = column.values.slice(column.offset * dimension, count * dimension)
    else:
        lengths = np.diff(column.offsets.to_numpy())
        dimension = int(lengths[0])
        if (lengths != dimension).any():
            row = int(np.flatnonzero(lengths != dimension)[0])
            raise InputError(
                f"{uri}: the embedding of row {first + row} has {lengths[row]} numbers, "
                f"others have {dimension}",
                hint="write the file again with embeddings of one length",
            )
        flat = column.flatten()
    if not 1 <= dimension <= MAX_DIMENSION:
        raise InputError(
            f"{uri} has embeddings of {dimension} numbers", hint=f"1 to {MAX_DIMENSION}"
        )
    if flat.null_count:
        raise InputError(f"{uri}: an embedding after row {first} lacks a number")
    numbers: np.ndarray = flat.to_numpy(zero_copy_only=False)
    return numbers.reshape(count, dimension)


def _check_sizes(file: Any, uri: str) -> None:
    """Raises InputError for a file whose directory announces a bomb."""
    if file.metadata.num_rows > MAX_CHIPS:
        raise InputError(
            f"{uri} has {file.metadata.num_rows:,} rows, more than {MAX_CHIPS:,}",
            hint="divide it into several files",
        )
    for n in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(n)
        for index in range(group.num_columns):
            column = group.column(index)
            packed, size = column.total_compressed_size, column.total_uncompressed_size
            if size < 0 or (size > SMALL and size > MAX_PAGE_RATIO * packed):
                raise InputError(
                    f"{uri}: the column {column.path_in_schema} would decompress from {packed:,} to "
                    f"{size:,} bytes",
                    hint="write it again with smaller groups of rows",
                )
