"""Whether the hits of a search are near, compared with random pairs of chips."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from dcsh_pg.database.archives.registry import ArchiveRecord
from dcsh_pg.database.search.hits import Hit
from dcsh_pg.database.search.query import ChipQuery, CodeQuery, Query
from dcsh_pg.database.search.statistics import pair_shares

FAR_SHARE = 0.01
"""Hits are near where fewer random pairs of chips are as near as the first."""
FEWEST_CHIPS = 100
"""Fewer chips say little of how far random pairs are apart."""


def nothing_near(
    conn: psycopg.Connection, archive: ArchiveRecord, query: Query, hits: Sequence[Hit]
) -> str | None:
    """One line for people where not even the first hit is near; None where it is, or nothing can be said.

    Few random pairs are as near as a hit that is similar.  Where many chips are nearly equal, as calm water is,
    a hit at a small distance is near all the same: at less than half the median.
    """
    if not isinstance(query, CodeQuery | ChipQuery) or not hits or archive.chips < FEWEST_CHIPS:
        return None
    if isinstance(query, CodeQuery) and query.of_text:
        return None  # pairs of chips say nothing of the distance between a text and a chip
    distance, share = hits[0].distance, hits[0].pair_share
    if distance == 0 or share is None or share < max(FAR_SHARE, 10 / archive.chips):
        return None
    shares = pair_shares(conn, archive.name)
    if shares[min(2 * distance, len(shares) - 1)] < 0.5:
        return None
    return (
        f"nothing near: the first hit differs in {distance} of {archive.bits} "
        f"bits, and {share:.1%} of random pairs of chips differ in no more"
    )
