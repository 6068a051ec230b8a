"""All chips of an archive at one moment, and searches of them by brute force."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import psycopg
import shapely

from dcsh_pg import codes as packed
from dcsh_pg.database.archives.chip_batches import batches


@dataclass
class Snapshot:
    """All chips of an archive at one moment, by id.

    Attributes:
        ids: int64 (N,).
        codes: packed, uint8 (N, K/8).
        times: seconds since 1970, float64 (N,).
        places: polygons in EPSG:4326, object (N,).
    """

    ids: np.ndarray
    codes: np.ndarray
    times: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, conn: psycopg.Connection, name: str) -> Snapshot:
        columns, places = {"id": [], "code": [], "acquired": []}, []
        for batch, footprints in batches(conn, name, 10_000):
            for key, values in columns.items():
                values += batch[key]
            places += list(footprints)
        codes = np.frombuffer(b"".join(map(bytes, columns["code"])), np.uint8)
        return cls(
            np.array(columns["id"], np.int64),
            codes.reshape(len(places), -1) if places else codes.reshape(0, 1),
            np.array([time.timestamp() for time in columns["acquired"]]),
            np.array(places, object),
        )

    def during(self, since: datetime | None, until: datetime | None) -> np.ndarray:
        """Which chips were acquired in the interval, bool (N,)."""
        kept = np.ones(len(self.ids), bool)
        if since is not None:
            kept &= self.times >= since.timestamp()
        if until is not None:
            kept &= self.times < until.timestamp()
        return kept

    def ordered(self, distances: np.ndarray, kept: np.ndarray) -> list[tuple[int, int]]:
        """(distance, id) of those that are kept, in the order of every search."""
        pairs = zip(distances[kept].tolist(), self.ids[kept].tolist(), strict=True)
        return sorted(pairs)

    def groups(self, radius: int, kept: np.ndarray) -> list[tuple[int, int, int]]:
        """(group id, id, distance) of near duplicates."""
        left, rows = set(np.flatnonzero(kept).tolist()), []
        while left:
            first = min(left)
            group, reached = [], {first}
            while reached:
                left -= reached
                group += reached
                others = np.fromiter(left, int)
                near = packed.hamming(self.codes[others], self.codes[[*reached]]) <= radius
                reached = set(others[near.any(axis=1)].tolist())
            if len(group) > 1:
                away = packed.hamming(self.codes, self.codes[first])[:, 0]
                rows += [
                    (int(self.ids[first]), int(self.ids[n]), int(away[n])) for n in sorted(group)
                ]
        return rows

    def newest(self, chosen: np.ndarray, overlap: float) -> np.ndarray:
        """Those of the chosen positions that none of them covers later on."""
        one, other, _ = self._overlaps(chosen, chosen, overlap)
        hidden = one[self.times[other] > self.times[one]]
        return np.setdiff1d(chosen, hidden)

    def changes(self, middle: datetime, overlap: float) -> list[tuple[int, int, int]]:
        """(distance, id, id before) of what was seen before and after a day."""
        before = self.newest(np.flatnonzero(self.during(None, middle)), overlap)
        after = self.newest(np.flatnonzero(self.during(middle, None)), overlap)
        now, then, shares = self._overlaps(after, before, overlap)
        best = {}
        for a, b, share in zip(now.tolist(), then.tolist(), shares.tolist(), strict=True):
            rank = (-share, -self.times[b], self.ids[b], b)
            best[a] = min(best.get(a, rank), rank)
        rows = [
            (int(packed.hamming(self.codes[a], self.codes[rank[3]])[0, 0]), int(self.ids[a]),
             int(rank[2]))
            for a, rank in best.items()
        ]  # fmt: skip
        return sorted(rows, key=lambda row: (-row[0], row[1]))

    def _overlaps(self, some: np.ndarray, others: np.ndarray, least: float):
        """Pairs of positions that share at least so much of the larger, and how much."""
        tree = shapely.STRtree(self.places[others])
        left, right = tree.query(self.places[some], predicate="intersects")
        a, b = self.places[some][left], self.places[others][right]
        share = shapely.area(shapely.intersection(a, b)) / np.maximum(
            shapely.area(a), shapely.area(b)
        )
        kept = np.round(share, 6) >= least
        return some[left][kept], others[right][kept], np.round(share[kept], 6)
