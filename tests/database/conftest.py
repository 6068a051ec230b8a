"""Connections to databases with the schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import psycopg
import pytest

from dcsh_pg.database.server.connect import connect


@pytest.fixture
def conn(any_deployment) -> Iterator[psycopg.Connection]:
    with connect(any_deployment) as opened:
        yield opened


@pytest.fixture
def server(any_database) -> Iterator[psycopg.Connection]:
    """As ``conn``, and never a cluster."""
    with connect(any_database) as opened:
        yield opened


@pytest.fixture
def core(database) -> Iterator[psycopg.Connection]:
    with connect(database) as opened:
        yield opened


@pytest.fixture
def random_codes() -> Callable[..., np.ndarray]:
    def make(count: int, bits: int = 64, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (count, bits // 8), dtype=np.uint8)

    return make
