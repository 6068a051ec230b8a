"""STAC items with an asset a band, from training to hits: by preset, masked, at one resolution, in several sizes."""

import json

import numpy as np
import pytest
import rasterio
from PIL import Image
from shapely.geometry import shape
from typer.testing import CliRunner

from dcsh_pg import Archive
from dcsh_pg.cli.main import app
from dcsh_pg.database.search.chips import code_of
from dcsh_pg.errors import UsageError
from dcsh_pg.serve.imagery_tiles import PlacedScene, imagery_tile
from dcsh_pg.synthetic.multispectral import make_scene, write_item, write_scene

SIDE, CELLS = 36, 4


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("items")
    for number in range(2):
        cloudy = np.zeros((SIDE * CELLS // 2,) * 2, bool)
        cloudy[: SIDE // 2, : SIDE // 2] = True  # the first chip
        write_item(made / f"S2_{number}", make_scene(number, CELLS, SIDE)[0], number, cloudy=cloudy)
    return made


@pytest.fixture(scope="module")
def model(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    trained = run("train", "--stac", folder, "--preset", "sentinel-2-l2a", "--chip-size", SIDE,
                  "--bits", 16, "--epochs", 2, "--device", "cpu", "--out", out / "run")  # fmt: skip
    assert trained.exit_code == 0, trained.output
    assert "learned from 30 chips of 2 scenes" in trained.stderr
    assert run("export", out / "run", out / "model.onnx").exit_code == 0
    return out / "model.onnx"


def test_items_are_trained_ingested_searched_and_shown(database, folder, model, tmp_path):
    card = json.loads(run("model", "show", model, "--json").stdout)
    assert (card["dtype"], card["bands"], card["band_names"][3]) == ("uint16", 12, "B04")
    assert card["resolution"] == pytest.approx(10, rel=0.01)
    made = run("ingest", "s2", "--stac", folder, "--model", model, "--dsn", database)
    assert made.exit_code == 0, made.output
    assert "2 chips without enough valid pixels" in made.stderr
    with Archive.open("s2", dsn=database) as archive:
        assert archive.reading.preset == "sentinel-2-l2a" and archive.reading.mask.band == "SCL"
        hits = archive.similar_to(1, k=40)
        assert len(hits) == 29 and hits[0].uri.endswith("SCL}.tif")
        chip = archive.read_chip(hits[0])
        assert chip.shape == (SIDE, SIDE, 3) and chip.dtype == np.uint8
        plain = write_scene(tmp_path / "q.tif", make_scene(0, CELLS, SIDE)[0], 0)
        query = archive.query_image(plain, window=(SIDE, SIDE, SIDE, SIDE))
        assert archive.search(query, k=1)[0].distance <= 3  # bands of 20 and 60 m differ from 10 m
        assert archive.relative_scale(query) == pytest.approx(1, rel=0.02)
        point = shape(hits[0].footprint).centroid
        x = int((point.x + 180) / 360 * 2**14)
        y = int((1 - np.arcsinh(np.tan(np.radians(point.y))) / np.pi) / 2 * 2**14)
        pixels, valid = imagery_tile(archive, [PlacedScene(hits[0].uri, None)], 14, x, y)
        assert valid.any() and pixels[valid].std() > 5
    nothing = run("ingest", "s2", "--stac", folder, "--dsn", database)
    assert "already stored" in nothing.stderr
    assert run("archive", "scenes", "s2", "--gone", "--dsn", database).exit_code == 0
    moved = folder.parent / "moved"
    folder.rename(moved)
    try:
        relocated = run("archive", "relocate", "s2", folder, moved, "--dsn", database)
        assert relocated.exit_code == 0 and "does not exist" not in relocated.stderr
        with Archive.open("s2", dsn=database) as archive:
            assert archive.read_chip(archive.similar_to(1, k=1)[0]).shape == (SIDE, SIDE, 3)
    finally:
        moved.rename(folder)


def test_chips_of_two_sizes_at_another_resolution(database, folder, model, tmp_path):
    done = run("ingest", "s2", "--stac", folder, "--model", model, "--dsn", database, "--mask", "none",
               "--resolution", 20, "--multiscale", "1,2", "--chip-size", 9)  # fmt: skip
    assert done.exit_code == 0, done.output
    with Archive.open("s2", dsn=database) as archive:
        assert archive.reading.resolution == 20 and archive.reading.mask is None
        hits = [*archive.similar_to(1, k=1000), archive.query_chip(1)]
        sizes = [hit.window[2] for hit in hits[:-1]]
        assert sizes.count(18) == 2 * 8 * 8 - 1 and sizes.count(36) == 2 * 4 * 4
        for hit in hits[:-1][::20]:
            _, south, _, north = shape(hit.footprint).bounds
            metres = (north - south) * 111_195
            assert metres == pytest.approx(hit.window[2] * 10, rel=0.03)
        image = next(hit for hit in hits if hit.window[2] == 36)
        plain = write_scene(tmp_path / "q.tif", make_scene(0, CELLS, SIDE)[0], 0)
        query = archive.query_image(plain, window=(0, 0, 36, 36))
        assert query.resolution == 20 and query.pixels.shape[:2] == (18, 18)
        assert code_of(archive.connection, "s2", image.id)
    other = run("ingest", "s2", "--stac", folder, "--resolution", 10, "--dsn", database)
    assert other.exit_code == UsageError.exit_code and "--resolution 20" in other.stderr
    assert run("archive", "export", "s2", tmp_path / "s2.zip", "--dsn", database).exit_code == 0
    copied = run("archive", "import", tmp_path / "s2.zip", "--as", "copy", "--dsn", database)
    assert copied.exit_code == 0, copied.output
    with Archive.open("s2", dsn=database) as one, Archive.open("copy", dsn=database) as other:
        assert one.reading == other.reading


def test_a_resolution_far_from_the_models_is_noted(database, folder, model, tmp_path):
    pixels = make_scene(0, CELLS, SIDE)[0][:, ::2, ::2]
    with rasterio.open(
        tmp_path / "coarse.tif", "w", driver="GTiff", width=72, height=72, count=12, dtype="uint16",
        crs="EPSG:32632", transform=rasterio.Affine(20, 0, 5e5, 0, -20, 5.3e6), nodata=0,
    ) as target:  # fmt: skip
        target.write(pixels)
        target.descriptions = json.loads(run("model", "show", model, "--json").stdout)["band_names"]
    for extra, is_noted in (((), True), (("--resolution", 10), False)):
        done = run("ingest", f"a{len(extra)}", tmp_path, "--model", model, "--mask", "none",
                   "--dsn", database, *extra)  # fmt: skip
        assert done.exit_code == 0, done.output
        assert ("the model was trained at" in done.stderr) == is_noted


def test_a_picture_without_names_of_bands_is_a_query_in_their_order(
    database, folder, model, tmp_path
):
    run("ingest", "s2", "--stac", folder, "--model", model, "--dsn", database)
    with Archive.open("s2", dsn=database) as archive:
        pixels = make_scene(0, CELLS, SIDE)[0]
        named = write_scene(tmp_path / "a.tif", pixels, 0)
        with (
            rasterio.open(named) as source,
            rasterio.open(tmp_path / "b.tif", "w", **source.profile) as target,
        ):
            target.write(pixels)
        assert archive.query_image(named).code == archive.query_image(tmp_path / "b.tif").code
        Image.new("RGB", (40, 40)).save(tmp_path / "c.png")
        with pytest.raises(Exception, match="has no band 'B01'"):
            archive.query_image(tmp_path / "c.png")
