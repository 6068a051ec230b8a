"""Hits that show themselves: in a session, in a notebook, as a data frame."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, SupportsIndex, overload

from dcsh_pg import results
from dcsh_pg.database.search.hits import Hit
from dcsh_pg.results.html import hits_html
from dcsh_pg.results.record import place, scene_name, utc
from dcsh_pg.terminal import printable

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from pandas import DataFrame
    from shapely.geometry.base import BaseGeometry

    from dcsh_pg.archive.opened import OpenArchive
    from dcsh_pg.database.search.query import Query

MOST_SHOWN = 20
"""Lines of ``repr``."""


class Hits(list[Hit]):
    """The hits of a search, nearest first: a list of :class:`dcsh_pg.database.search.hits.Hit`.

    A notebook shows them with their pictures.

    Attributes:
        archive: where they were found.
        query: what they were compared with.
        area: where they were searched for, in degrees; None is everywhere.
        note: one line where nothing near was found, or None:
            :func:`dcsh_pg.database.search.nearness.nothing_near`.
    """

    def __init__(
        self,
        hits: Iterable[Hit],
        archive: OpenArchive,
        query: Query,
        area: BaseGeometry | None = None,
        note: str | None = None,
    ):
        super().__init__(hits)
        self.archive = archive
        self.query = query
        self.area = area
        self.note = note

    @overload
    def __getitem__(self, index: SupportsIndex) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Hits: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Hit | Hits:
        if isinstance(index, slice):
            return Hits(super().__getitem__(index), self.archive, self.query, self.area, self.note)
        return super().__getitem__(index)

    def __repr__(self) -> str:
        lines = [self._heading()]
        for rank, hit in enumerate(self[:MOST_SHOWN], start=1):
            day = f"{utc(hit.acquired):%Y-%m-%d}" if hit.acquired else ""
            words = [f"distance {hit.distance:>3}", f"chip {hit.id}", day, place(hit.footprint)]
            scene = printable(scene_name(hit.uri))
            lines.append("  ".join([f"{rank:>3}", *filter(None, words), scene]))
        return "\n".join([*lines, "..."] if len(self) > MOST_SHOWN else lines)

    def _repr_html_(self) -> str:
        return hits_html(
            self, heading=self._heading(), read_chip=self.archive.read_chip, query=self.query
        )

    def _heading(self) -> str:
        found = f"{len(self)} hit{'s' * (len(self) != 1)} in archive '{self.archive.name}'"
        if any(hit.approximate for hit in self):
            found += " (approximate)"
        if self.note:
            found += f"; {self.note}"
        return (
            f"{found}, distance {self[0].distance} to {self[-1].distance} bits" if self else found
        )

    def show(self) -> None:
        """Shows the hits: with their pictures in a notebook, elsewhere as a table on stdout."""
        try:
            from IPython.core.getipython import get_ipython
            from IPython.display import display

            in_notebook = getattr(get_ipython(), "kernel", None) is not None
        except ImportError:
            in_notebook = False
        if in_notebook:
            display(self)  # type: ignore[no-untyped-call]
        else:
            results.show(self)

    def write(self, path: Path | str, *, title: str = "") -> None:
        """Writes the hits in the format that the end of the file's name selects.

        ``.png`` is a contact sheet with the query, ``.map.png`` a map:
        :func:`dcsh_pg.results.write`.

        Raises:
            UsageError: no output has this suffix.
            OutputError: the file cannot be written, or a library is not installed.
        """
        results.write(
            self,
            path,
            query=self.query,
            area=self.area,
            read_chip=self.archive.read_chip,
            title=title,
        )

    def to_geopandas(self) -> GeoDataFrame:
        """A GeoDataFrame in EPSG:4326, nearest first, with the chips' ids as index.

        The columns are those of :func:`dcsh_pg.results.to_geopandas`.

        Raises:
            OutputError: the extra ``geo`` is not installed.
        """
        return results.to_geopandas(self)

    def to_pandas(self) -> DataFrame:
        """:meth:`to_geopandas` without the column ``geometry``."""
        import pandas

        frame: DataFrame = pandas.DataFrame(self.to_geopandas().drop(columns="geometry"))
        return frame
