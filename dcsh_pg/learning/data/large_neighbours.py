"""Neighbours among many images, approximately: time grows as N^1.5 at most.

``nearest`` searches an inverted file of faiss, ``walked`` follows random walks over the images that
they reach with more than a negligible probability.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

from dcsh_pg.extras import requires
from dcsh_pg.progress import SILENT, Progress

CELLS = 4
"""An image's cell is one of this many times the square root of the images' number."""
PROBED = 16
"""Cells that are searched for an image; on features of images 99 % of the nearest are found."""
NEGLIGIBLE = 1e-3
"""Similarities below this are dropped at each step of a walk, which starts from 1."""
_TRAINING_POINTS = 64
_ROUNDS = 8
_SEARCHED_AT_ONCE = 16_384
_WALKED_AT_ONCE = 1024


def nearest(
    unit: np.ndarray, k: int, *, seed: int = 0, progress: Progress = SILENT
) -> tuple[np.ndarray, np.ndarray]:
    """Cosines float32 (N, k) and indices int64 (N, k) of the nearest, without itself.

    Args:
        unit: unit vectors, float32 (N, D); the index keeps a copy.
        k: at most N - 1.
        seed: random seed of the cells.
    """
    with requires("train", "mine neighbours of more than 10,000 images"):
        import faiss

    images, dim = unit.shape
    progress.start("neighbours", images)
    index: Any = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(dim), dim, int(CELLS * images**0.5), faiss.METRIC_INNER_PRODUCT
    )
    index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = (
        seed,
        _ROUNDS,
        _TRAINING_POINTS,
    )
    index.train(unit)
    index.add(unit)
    cosines, indices = np.empty((images, k), np.float32), np.empty((images, k), np.int64)
    for first in range(0, images, _SEARCHED_AT_ONCE):
        rows = np.arange(first, min(first + _SEARCHED_AT_ONCE, images))
        found = _search(index, unit[rows], k + 1)
        cosines[rows], indices[rows] = _without_itself(rows, *found)
        progress.advance(len(rows))
    return cosines, indices


def walked(
    graph: sparse.csr_matrix,
    k: int,
    *,
    restart: float,
    steps: int,
    progress: Progress = SILENT,
) -> np.ndarray:
    """The k images where random walks from each image are most often, int64 (N, k).

    Args:
        graph: normalised and symmetric, float32 (N, N).
        k: at most N - 1.  A walk that reaches fewer images ends with the image itself.
        restart, steps: see ``neighbours.diffused``.
    """
    images = graph.shape[0]
    progress.start("walks between neighbours", images)
    found = np.empty((images, k), np.int64)
    walk = partial(_walk, graph, restart=restart, steps=steps)
    blocks = (
        np.arange(first, min(first + _WALKED_AT_ONCE, images))
        for first in range(0, images, _WALKED_AT_ONCE)
    )
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # scipy's products release the interpreter
        for part in _batches(blocks, 4 * (os.cpu_count() or 1)):
            for rows, similar in zip(part, pool.map(walk, part), strict=True):
                found[rows] = _most_similar(similar, rows, k)
                progress.advance(len(rows))
    return found


def _search(index: Any, unit: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Searches all cells for images whose own do not hold k."""
    index.nprobe = PROBED
    cosines, indices = index.search(unit, k)
    few = np.flatnonzero(indices[:, -1] < 0)
    if len(few):
        index.nprobe = index.nlist
        cosines[few], indices[few] = index.search(unit[few], k)
    return cosines, indices


def _without_itself(
    rows: np.ndarray, cosines: np.ndarray, indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Drops each image from its own list, or the last of a list that lacks it."""
    is_itself = indices == rows[:, None]
    is_itself[~is_itself.any(axis=1), -1] = True
    shape = len(rows), indices.shape[1] - 1
    return cosines[~is_itself].reshape(shape), indices[~is_itself].reshape(shape)


def _walk(
    graph: sparse.csr_matrix, rows: np.ndarray, *, restart: float, steps: int
) -> sparse.csr_matrix:
    """Similarities float32 (len(rows), N) of the images that are reached."""
    start = sparse.csr_matrix(
        (np.ones(len(rows), np.float32), (np.arange(len(rows)), rows)),
        (len(rows), graph.shape[0]),
    )
    reached = start
    for _ in range(steps):
        reached = (reached @ graph) * np.float32(1 - restart) + start
        reached.data[reached.data < NEGLIGIBLE] = 0
        reached.eliminate_zeros()
    return reached


def _most_similar(similar: sparse.csr_matrix, rows: np.ndarray, k: int) -> np.ndarray:
    found = np.repeat(rows[:, None], k, axis=1)
    for number, own in enumerate(rows.tolist()):
        part = slice(similar.indptr[number], similar.indptr[number + 1])
        indices, values = similar.indices[part], similar.data[part]
        values = np.where(indices == own, -np.inf, values)
        best = np.lexsort((indices, -values))[: min(k, len(indices) - 1)]
        found[number, : len(best)] = indices[best]
    return found


def _batches(blocks: Iterator[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Lists of blocks: so many wait for the threads at a time."""
    while batch := [block for _, block in zip(range(size), blocks, strict=False)]:
        yield batch
