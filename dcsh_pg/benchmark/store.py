"""A benchmark on disk: benchmark.json with its facts, and cells/ with one JSON file a cell."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dcsh_pg.errors import InputError, OutputError
from dcsh_pg.files import check_writable, replacing

FACTS = "benchmark.json"
CELLS = "cells"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Creates the folder and locks it for the block.

    Raises:
        OutputError: it cannot be created or written to, or another process has locked it.
    """
    check_writable(folder / FACTS)
    check_writable(folder / CELLS / FACTS)
    (folder / CELLS).mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(
            f"another benchmark is writing to {folder}", hint="wait for it, or choose another --out"
        ) from None
    try:
        yield
    finally:
        lock.release()


def read_facts(folder: Path) -> dict[str, Any]:
    """Reads the facts.

    Raises:
        InputError: the folder does not contain a benchmark.
    """
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS).read_text())
        return facts
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} does not contain a benchmark",
            hint="make one with 'dcsh-pg benchmark --out DIR'",
        ) from error


def write_facts(folder: Path, facts: dict[str, Any]) -> None:
    """Replaces the facts atomically.

    Raises:
        OutputError: they cannot be written.
    """
    _write(folder / FACTS, json.dumps(facts, indent=1))


def read_cell(folder: Path, row: str, bits: int, seed: int) -> dict[str, Any] | None:
    """A cell, or None where it is missing or its file is incomplete."""
    try:
        cell: dict[str, Any] = json.loads(_path(folder, row, bits, seed).read_text())
        return cell
    except (FileNotFoundError, ValueError):
        return None


def write_cell(folder: Path, cell: dict[str, Any]) -> None:
    """Stores a cell by its 'row', 'bits' and 'seed'.

    Raises:
        OutputError: it cannot be written.
    """
    _write(_path(folder, cell["row"], cell["bits"], cell["seed"]), json.dumps(cell))


def drop_cell(folder: Path, row: str, bits: int, seed: int) -> None:
    """Deletes a cell, if it exists."""
    _path(folder, row, bits, seed).unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text + "\n")


def _path(folder: Path, row: str, bits: int, seed: int) -> Path:
    """A readable file name that is unique to the row."""
    readable = re.sub(r"[^a-z0-9]+", "-", row.lower()).strip("-")[:80]
    unique = hashlib.sha256(row.encode()).hexdigest()[:6]
    return folder / CELLS / f"{readable}-{unique}-{bits}-{seed}.json"
