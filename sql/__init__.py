"""The SQL that PostgreSQL runs, in files numbered by topic.

``migrations/versions/NNNN_*.sql`` change what is stored (tables, types); such a file is frozen once
released.  Every upgrade runs the numbered files here: those below 010 prepare the database before the
migrations, the others create or replace the functions after them, so each function has one definition.

Where PostGIS and plain PostgreSQL differ, two files, ``*_postgis.sql`` and ``*_core.sql``, define the
same names.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

Layer = Literal["postgis", "core"]

REVISION = "0004"
"""The newest revision in ``migrations/versions``: the schema that this dcsh-pg works with."""

FOLDER = Path(__file__).parent


def preparing(layer: Layer) -> list[Path]:
    """Files to run before the migrations, in order: schema, extensions, search_path."""
    return [file for file in _files(layer) if file.name < "010"]


def functions(layer: Layer) -> list[Path]:
    """Files to run after the migrations, in order."""
    return [file for file in _files(layer) if file.name >= "010"]


def digest(layer: Layer) -> str:
    """SHA-256 of the numbered files, hexadecimal; it identifies the functions of an upgrade."""
    files = preparing(layer) + functions(layer)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _files(layer: Layer) -> list[Path]:
    other = "core" if layer == "postgis" else "postgis"
    return sorted(f for f in FOLDER.glob("[0-9]*.sql") if not f.stem.endswith(f"_{other}"))
