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
    """Makes the folder; for the time of the block nobody else writes to it.

    Raises:
        OutputError: it cannot be made or written to, or another process is at it.
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
    """What ``write_facts`` wrote.

    Raises:
        InputError: the folder holds no benchmark.
    """
    try:
        return json.loads((folder / FACTS).read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} holds no benchmark", hint="make one with 'dcsh-pg benchmark --out DIR'"
        ) from error


def write_facts(folder: Path, facts: dict[str, Any]) -> None:
    """Replaces the facts at once.

    Raises:
        OutputError: they cannot be written.
    """
    _write(folder / FACTS, json.dumps(facts, indent=1))


def read_cell(folder: Path, row: str, bits: int, seed: int) -> dict[str, Any] | None:
    """A cell, or None where there is none, or what a full disk or a power cut left of one."""
    try:
        return json.loads(_path(folder, row, bits, seed).read_text())
    except (FileNotFoundError, ValueError):
        return None


def write_cell(folder: Path, cell: dict[str, Any]) -> None:
    """Keeps a cell under its 'row', 'bits' and 'seed'.

    Raises:
        OutputError: it cannot be written.
    """
    _write(_path(folder, cell["row"], cell["bits"], cell["seed"]), json.dumps(cell))


def drop_cell(folder: Path, row: str, bits: int, seed: int) -> None:
    """Forgets a cell, if it is there."""
    _path(folder, row, bits, seed).unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text + "\n")


def _path(folder: Path, row: str, bits: int, seed: int) -> Path:
    """A file name that is readable, and different for different rows."""
    readable = re.sub(r"[^a-z0-9]+", "-", row.lower()).strip("-")[:80]
    unique = hashlib.sha256(row.encode()).hexdigest()[:6]
    return folder / CELLS / f"{readable}-{unique}-{bits}-{seed}.json"
