"""The pipeline on real scenes, a real model and a real server."""

import shutil
import subprocess
import sys
import time

import numpy as np
import psycopg
import pytest
from PIL import Image

from dcsh_pg import Archive, codes
from dcsh_pg.errors import InputError, ModelError, PartialSuccess, UsageError
from dcsh_pg.imagery import SceneOptions
from dcsh_pg.ingest import Pipeline, hashing
from dcsh_pg.progress import Progress

ROWS = """
    SELECT c.id, c.scene_id, c.col_off, c.row_off, c.width, c.height, c.geom::text, c.acquired,
           c.valid_fraction, c.code::text, s.uri, s.content_hash, s.chips, s.skipped
    FROM dcsh.{} c JOIN dcsh.scene s ON s.id = c.scene_id ORDER BY c.id
"""


def rows(dsn, name="a"):
    with psycopg.connect(dsn) as conn:
        return conn.execute(ROWS.format(name)).fetchall()


@pytest.fixture
def folder(scenes, tmp_path):
    return shutil.copytree(scenes, tmp_path / "scenes")


@pytest.fixture
def pictures(tmp_path):
    """Twenty small pictures, two of them of an odd size, two alike."""
    folder = tmp_path / "pictures"
    random = np.random.default_rng(0)
    for number in range(20):
        shape = (33, 30, 3) if number in (0, 7) else (32, 32, 3)
        pixels = random.integers(0, 255, shape, np.uint8)
        kind = folder / ("wet" if number % 2 else "dry")
        kind.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(kind / f"{number:02}.png")
    shutil.copy(folder / "dry" / "02.png", folder / "dry" / "04.png")
    return folder


def test_codes_are_those_of_the_model_and_a_second_run_adds_nothing(
    any_deployment, model_file, folder
):
    archive = Archive.create("a", model_file, dsn=any_deployment)
    report = archive.ingest([str(folder)])
    assert (report.scenes, report.stored, report.failed) == (4, 4, 0)
    assert report.chips == len(rows(any_deployment)) == 4 * 12 * 12
    first = rows(any_deployment)
    for row in first[:: len(first) // 7]:
        window = row[2:6]
        query = archive.query_image(row[10], window=window)
        assert codes.to_text(query.code) == row[9]

    again = archive.ingest([str(folder)])
    assert (again.known, again.stored, again.chips) == (4, 0, 0)
    assert rows(any_deployment) == first


def test_batches_and_threads_do_not_change_the_rows(database, model_file, folder, pictures):
    sources = [str(folder), str(pictures)]
    for name, batch, threads in (("a", 64, 4), ("b", 7, 1), ("c", 300, 3)):
        archive = Archive.create(name, model_file, dsn=database)
        archive.ingest(sources, pipeline=Pipeline(batch, threads))
    kept = [[(row[0], *row[2:10], *row[10:]) for row in rows(database, name)] for name in "abc"]
    assert kept[0] == kept[1] == kept[2]


def test_pictures_of_odd_sizes_do_not_hold_up_the_others(
    database, model_file, pictures, monkeypatch
):
    monkeypatch.setattr(hashing, "SCENES_UNDERWAY", 1)
    archive = Archive.create("a", model_file, sources=[str(pictures)], dsn=database)
    report = archive.ingest([str(pictures)], pipeline=Pipeline(batch=4))
    assert report.chips == 20
    assert [row[10] for row in rows(database)] == sorted(str(p) for p in pictures.glob("*/*.png"))


def test_like_pictures_of_two_names_are_two_scenes(database, model_file, pictures):
    archive = Archive.create("a", model_file, sources=[str(pictures)], dsn=database)
    archive.ingest([str(pictures)])
    assert len([r for r in rows(database) if r[10].endswith(("02.png", "04.png"))]) == 2


def test_a_bad_scene_is_recorded_and_does_not_stop_the_rest(database, model_file, folder):
    scene = sorted(folder.glob("*.tif"))[1]
    whole = scene.read_bytes()
    scene.write_bytes(whole[: len(whole) // 2])
    (folder / "empty.tif").touch()
    archive = Archive.create("a", model_file, dsn=database)
    report = archive.ingest([str(folder)])
    assert (report.stored, report.failed) == (3, 2)
    assert any("empty.tif" in line for line in report.errors)
    with pytest.raises(PartialSuccess, match="2 of 5"):
        report.raise_for_failures()
    with psycopg.connect(database) as conn:
        failed = conn.execute("SELECT uri FROM dcsh.ingest_error ORDER BY uri").fetchall()
    assert [uri.rsplit("/")[-1] for (uri,) in failed] == ["empty.tif", scene.name]

    scene.write_bytes(whole)
    (folder / "empty.tif").unlink()
    assert archive.ingest([str(folder)]).stored == 1
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT count(*) FROM dcsh.ingest_error").fetchone() == (1,)


def test_when_every_scene_fails_the_error_is_that_of_the_input(database, model_file, tmp_path):
    (tmp_path / "empty.tif").touch()
    archive = Archive.create("a", model_file, dsn=database)
    with pytest.raises(InputError, match=r"empty\.tif"):
        archive.ingest([str(tmp_path)]).raise_for_failures()


@pytest.mark.parametrize("any_deployment", ["embedded", "citus"], indirect=True)
def test_new_content_replaces_the_chips_of_a_scene(any_deployment, model_file, folder):
    archive = Archive.create("a", model_file, dsn=any_deployment)
    archive.ingest([str(folder)])
    before = rows(any_deployment)
    first, second = sorted(folder.glob("*.tif"))[:2]
    shutil.copy(second, first)
    second.unlink()
    report = archive.ingest([str(first)])
    # The file of the second scene has the name of the first now, whose content is gone.
    assert (report.known, report.renamed) == (1, 1)
    renamed = [(*row[:10], str(first), *row[11:]) for row in before if row[10] == str(second)]
    others = [row for row in before if row[10] not in (str(first), str(second))]
    assert rows(any_deployment) == sorted(renamed + others)
    before = rows(any_deployment)

    with Image.open(sorted(folder.glob("*.tif"))[-1]) as image:
        changed = image.convert("RGB").rotate(180)
    changed.save(first)
    report = archive.ingest([str(first)], options=SceneOptions(georeference=False))
    assert (report.stored, report.replaced) == (1, 1)
    assert len(rows(any_deployment)) == len(before)
    assert rows(any_deployment) != before


def test_killed_at_any_point_and_run_again_it_ends_with_the_rows_of_one_run(
    dsn, database, embedded_admin, model_file, folder
):
    clean = Archive.create("a", model_file, dsn=database)
    clean.ingest([str(folder)])
    from dcsh_pg.database.server import migrate

    migrate.upgrade(dsn)
    program = (
        "import sys, time; from dcsh_pg import Archive\n"
        "from dcsh_pg.ingest import Pipeline, batches, storing\n"
        "storing.FLUSH_CHIPS = 100\n"
        "run = batches.Batches._run\n"
        "batches.Batches._run = lambda *a: (time.sleep(0.05), run(*a))\n"
        "archive = Archive.create('a', sys.argv[1], dsn=sys.argv[2])\n"
        "print('ready', flush=True); archive.ingest([sys.argv[3]], pipeline=Pipeline(batch=16))"
    )
    command = [sys.executable, "-c", program, str(model_file), dsn, str(folder)]
    for delay in (0.0, 0.4, 0.9):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay)
        process.kill()
        process.wait()
    Archive.open("a", dsn=dsn).ingest([str(folder)])
    assert rows(dsn) == rows(database)


def test_the_index_on_codes_is_there_when_it_ends_and_no_error_where_it_cannot_be(
    hamming, model_file, folder
):
    archive = Archive.create("a", model_file, dsn=hamming)
    archive.ingest([str(folder)])
    index = "SELECT dcsh_private.code_index('a') IS NOT NULL"
    assert archive.connection.execute(index).fetchone() == (True,)

    archive = Archive.create("b", model_file, dsn=hamming)
    refuse = """
        CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'no index today'; END $$;
        CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE INDEX')
            EXECUTE FUNCTION refuse()
    """
    archive.connection.execute(refuse)
    notes = []
    progress = Progress()
    progress.note = notes.append
    report = archive.ingest([str(folder)], pipeline=Pipeline(progress=progress))
    assert (report.stored, report.failed) == (4, 0)
    assert notes == ["searches compare every code: no index today"]
    assert len(rows(hamming, "b")) == len(rows(hamming, "a"))


def test_an_archive_keeps_its_model_and_its_reading(database, model_file, folder, tmp_path):
    Archive.create("a", model_file, chip_size=96, bands=(1, 2, 3), dsn=database)
    Archive.create("a", dsn=database)
    Archive.create("a", model_file, chip_size=96, dsn=database)
    with pytest.raises(UsageError, match="made with --chip-size 96, not 64"):
        Archive.create("a", chip_size=64, dsn=database)
    with pytest.raises(UsageError, match="made with --bands 1,2,3, not 3,2,1"):
        Archive.create("a", bands=(3, 2, 1), dsn=database)
    with pytest.raises(UsageError, match="'b' does not exist yet and no model is given"):
        Archive.create("b", dsn=database)

    import onnx

    from dcsh_pg.export import onnx_file

    other = tmp_path / "other.onnx"
    model = onnx.load(model_file)
    model.producer_version = "another"
    other.write_bytes(model.SerializeToString())
    assert onnx_file
    with pytest.raises(ModelError, match="holds codes of model random"):
        Archive.create("a", other, dsn=database)
