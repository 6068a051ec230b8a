"""Clusters of real worker processes, and something to ingest."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("distributed", reason="a cluster needs the extra 'dask'")

from local_cluster import cluster_of


@pytest.fixture(scope="session")
def three_workers(no_outer_database) -> Iterator:
    with cluster_of(3) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def one_worker(no_outer_database) -> Iterator:
    with cluster_of(1, threads=2) as cluster:
        yield cluster


@pytest.fixture
def sources(scenes, tmp_path) -> list[str]:
    """Four rasters, a cut one, an empty one, and a folder of thirty small pictures."""
    rasters = Path(shutil.copytree(scenes, tmp_path / "scenes"))
    whole = min(rasters.glob("*.tif")).read_bytes()
    (rasters / "cut.tif").write_bytes(whole[: len(whole) // 2])
    (rasters / "empty.tif").touch()
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    random = np.random.default_rng(0)
    for number in range(30):
        pixels = random.integers(0, 255, (64 + number % 3, 64, 3), np.uint8)
        Image.fromarray(pixels).save(pictures / f"{number}.png")
    return [str(rasters), str(pictures)]
