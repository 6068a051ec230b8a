"""Small GeoParquet files of embeddings."""

from __future__ import annotations

import json

import numpy as np
import pyarrow
import shapely
from pyarrow import parquet


def parquet_file(path, values, geometry=None, *, fixed=True, crs=None, extra=(), name="embedding"):
    """A GeoParquet file of vectors (N, D), with boxes on a grid unless geometry is given."""
    values = np.asarray(values)
    kind = pyarrow.from_numpy_dtype(values.dtype)
    flat = pyarrow.array(values.reshape(-1))
    if fixed:
        column = pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
    else:
        ends = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
        column = pyarrow.ListArray.from_arrays(ends, flat, pyarrow.list_(kind))
    geometry = boxes(len(values)) if geometry is None else geometry
    wkb = pyarrow.array(shapely.to_wkb(np.asarray(geometry, object)), pyarrow.binary())
    table = pyarrow.table({name: column, "geometry": wkb, **dict(extra)})
    about = {"encoding": "WKB", "geometry_types": []}
    if crs is not None:
        about["crs"] = crs.to_json_dict()
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": about}}
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path


def boxes(count):
    n = np.arange(count)
    return shapely.box(
        10 + n % 50 * 0.01, 50 + n // 50 * 0.01, 10.01 + n % 50 * 0.01, 50.01 + n // 50 * 0.01
    )
