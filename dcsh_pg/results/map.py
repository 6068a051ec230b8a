"""Rows on a map: their footprints coloured by distance, the search area outlined, by matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from dcsh_pg.results.outputs import Picture
from dcsh_pg.results.record import Table, to_geometry
from dcsh_pg.results.view import View, latitude, longitude
from dcsh_pg.terminal import printable

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path as Outline

WIDTH = 7.2
"""Inches of the map itself."""

SMALLEST = 5.0
"""Points: a footprint that is smaller on the map in both directions becomes a dot."""
DOT = 30.0
"""Area of a dot in square points."""

MOST_NUMBERED = 30
"""Of more rows none is numbered."""
ROOMY = 20.0
"""Points: from this size on a footprint has its number inside."""
APART = 15.0
"""Points: rows nearer to each other share one number."""

PAPER, LAND, INK, GREY, HAIRLINE = "#ffffff", "#f6f7f8", "#1d1f24", "#6c727d", "#e3e5e9"
AREA, QUERY, PLAIN, UNKNOWN = "#d55e00", "#cc2a8b", "#0072b2", "#b9bec6"
COLOURS = "viridis"
"""Even in lightness and safe for the colour-blind: near is dark, far is light."""


def draw_map(table: Table, picture: Picture = Picture()) -> Figure:
    """Draws the footprints in longitude and latitude, true to scale in the middle of the map.

    The first rows lie on top.  Footprints too small to be seen become dots; up to
    ``MOST_NUMBERED`` rows are numbered in their order.  Rows on both sides of the antimeridian
    are shown together.  Rows without footprint are counted in the line below the title.  The area
    is outlined, and the footprint of the query outlined and marked with a star.

    Returns:
        A figure that no window shows; ``savefig`` writes it.
    """
    from matplotlib.figure import Figure

    area = _shown(picture.area)
    query = _shown(to_geometry(picture.query.footprint if picture.query else None))
    footprints = {row: place for row, place in enumerate(table.footprints) if _shown(place)}
    view = View.of([place for place in (*footprints.values(), area, query) if place is not None])
    placed = {row: view.moved_in(place) for row, place in footprints.items() if place is not None}
    colour_by = picture.colour_by
    if colour_by is None and "distance" in table.types:
        colour_by = "distance"

    height = WIDTH * view.height * view.stretch / view.width
    figure = Figure(figsize=(WIDTH + 1.7, height + 1.5), layout="constrained", facecolor=PAPER)
    axes = _axes(figure, view)
    legend: list[Artist] = []
    if area is not None:
        legend.append(_outline_area(axes, view.moved_in(area)))
    if placed:
        values = [table.columns[colour_by][row] for row in placed] if colour_by else None
        legend += _footprints(figure, axes, view, list(placed.values()), values, colour_by)
    if query is not None and picture.query is not None:
        legend.append(_mark_query(axes, view.moved_in(query), picture.query.caption))
    if len(placed) <= MOST_NUMBERED:
        _number(axes, view, placed)
    _scale_bar(axes, view)
    _headings(axes, picture.title, len(placed), len(table))
    _legend(axes, legend)
    return figure


def _shown(geometry: BaseGeometry | None) -> BaseGeometry | None:
    """The geometry, or None where there is nothing to show."""
    return None if geometry is None or geometry.is_empty else geometry


def _axes(figure: Figure, view: View) -> Axes:
    from matplotlib.ticker import MaxNLocator

    axes = figure.add_subplot(facecolor=LAND)
    axes.set_xlim(view.west, view.east)
    axes.set_ylim(view.south, view.north)
    axes.set_aspect(view.stretch)
    axes.grid(color=HAIRLINE, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_color(HAIRLINE)
    axes.tick_params(colors=GREY, length=0, labelsize=9)
    steps = [1, 1.5, 3, 4.5, 6, 9, 10] if view.width > 20 else [1, 2, 2.5, 5, 10]
    for axis, words in ((axes.xaxis, longitude), (axes.yaxis, latitude)):
        axis.set_major_locator(MaxNLocator(nbins=5, steps=steps))
        axis.set_major_formatter(partial(_label, words))
    return axes


def _label(words: Callable[[float], str], degrees: float, _position: int | None) -> str:
    return words(degrees)


def _footprints(
    figure: Figure,
    axes: Axes,
    view: View,
    places: Sequence[BaseGeometry],
    values: Sequence[float | None] | None,
    column: str | None,
) -> list[Artist]:
    """Draws polygons and dots, the first on top, in the colours of ``values``.

    Returns:
        Entries of the legend beside the colour bar.
    """
    from matplotlib.collections import PathCollection
    from matplotlib.colors import to_rgba

    legend: list[Artist] = []
    if values is None or column is None:
        faces = np.array([to_rgba(PLAIN)] * len(places))
    else:
        faces, legend = _colours(figure, axes, values, column)
    backwards = np.array(places, dtype=object)[::-1]
    faces = faces[::-1]
    is_dot = np.array([view.points(place, WIDTH) < SMALLEST for place in backwards])
    outlines = [_path(place) for place in backwards[~is_dot]]
    if outlines:
        polygons = PathCollection(
            outlines, facecolors=faces[~is_dot], linewidths=0.6, edgecolors=INK, zorder=3
        )
        axes.add_collection(polygons, autolim=False)
    if is_dot.any():
        centres = shapely.get_coordinates(shapely.centroid(backwards[is_dot]))
        axes.scatter(
            centres[:, 0], centres[:, 1], s=DOT, c=faces[is_dot], linewidths=0.5, edgecolors=INK,
            zorder=3,
        )  # fmt: skip
    return legend


def _colours(
    figure: Figure, axes: Axes, values: Sequence[float | None], column: str
) -> tuple[np.ndarray, list[Artist]]:
    """RGBA (N, 4) of numbers, and the legend where all are equal or some unknown."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    numbers = np.ma.masked_invalid(np.array(values, dtype=float))
    low, high = (numbers.min(), numbers.max()) if numbers.count() else (0.0, 0.0)
    scale = ScalarMappable(Normalize(low, high), colormaps[COLOURS].with_extremes(bad=UNKNOWN))
    legend: list[Artist] = []
    if low < high:
        bar = figure.colorbar(scale, ax=axes, shrink=0.8, aspect=28, pad=0.02)
        bar.locator = MaxNLocator(nbins=6, integer=high - low >= 3 or column == "distance")
        bar.update_ticks()
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors=GREY, length=0, labelsize=9)
        label = "Hamming distance (bits)" if column == "distance" else column
        bar.set_label(label, color=GREY, fontsize=9.5, parse_math=False)
    elif numbers.count():
        legend.append(Patch(fc=scale.to_rgba(np.array(low)), ec=INK, label=f"{column} {low:g}"))
    if numbers.count() < len(numbers):
        legend.append(Patch(fc=UNKNOWN, ec=INK, label=f"{column} unknown"))
    return scale.to_rgba(numbers), legend


def _path(geometry: BaseGeometry) -> Outline:
    """The rings of a polygon or several as one path, holes left open."""
    from matplotlib.path import Path as Outline

    # A hole stays open where its ring runs the other way round than the outer one.
    rings = shapely.get_rings([orient(part) for part in shapely.get_parts(geometry)])
    return Outline.make_compound_path(
        *(Outline(shapely.get_coordinates(ring), closed=True) for ring in rings)
    )


def _outline_area(axes: Axes, area: BaseGeometry) -> Artist:
    from matplotlib.lines import Line2D
    from matplotlib.patches import PathPatch

    width, dashes = 1.6, (0, (5, 2.5))
    axes.add_patch(PathPatch(_path(area), fill=False, ec=AREA, zorder=4, lw=width, ls=dashes))
    return Line2D([], [], color=AREA, label="search area", lw=width, ls=dashes)


def _mark_query(axes: Axes, place: BaseGeometry, caption: str) -> Artist:
    from matplotlib.patches import PathPatch

    axes.add_patch(PathPatch(_path(place), fill=False, ec=QUERY, lw=1.6, zorder=5))
    [star] = axes.plot(
        place.centroid.x, place.centroid.y, ls="", marker="*", ms=11, mfc=QUERY, mec=PAPER, mew=1,
        zorder=6, label=f"query: {printable(caption)}",
    )  # fmt: skip
    return star


def _number(axes: Axes, view: View, placed: Mapping[int, BaseGeometry]) -> None:
    """Writes the numbers of the rows, from 1, at their footprints; neighbours share one text."""
    unit = view.width / (72 * WIDTH)
    groups: list[tuple[np.ndarray, list[int]]] = []
    for row, place in placed.items():
        at = np.array([place.centroid.x, place.centroid.y * view.stretch]) / unit
        near = next((rows for other, rows in groups if np.hypot(*(at - other)) < APART), None)
        if near is None:
            groups.append((at, [row]))
        else:
            near.append(row)
    for _, rows in groups:
        west, _, east, north = placed[rows[0]].bounds
        is_roomy = view.points(placed[rows[0]], WIDTH) > ROOMY
        axes.annotate(
            _in_words([row + 1 for row in rows]), (west if is_roomy else east, north),
            xytext=(3, -3) if is_roomy else (3, 1), textcoords="offset points",
            va="top" if is_roomy else "baseline", fontsize=8, zorder=7, **_with_halo(),
        )  # fmt: skip


def _in_words(numbers: Sequence[int]) -> str:
    """'1, 4, 7', and of more than four the first three and how many there are."""
    if len(numbers) <= 4:
        return ", ".join(map(str, numbers))
    return f"{', '.join(map(str, numbers[:3]))} and {len(numbers) - 3} more"


def _scale_bar(axes: Axes, view: View) -> None:
    bar = view.scale_bar()
    if bar is None:
        return
    length, words = bar
    x, y = view.west + 0.025 * view.width, view.south + 0.025 * view.height
    axes.plot([x, x + length], [y, y], lw=2, zorder=7, solid_capstyle="butt", **_with_halo())
    axes.annotate(
        words, (x + length / 2, y), xytext=(0, 4), textcoords="offset points", ha="center",
        fontsize=8.5, zorder=7, **_with_halo(),
    )  # fmt: skip


def _with_halo() -> dict[str, Any]:
    """Keywords that keep ink readable on any colour."""
    from matplotlib.patheffects import withStroke

    return {"color": INK, "path_effects": [withStroke(linewidth=3, foreground=PAPER)]}


def _headings(axes: Axes, title: str, shown: int, rows: int) -> None:
    """The title, and below it what the map cannot show."""
    note = f"without footprint: {rows - shown} of {rows}" if rows else "nothing was found"
    has_note = shown < rows or not rows
    axes.set_title(
        printable(title),
        loc="left",
        color=INK,
        fontsize=12,
        pad=22 if has_note else 8,
        parse_math=False,
    )
    if has_note:
        axes.text(0, 1.02, note, transform=axes.transAxes, color=GREY, fontsize=10)


def _legend(axes: Axes, handles: Sequence[Artist]) -> None:
    if not handles:
        return
    legend = axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.06), frameon=False,
        ncols=min(len(handles), 4), labelcolor=INK, fontsize=9.5,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
