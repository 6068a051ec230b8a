"""All steps from imagery to hits, on synthetic imagery or the user's own.

The model comes with the package, or is trained.  The result of every step is kept, and a step whose
result exists is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import psycopg
import shapely
from PIL import Image
from shapely.geometry import Polygon, box, shape
from shapely.geometry.base import BaseGeometry

from dcsh_pg import codes, results
from dcsh_pg.archive import Archive
from dcsh_pg.database.archives import registry
from dcsh_pg.database.search.chips import code_of
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.hits import Hit
from dcsh_pg.database.search.query import CodeQuery, Query
from dcsh_pg.database.server import schema
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import NotFound
from dcsh_pg.extras import requires
from dcsh_pg.hasher import Hasher
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.imagery.reading import Reading
from dcsh_pg.imagery.sources.files import are_plain_pictures, find_scenes
from dcsh_pg.ingest import Pipeline
from dcsh_pg.progress import SILENT, Progress
from dcsh_pg.synthetic import MODEL
from dcsh_pg.synthetic.archive import make_archive

CHIP_SIZE = 128
MOST_CHIPS = 2000
"""Most chips of the user's own imagery in training."""

SAMPLE = 500
"""Chips among which the demo chooses its queries."""

CANDIDATES = 40

DISTANCES = 6
"""Different distances among the nearest hits that make a ranking worth showing."""

K = 10

EPOCHS = 15
"""Half of the default from random weights; enough for so little imagery."""


@dataclass(frozen=True)
class Search:
    """One of the demo's searches.

    Attributes:
        title: its query, for people.
        command: the same on the command line.
        hits: the hits.
        files: the files written.
    """

    title: str
    command: str
    hits: list[Hit]
    files: tuple[Path, ...]


def demo(
    folder: Path,
    *,
    imagery: Path | None = None,
    train: bool = False,
    dsn: str | None = None,
    pg_bin: Path | None = None,
    progress: Progress = SILENT,
) -> Iterator[Search]:
    """Makes synthetic imagery or uses the user's, ingests it, and yields three searches.

    Args:
        folder: for the scenes, the hits and what training makes; created if needed.
        imagery: folder of the user's own scenes.
        train: train a model on the imagery and export it, rather than use the package's own.

    Raises:
        DcshError: of any step.
    """
    name = archive_name(imagery)
    source = imagery
    model = folder / "model.onnx" if train else MODEL
    if not model.exists():
        # Checked before any work.
        with requires("train", "train"):
            from dcsh_pg.export import export_run  # noqa: F401
    with connect(dsn, pg_bin=pg_bin) as conn:
        schema.require_current(conn)
    if source is None:
        source = folder / "scenes"
        if not (source / "labels.geojson").exists():
            make_archive(source, progress=progress)
    if not model.exists():
        _train(source, folder / "run", model, name, progress)
    with connect(dsn, pg_bin=pg_bin) as conn:
        _forget_older(conn, name, model, progress)
    archive = Archive.create(name, model, sources=[str(source)], dsn=dsn, pg_bin=pg_bin)
    report = archive.ingest(
        [str(source)],
        options=SceneOptions(georeference=False),
        pipeline=Pipeline(progress=progress),
    )
    progress.note(f"ingested into archive '{name}': {report.summary()}")
    if not report.chips and not report.known:
        report.raise_for_failures()
    yield from _searches(archive, folder)


def archive_name(imagery: Path | None) -> str:
    """The name of the demo's archive: 'dcsh_demo', or that and the folder's name."""
    if imagery is None:
        return "dcsh_demo"
    slug = re.sub(r"[^a-z0-9]+", "_", imagery.resolve().name.lower()).strip("_")
    return f"dcsh_demo_{slug}"[:48]


def _train(source: Path, run: Path, model: Path, name: str, progress: Progress) -> None:
    from dcsh_pg.export import export_run
    from dcsh_pg.learning.data.training_set import WHOLE_SIZE, gather
    from dcsh_pg.learning.model.device import choose
    from dcsh_pg.learning.model.hash_function import HASH_FUNCTION
    from dcsh_pg.learning.training.run import Run
    from dcsh_pg.methods import choose_options
    from dcsh_pg.train import train

    if not (run / HASH_FUNCTION).exists():
        size = None if are_plain_pictures([str(source)]) else CHIP_SIZE
        scenes = find_scenes(
            [str(source)],
            reading=Reading(chip_size=size),
            bands=3,
            options=SceneOptions(georeference=False),
        )
        chips = gather(scenes, size=size or WHOLE_SIZE, limit=MOST_CHIPS, progress=progress)
        options = choose_options("dcsh", epochs=EPOCHS)
        device = choose("auto")
        train(
            chips, Run(folder=run, device=device, resume=True, progress=progress), options=options
        )
    card = export_run(run, model, name=name)
    progress.note(
        f"exported {model}: {card.parity['bits']} bits compared with PyTorch, "
        f"{card.parity['differing']} differ"
    )


def _forget_older(conn: psycopg.Connection, name: str, model: Path, progress: Progress) -> None:
    """Drops the archive of an earlier demo with another model."""
    with suppress(NotFound):
        earlier = registry.get_archive(conn, name)
        if earlier.model_sha256 != Hasher(model).sha256:
            progress.note(f"archive '{name}' of an earlier demo has another model: created again")
            registry.drop_archive(conn, name)


def _searches(archive: Archive, folder: Path) -> Iterator[Search]:
    sample = archive.search(CodeQuery(code_of(archive.connection, archive.name, 1)), k=SAMPLE)
    first, second, third = _distinct(archive, sample)
    picture = folder / "query.png"
    _save_picture(archive, first, picture)
    yield _search(
        archive, folder / "1-by-image", "by image", f"--image {picture}",
        archive.query_image(picture),
    )  # fmt: skip

    chip = archive.query_chip(second.id)
    placed = {hit.id: shape(hit.footprint) for hit in sample if hit.footprint is not None}
    if not placed:
        yield _search(archive, folder / "2-by-chip", "by chip", f"--chip {second.id}", chip)
        return
    area = _western_half(list(placed.values()))
    words = "in the western half"
    options = [f"--chip {second.id}", "--area " + ",".join(f"{edge:.5f}" for edge in area.bounds)]
    times = sorted(
        {hit.acquired for hit in sample if hit.id in placed and hit.acquired is not None}
    )
    filter = Filter(area=area)
    if times:
        since = times[-1].replace(hour=0, minute=0, second=0, microsecond=0)
        until = since + timedelta(days=1)
        filter = Filter(area=area, since=since, until=until)
        words += f", on {since:%Y-%m-%d}"
        options += [f"--since {since:%Y-%m-%d}", f"--until {until:%Y-%m-%d}"]
    yield _search(
        archive, folder / "2-by-chip", f"by chip, {words}", " ".join(options), chip, filter
    )

    place = placed.get(third.id, next(iter(placed.values()))).centroid
    lon, lat = round(place.x, 5), round(place.y, 5)
    yield _search(
        archive, folder / "3-by-place", f"by place, {lon} {lat}", f"--at {lon} {lat}",
        archive.query_place(lon, lat),
    )  # fmt: skip


def _search(
    archive: Archive, stem: Path, title: str, option: str, query: Query, filter: Filter = Filter()
) -> Search:
    hits = archive.search(query, k=K, filter=filter)
    files = (stem.with_suffix(".geojson"), stem.with_suffix(".png"))
    for file in files:
        results.write(hits, file, query=query, read_chip=archive.read_chip, title=f"Search {title}")
    command = f"dcsh-pg search {archive.record.name} {option} -k {K}"
    return Search(f"Search {title}: {query.caption}", command, hits, files)


def _distinct(archive: Archive, sample: list[Hit]) -> tuple[Hit, Hit, Hit]:
    """Three chips to search for: unlike each other, with near hits of several distances."""

    def quality(chip: Hit) -> tuple[int, int]:
        distances = [hit.distance for hit in archive.similar_to(chip.id)]
        return -min(len(set(distances)), DISTANCES), sum(distances)

    some = sorted(sample[:: max(1, len(sample) // CANDIDATES)], key=quality)
    packed = np.stack(
        [
            np.frombuffer(code_of(archive.connection, archive.name, chip.id), np.uint8)
            for chip in some
        ]
    )
    apart = codes.hamming(packed, packed)
    chosen = [0]
    while len(chosen) < 3:
        chosen.append(int(np.minimum(apart[chosen].min(axis=0), archive.record.bits // 4).argmax()))
    return some[chosen[0]], some[chosen[1]], some[chosen[2]]


def _save_picture(archive: Archive, chip: Hit, file: Path) -> None:
    """Writes the query picture: the chip rotated by 180 degrees, so that no chip is equal to it."""
    pixels = archive.read_chip(chip)
    Image.fromarray(np.ascontiguousarray(pixels[::-1, ::-1])).save(file)


def _western_half(footprints: list[BaseGeometry]) -> Polygon:
    west, south, east, north = shapely.total_bounds(footprints)
    return box(*np.round([west, south, (west + east) / 2, north], 5).tolist())
