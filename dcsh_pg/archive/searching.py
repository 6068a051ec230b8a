"""Questions: what is like this, what changed, what is there twice."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from shapely.geometry import mapping

from dcsh_pg.archive.opened import OpenArchive
from dcsh_pg.archive.query import Query
from dcsh_pg.database.archives import registry
from dcsh_pg.database.search import change, examples, near_duplicates, pgstac, statistics
from dcsh_pg.database.search import similar as search
from dcsh_pg.errors import InputError, UsageError

if TYPE_CHECKING:
    from shapely import Geometry

    from dcsh_pg.database.search.change import Change, Period
    from dcsh_pg.database.search.near_duplicates import NearDuplicate
    from dcsh_pg.database.search.similar import Hit
    from dcsh_pg.database.search.statistics import (
        BitStatistics,
        CodeStatistics,
        CoverageCell,
        FrequentCode,
    )


class Searching(OpenArchive):
    """Searches, and the queries to search for; each is a SQL function."""

    def similar(
        self,
        code: bytes | np.ndarray,
        *,
        k: int = 10,
        area: Geometry | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        max_distance: int | None = None,
    ) -> list[Hit]:
        """The ``k`` chips nearest to ``code``, by (distance, id): ``dcsh.similar``.

        ``area`` is a shapely geometry in EPSG:4326 that the footprint must meet; ``since`` is
        included, ``until`` is not; ``max_distance`` is in bits.

        Raises:
            ModelError: the code has another length than the archive's.
        """
        return search.similar(
            self.connection,
            self.record.name,
            self._checked(code),
            k=k,
            area=area,
            since=since,
            until=until,
            max_distance=max_distance,
        )

    def similar_to(self, chip: int, **filters) -> list[Hit]:
        """The chips nearest to chip ``chip``, itself left out: ``dcsh.similar_to``.

        Takes the filters of :meth:`similar`.
        """
        return search.similar_to(self.connection, self.record.name, chip, **filters)

    def similar_to_examples(
        self, likes: Sequence[int], unlikes: Sequence[int] = (), **options
    ) -> list[Hit]:
        """The chips most like chips ``likes`` and no nearer to ``unlikes``, all of them left out.

        ``rule`` is 'min', the distance to the nearest of them, or 'mean', that to all; the other
        options are the filters of :meth:`similar`: ``dcsh.similar_to_examples``.
        """
        return examples.similar_to_examples(
            self.connection, self.record.name, likes, unlikes, **options
        )

    def similar_region(self, region: Geometry, **options) -> list[Hit]:
        """The chips most like those that cover ``region`` (EPSG:4326), which are left out.

        Takes the options of :meth:`similar_to_examples`, and ``min_share``, how far a chip must
        overlap the region, as a share of what the chip does that overlaps it most:
        ``dcsh.similar_region``.

        Raises:
            NotFound: no chip covers the region.
        """
        return examples.similar_region(self.connection, self.record.name, region, **options)

    def similar_in_stac(self, query: Query, cql2: dict[str, Any], **filters) -> list[Hit]:
        """The chips nearest to a query, of those whose STAC item in pgstac meets a CQL2-JSON filter.

        The query is an image, a code or one chip, which is left out; the filters are those of
        :meth:`similar`: ``dcsh.similar_in_stac``.

        Raises:
            ServerError: the database has no pgstac.
            UsageError: pgstac does not take the filter, or the query is several chips.
        """
        if query.code is None:
            raise UsageError(
                f"{query.caption} cannot be searched for under a filter of STAC items",
                hint="look for an image, one chip, a place or a code",
            )
        return pgstac.similar_in_stac(
            self.connection, self.record.name, query.code, cql2, other_than=query.chip, **filters
        )

    def similar_to_place(self, lon: float, lat: float, **filters) -> list[Hit]:
        """The chips nearest to the chip at a place (degrees, EPSG:4326): ``dcsh.chip_at``."""
        return self.similar_to(self.chip_at(lon, lat), **filters)

    def similar_to_image(
        self,
        path: str | Path,
        *,
        window: tuple[int, int, int, int] | None = None,
        **filters,
    ) -> list[Hit]:
        """The chips nearest to an image of any size, hashed with the archive's own model."""
        return self.search(self.query_image(path, window=window), **filters)

    def search(self, query: Query, **filters) -> list[Hit]:
        """The chips nearest to a query of any kind; query chips are left out of the hits."""
        if query.likes:
            return self.similar_to_examples(query.likes, query.unlikes, **filters)
        if query.region is not None:
            return self.similar_region(query.region, **filters)
        if query.chip is not None:
            return self.similar_to(query.chip, **filters)
        return self.similar(query.code, **filters)

    def query_image(
        self, path: str | Path, *, window: tuple[int, int, int, int] | None = None
    ) -> Query:
        """An image file as a query; ``window`` is column, row, width, height in pixels.

        Raises:
            InputError: the image cannot be read.
            NotFound: the archive was dropped or replaced since it was opened.
        """
        registry.check_unchanged(self.connection, self.record)
        image = self._read_query(path, window)
        code = bytes(self.hasher.hash(image.pixels)[0])
        return Query(code, Path(path).name, pixels=image.pixels[0], resolution=image.resolution)

    def relative_scale(self, query: Query) -> float | None:
        """How much more ground the picture of a query shows than a chip of the archive, by side.

        2.0 is twice as wide.  A model hashes every picture as a whole, so one of another scale than
        the chips looks like none of them.  Where the resolution of the picture or of the model is
        not known, sizes in pixels are compared; None where chips have no size of their own.
        """
        if query.pixels is None:
            return None
        card = self.record.card
        side = math.sqrt(query.pixels.shape[0] * query.pixels.shape[1])
        if query.resolution and card.resolution:
            chip_side = (self.reading.chip_size or card.chip_size) * card.resolution
            return side * query.resolution / chip_side
        return side / self.reading.chip_size if self.reading.chip_size else None

    def query_chip(self, chip: int) -> Query:
        """A chip of the archive as a query; without pixels where its file is gone.

        Raises:
            NotFound: no such chip.
        """
        found = search.chip(self.connection, self.record.name, chip)
        pixels = None
        with contextlib.suppress(InputError):
            pixels = self.read_chip(found)
        return Query(
            self.code_of(chip),
            f"chip {chip}",
            chip=chip,
            pixels=pixels,
            footprint=found.footprint,
        )

    def query_examples(self, likes: Sequence[int], unlikes: Sequence[int] = ()) -> Query:
        """Several chips of the archive as a query, see :meth:`similar_to_examples`.

        Its picture and place are those of the first.

        Raises:
            UsageError: no likes.
            NotFound: no such chip.
        """
        if not likes:
            raise UsageError("no chip is liked", hint="name at least one chip")
        caption = f"like {', '.join(map(str, likes))}"
        if unlikes:
            caption += f"; unlike {', '.join(map(str, unlikes))}"
        first = self.query_chip(likes[0])
        return replace(first, code=None, chip=None, caption=caption, likes=likes, unlikes=unlikes)

    def query_region(self, region: Geometry) -> Query:
        """A region in EPSG:4326 as a query, see :meth:`similar_region`."""
        return Query(None, "region", footprint=mapping(region), region=region)

    def within(self, code: bytes | np.ndarray, radius: int, **filters) -> list[Hit]:
        """All chips within ``radius`` bits of ``code``, by (distance, id): ``dcsh.within``."""
        return search.within(
            self.connection, self.record.name, self._checked(code), radius, **filters
        )

    def change(self, before: Period, after: Period, **options) -> list[Change]:
        """The places seen in both periods, the most changed first: ``dcsh.change``.

        A period is (since, until), each a time or None; ``until`` is not included.  Options are
        ``area``, ``min_overlap`` and ``k``, see :func:`dcsh_pg.database.search.change.change`.
        """
        return change.change(self.connection, self.record.name, before, after, **options)

    def near_duplicates(self, radius: int, **filters) -> list[NearDuplicate]:
        """Groups of chips connected by steps of at most ``radius`` bits, by (group_id, id).

        Takes the filters ``area``, ``since`` and ``until`` of :meth:`similar`:
        ``dcsh.near_duplicates``.
        """
        return near_duplicates.near_duplicates(self.connection, self.record.name, radius, **filters)

    def code_statistics(self) -> CodeStatistics:
        """How many different codes there are, and how they use their bits: ``dcsh.code_statistics``."""
        return statistics.code_statistics(self.connection, self.record.name)

    def bit_statistics(self) -> list[BitStatistics]:
        """How balanced each bit of the codes is: ``dcsh.bit_statistics``."""
        return statistics.bit_statistics(self.connection, self.record.name)

    def pair_distances(self, sample: int = 256) -> dict[int, int]:
        """Distance -> pairs of chips at it, of so many chips spread over the archive:
        ``dcsh.pair_distances``."""
        return statistics.pair_distances(self.connection, self.record.name, sample)

    def frequent_codes(self, most: int = 10) -> list[FrequentCode]:
        """The codes that most chips have, as black or cloudy ones do: ``dcsh.frequent_codes``."""
        return statistics.frequent_codes(self.connection, self.record.name, most)

    def coverage(self, **options) -> list[CoverageCell]:
        """Where and when there are chips, on a grid of ``cell`` degrees: ``dcsh.coverage``.

        ``every`` 'month', 'year' and so on gives a row for each such period; ``area``, ``since``
        and ``until`` are the filters of :meth:`similar`.
        """
        return statistics.coverage(self.connection, self.record.name, **options)

    def chip_at(self, lon: float, lat: float) -> int:
        """The id of the chip at a place: ``dcsh.chip_at``.

        Raises:
            NotFound: no chip covers the place.
        """
        return search.chip_at(self.connection, self.record.name, lon, lat)

    def code_of(self, chip: int) -> bytes:
        """The packed code of a chip."""
        return search.code_of(self.connection, self.record.name, chip)

    def labelled_codes(self, label: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Ids (N,), codes uint8 (N, K/8) and the scenes' property ``label`` for every chip with one."""
        return search.labelled_codes(self.connection, self.record.name, label)
