"""The ``geoemb:`` attributes of codes: embeddings of one bit a dimension.

The convention (github.com/geo-embeddings/embeddings-zarr-convention, v1) is of Zarr groups.  The same attributes are in
the metadata of ``codes.parquet``, as JSON under the key ``geoemb``.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from dcsh_pg import __version__
from dcsh_pg.database.archives.registry import ArchiveRecord

KEY = "geoemb"
"""Of the file's metadata."""

QUANTIZATION = {"method": "binary", "original_dtype": "float32", "quantized_dtype": "uint8"}
"""A dimension is the sign of a value; eight dimensions a byte."""


def geoemb_attributes(
    record: ArchiveRecord, *, model_href: str | None = None, source_data: Sequence[str] = ()
) -> dict[str, Any]:
    """The attributes of an archive's codes.

    Args:
        model_href: address of the ONNX file; without one the model is named by its SHA-256, as a URI of RFC 6920.
        source_data: addresses of what the scenes are from; the convention requires at least one.
    """
    digest = base64.urlsafe_b64encode(bytes.fromhex(record.model_sha256)).decode().rstrip("=")
    attributes: dict[str, Any] = {
        "geoemb:type": "chip",
        "geoemb:dimensions": record.bits,
        "geoemb:model": model_href or f"ni:///sha-256;{digest}",
        "geoemb:source_data": list(source_data),
        "geoemb:data_type": "uint8",
        "geoemb:quantization": QUANTIZATION,
        "geoemb:build_version": f"dcsh-pg {__version__}",
        "dcsh:bit_order": "big",
    }
    size = record.reading.get("chip_size")
    if size is not None:
        stride = record.reading.get("stride") or size
        attributes["geoemb:chip_layout"] = {
            "layout_type": "regular_grid",
            "chip_size": [size, size],
            "stride": [stride, stride],
        }
    return attributes
