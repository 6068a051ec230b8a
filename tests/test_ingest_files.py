"""Files that are renamed, replaced, or named oddly between and during runs; the same on a cluster."""

import itertools
import os
import shutil

import numpy as np
import psycopg
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from dcsh_pg import Archive
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.archives.source_table import source_rows
from dcsh_pg.imagery.sources.listed import listed_scenes
from dcsh_pg.imagery.sources.table import table_listing
from dcsh_pg.ingest import batches, hashing, ingest

CONTENTS = "ABC"
NAMES = ("1-previous.tif", "latest.tif", "z-previous.tif")


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """A small georeferenced raster for each letter."""
    folder = tmp_path_factory.mktemp("contents")
    for n, letter in enumerate(CONTENTS):
        pixels = np.random.default_rng(n).integers(0, 255, (3, 64, 64), np.uint8)
        with rasterio.open(
            folder / letter, "w", "GTiff", 64, 64, 3, "EPSG:32630", from_origin(7e5 + n, 4e6, 1, 1),
            "uint8",
        ) as file:  # fmt: skip
            file.write(pixels)
    return folder


def place(contents, folder, files):
    """Makes ``folder`` hold the named contents and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, letter in files.items():
        shutil.copy(contents / letter, folder / name)


def stored(archive):
    """URI -> content hash and code of what an archive holds; every chip has a scene."""
    rows = archive.connection.execute(
        f"""
        SELECT s.uri, s.content_hash, c.code::text
        FROM dcsh.scene s FULL JOIN dcsh.{archive.record.name} c ON c.scene_id = s.id
        WHERE s.archive_id = %s OR s.id IS NULL
        """,
        [archive.record.id],
    ).fetchall()
    assert len({uri for uri, _, _ in rows}) == len(rows)
    return {os.path.basename(uri): rest for uri, *rest in rows}


@pytest.mark.parametrize("name", ["1-previous.tif", "z-previous.tif"])
def test_a_renamed_file_and_the_new_one_of_its_name_are_both_stored(
    database, model_file, contents, tmp_path, name
):
    """The renamed file comes before or after the other in the order of the run."""
    folder = tmp_path / "scenes"
    archive = Archive.create("a", model_file, dsn=database)
    place(contents, folder, {"latest.tif": "A"})
    archive.ingest([str(folder)])
    old = stored(archive)["latest.tif"]
    place(contents, folder, {"latest.tif": "B", name: "A"})
    report = archive.ingest([str(folder)])
    assert (report.stored, report.failed) == (2, 0)
    assert stored(archive)[name] == old
    assert stored(archive)["latest.tif"] != old
    assert archive.ingest([str(folder)]).known == 2


def test_any_change_of_files_gives_the_rows_of_a_clean_run_but_for_ids(
    database, model_file, contents, tmp_path
):
    """All ways from one folder to another, of at most three contents under at most three names."""
    folder = tmp_path / "scenes"
    states = [
        dict(zip(names, letters, strict=True))
        for names in (NAMES[1:], NAMES)
        for letters in itertools.permutations(CONTENTS, len(names))
    ]
    hasher = Archive.create("a", model_file, dsn=database).hasher
    for first, second in itertools.islice(itertools.product(states, states), 0, None, 17):
        archive = Archive.create("b", model_file, dsn=database)
        archive.__dict__["hasher"] = hasher
        for files in (first, second):
            place(contents, folder, files)
            report = archive.ingest([str(folder)])
            assert report.failed == 0
        clean = Archive.create("c", model_file, dsn=database)
        clean.__dict__["hasher"] = hasher
        clean.ingest([str(folder)])
        found = stored(archive)
        assert {name: found[name] for name in second} == stored(clean), (first, second)
        gone = set(found) - set(second)  # a file that is no longer there is no reason to forget it
        assert all(first[name] not in second.values() for name in gone)
        for each in (archive, clean):
            registry.drop_archive(each.connection, each.record.name)
            each.connection.close()


def test_a_copy_of_a_file_is_no_renamed_file(database, model_file, contents, tmp_path):
    folder = tmp_path / "scenes"
    archive = Archive.create("a", model_file, dsn=database)
    place(contents, folder, {"latest.tif": "A"})
    archive.ingest([str(folder)])
    shutil.copy(folder / "latest.tif", tmp_path / "copy.tif")
    report = archive.ingest([str(tmp_path / "copy.tif")])
    assert (report.known, report.renamed, list(stored(archive))) == (1, 0, ["latest.tif"])


def test_an_image_that_is_listed_twice_is_one_scene_by_its_first_entry(
    database, model_file, tmp_path
):
    """In one flush, with another place for the second; also as scenes of a caller's own."""
    Image.new("RGB", (64, 64), "navy").save(tmp_path / "a.png")
    archive = Archive.create("a", model_file, dsn=database)
    archive.connection.execute("CREATE TABLE public.tiles (location text, geom polygon)")
    archive.connection.execute(
        "INSERT INTO public.tiles SELECT %s, polygon(box(point(n, 0), point(n + 1, 1)))"
        " FROM generate_series(1, 3) n",
        [str(tmp_path / "a.png")],
    )
    query = "SELECT id, geom::text, code FROM dcsh.a"
    report = archive.ingest_table("public.tiles", geometry="geom")
    assert (report.scenes, report.stored, report.failed) == (1, 1, 0)
    [first] = archive.connection.execute(query).fetchall()
    assert archive.ingest_table("public.tiles", geometry="geom").known == 1
    assert archive.connection.execute(query).fetchall() == [first]

    rows = source_rows(archive.connection, "public.tiles", geometry="geom")
    listed = list(table_listing(rows, table="public.tiles"))
    scenes = [
        scene
        for entry in (listed[1], listed[2], listed[0])
        for scene in listed_scenes([entry], reading=archive.reading, bands=3)
    ]
    loader = Loader(archive.connection, archive.record)
    for known in (0, 1):
        report = ingest(scenes, archive.hasher, loader)
        assert (report.scenes, report.known, report.failed) == (1, known, 0)
    [other] = archive.connection.execute(query).fetchall()
    assert other[0] == 2 and other[1] != first[1] and other[2] == first[2]


def test_a_name_that_is_not_utf8_fails_alone(database, model_file, contents, tmp_path):
    folder = tmp_path / "scenes"
    place(contents, folder, {"latest.tif": "A"})
    shutil.copy(contents / "B", os.path.join(os.fsencode(folder), b"b\xfcro.tif"))
    archive = Archive.create("a", model_file, dsn=database)
    report = archive.ingest([str(folder)])
    assert (report.stored, report.failed) == (1, 1)
    [error] = registry.ingest_errors(archive.connection, "a")
    assert error.uri.endswith(r"b\xfcro.tif")


def test_pictures_of_many_sizes_wait_within_a_bound(database, model_file, tmp_path, monkeypatch):
    """Of many sizes none fills a batch; the rows do not depend on the bounds."""
    from PIL import Image

    random = np.random.default_rng(0)
    for n in range(30):
        shape = (int(random.integers(9, 60)), int(random.integers(9, 60)), 3)
        Image.fromarray(random.integers(0, 255, shape, np.uint8)).save(tmp_path / f"{n}.png")
    wide = Archive.create("a", model_file, sources=[str(tmp_path)], dsn=database)
    wide.ingest([str(tmp_path)])
    monkeypatch.setattr(batches, "BATCH_BYTES", 20_000)
    monkeypatch.setattr(batches, "WAITING_BYTES", 30_000)
    monkeypatch.setattr(hashing, "REQUESTED_BYTES", 20_000)
    most = []
    add = batches.Batches.add

    def spied(self, hashed, pixels):
        add(self, hashed, pixels)
        most.append(self.waiting)

    monkeypatch.setattr(batches.Batches, "add", spied)
    narrow = Archive.create("b", model_file, sources=[str(tmp_path)], dsn=database)
    narrow.ingest([str(tmp_path)])
    assert 0 < max(most) <= 30_000
    with psycopg.connect(database) as conn:
        codes = [
            conn.execute(f"SELECT code::text FROM dcsh.{name} ORDER BY id").fetchall()
            for name in "ab"
        ]
    assert len(codes[0]) == 30 and codes[0] == codes[1]
