"""All chips of an archive compared with a query, in its columns: what ``dcsh.similarity_surface`` and
``dcsh.distance_histogram`` give, by the same distances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone

import numpy as np
import numpy.typing as npt

from dcsh_pg.database.search.period import Every
from dcsh_pg.database.search.surface import Examples
from dcsh_pg.errors import UsageError
from dcsh_pg.serve.columns import NOWHERE, PLACE_ZOOM, Columns, gathered, words

BLOCK = 1 << 17
"""Chips that are compared at a time: as many as fit in a processor's cache."""

FAR = np.iinfo(np.uint16).max
"""Distance of a chip that does not count; codes have at most 1024 bits."""

Distances = npt.NDArray[np.uint16]
Window = tuple[float, float, float, float]


def distances(columns: Columns, examples: Examples) -> Distances:
    """The distance of every chip to a query in bits, or ``FAR`` if the rule leaves it out: uint16 (N,)."""
    size = columns.code.shape[0] * columns.code.itemsize
    likes, unlikes = (
        np.frombuffer(b"".join(codes), np.uint8).reshape(-1, size)
        for codes in (examples.likes, examples.unlikes)
    )
    count = columns.code.shape[1]
    found = np.empty(count, np.uint16)
    for start in range(0, count, BLOCK):
        block = columns.code[:, start : start + BLOCK]
        if examples.rule == "rocchio":
            near = _weighted(block, likes, unlikes)
        elif examples.rule == "min":
            near = _nearest(block, likes)
            if len(unlikes):
                near[near > _nearest(block, unlikes)] = FAR
        else:
            raise UsageError(f"rule {examples.rule} has no surface here", hint="use min or rocchio")
        found[start : start + BLOCK] = near
    return found


def _nearest(block: np.ndarray, codes: np.ndarray) -> Distances:
    """The least Hamming distance of words (W, N) to packed codes (M, B): uint16 (N,)."""
    found = np.full(block.shape[1], FAR, np.uint16)
    for code in words(codes).T:
        near = np.zeros(block.shape[1], np.uint16)
        for line, word in zip(block, code, strict=True):
            near += np.bitwise_count(line ^ word)
        np.minimum(found, near, out=found)
    return found


def _weighted(block: np.ndarray, likes: np.ndarray, unlikes: np.ndarray) -> Distances:
    """Rule rocchio: the weights of the bits that differ from the weights' signs, with a mean of 1."""
    weights = rocchio(likes, unlikes)
    total = max(int(np.abs(weights).sum()), 1)
    width = min(block.itemsize, 2)
    tables = _costs(weights.reshape(-1, 8 * width))
    cost = np.zeros(block.shape[1], np.int64)
    for line in block:
        for part in line.view(f"<u{width}").reshape(len(line), -1).T:
            cost += np.take(next(tables), part)
    # Exact: the quotient is at least 1 / (2 * total) below the next whole number, or is whole.
    return ((2 * len(weights) * cost + total) / (2 * total)).astype(np.uint16)


def _costs(weights: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int32]]:
    """Of each one or two bytes of a code, the weights of the bits that differ from the weights' signs, by the
    value of these bytes in little-endian order.  Weights are (P, 8) or (P, 16)."""
    is_zero = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) == 0
    for part in weights:
        first, *second = (
            np.where(is_zero == (eight > 0), np.abs(eight), 0).sum(axis=1).astype(np.int32)
            for eight in part.reshape(-1, 8)
        )
        yield (second[0][:, None] + first).ravel() if second else first


def rocchio(likes: np.ndarray, unlikes: np.ndarray) -> npt.NDArray[np.int64]:
    """Weights (K,) of rule rocchio from packed codes (M, K/8): ``dcsh_private.rocchio``."""
    liked, unliked = (2 * np.unpackbits(codes, axis=1).astype(np.int64).sum(axis=0) - len(codes) for codes in (likes, unlikes))  # fmt: skip
    weights: npt.NDArray[np.int64] = 2 * max(len(unlikes), 1) * liked
    return weights - len(likes) * unliked if len(unlikes) else weights


def selected(
    columns: Columns,
    since: datetime | None = None,
    until: datetime | None = None,
    scenes: Sequence[int] | None = None,
) -> npt.NDArray[np.bool_] | None:
    """Which chips were acquired from ``since`` on and before ``until``, and are of some scenes: bool (N,);
    None for all."""
    found: npt.NDArray[np.bool_] | None = None
    if since is not None or until is not None:
        times = columns.times
        is_in = ~np.isnan(times)
        if since is not None:
            is_in &= times >= since.timestamp()
        if until is not None:
            is_in &= times < until.timestamp()
        found = is_in[columns.time]
    if scenes is not None:
        of_scene = np.isin(columns.scenes, np.asarray(scenes, np.int64))[columns.scene]
        found = of_scene if found is None else found & of_scene
    return found


def span(columns: Columns) -> list[str] | None:
    """The first and the last time in ISO 8601, UTC; None if no chip has one."""
    times = columns.times[~np.isnan(columns.times)]
    if not len(times):
        return None
    return [datetime.fromtimestamp(second, timezone.utc).isoformat() for second in times[[0, -1]]]


def histogram(
    columns: Columns, far: Distances, every: Every | None, most: int | None
) -> tuple[dict[int, int], dict[str, int]]:
    """Chips by distance, and chips within ``most`` bits by the start of their period in UTC."""
    counts = np.bincount(far, minlength=1)[:FAR]
    by_distance = {int(distance): int(counts[distance]) for distance in np.flatnonzero(counts)}
    by_period: dict[str, int] = {}
    if every is not None:
        is_near = far < FAR if most is None else far <= most
        times = columns.time if is_near.all() else columns.time[is_near]
        by_time = np.bincount(times, minlength=len(columns.times))
        for second in np.flatnonzero(by_time):
            if not np.isnan(columns.times[second]):
                start = period_start(float(columns.times[second]), every)
                by_period[start] = by_period.get(start, 0) + int(by_time[second])
    return by_distance, by_period


def period_start(second: float, every: Every) -> str:
    """The start of the period that a time, in seconds since 1970, is in: ISO 8601, UTC."""
    unit = {"hour": "h", "day": "D", "week": "D", "month": "M", "quarter": "M", "year": "Y"}[every]
    start = np.datetime64(round(second * 1e6), "us").astype(f"datetime64[{unit}]")
    if every == "quarter":
        start -= start.astype(int) % 3
    elif every == "week":
        start -= (start.astype(int) + 3) % 7
    return f"{start.astype('datetime64[s]')}Z"


def cells(
    columns: Columns, far: Distances, zoom: int, window: Window | None = None
) -> dict[str, list[int]]:
    """The least distance and the number of chips in each cell of Web Mercator at a zoom, in columns.

    Args:
        window: west, south, east and north of the cells to give, as shares of the grid from its north-west
            corner; all if None.
    """
    place, starts = cell_starts(columns.place, zoom)
    if not len(starts):
        return {"x": [], "y": [], "distance": [], "chips": []}
    ends = np.append(starts[1:], np.searchsorted(columns.place, NOWHERE))
    least = np.minimum.reduceat(far[: ends[-1]], starts)
    counts = np.add.reduceat(far[: ends[-1]] < FAR, starts, dtype=np.int64)
    x, y = (gathered(place >> np.uint64(shift)).astype(np.int64) for shift in (0, 1))
    is_in = least < FAR
    if window is not None:
        west, south, east, north = (np.floor(share * 2**zoom) for share in window)
        is_in &= (west <= x) & (x <= east) & (north <= y) & (y <= south)
    shown = np.flatnonzero(is_in)
    shown = shown[np.lexsort((x[shown], y[shown]))]
    named = {"x": x, "y": y, "distance": least, "chips": counts}
    return {name: column[shown].tolist() for name, column in named.items()}


def cell_starts(place: np.ndarray, zoom: int) -> tuple[np.ndarray, np.ndarray]:
    """The cells at a zoom that have chips, uint64 with interleaved bits, and where each begins in the order."""
    place = place[: np.searchsorted(place, NOWHERE)]
    cell = place >> np.uint64(2 * (PLACE_ZOOM - zoom))
    starts = np.flatnonzero(np.concatenate([[True], cell[1:] != cell[:-1]])) if len(cell) else np.empty(0, int)  # fmt: skip
    return cell[starts], starts
