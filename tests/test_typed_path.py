"""Twelve bands of 16 bits, from scenes to hits: trained, exported, ingested, searched, shown."""

import json
from io import BytesIO

import numpy as np
import pytest
import rasterio
from PIL import Image
from shapely.geometry import shape
from typer.testing import CliRunner

from dcsh_pg import Archive
from dcsh_pg.archive.display import displayed
from dcsh_pg.cli.main import app
from dcsh_pg.database.search.chips import code_of
from dcsh_pg.errors import InputError, UsageError
from dcsh_pg.synthetic.multispectral import BANDS, make_scene, write_scene

SIDE, CELLS = 32, 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("sentinel")
    for number in range(3):
        pixels, _ = make_scene(number, CELLS, SIDE)
        pixels[:, :SIDE, : SIDE // 2] = 0  # half of the first chip has no data
        write_scene(made / f"{number}.tif", pixels, number)
    return made


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def model(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    trained = run(
        "train", folder, "--out", out / "run", "--bands", ",".join(map(str, range(1, 13))),
        "--chip-size", SIDE, "--bits", 16, "--epochs", 2, "--device", "cpu", "--min-valid", 0.4,
    )  # fmt: skip
    assert trained.exit_code == 0, trained.output
    exported = run("export", out / "run", out / "model.onnx")
    assert exported.exit_code == 0, exported.output
    return out / "model.onnx"


@pytest.fixture
def archive(database, folder, model):
    made = run("ingest", "s2", folder, "--model", model, "--dsn", database, "--min-valid", 0.4)
    assert made.exit_code == 0, made.output
    with Archive.open("s2", dsn=database) as opened:
        yield opened


def test_the_model_says_what_it_takes(model):
    card = json.loads(run("model", "show", model, "--json").stdout)
    assert (card["dtype"], card["bands"], card["nodata"]) == ("uint16", 12, 0)
    assert len(card["low"]) == 12 and all(np.array(card["high"]) > card["low"])
    assert "image, uint16" in run("model", "show", model).stdout


def test_chips_have_the_codes_of_their_pixels(archive, folder):
    assert archive.record.chips == 3 * CELLS**2 and archive.reading.dtype == "uint16"
    with rasterio.open(folder / "1.tif") as source:
        pixels = np.moveaxis(source.read(), 0, -1)
    hits = [hit for hit in archive.similar_to(1, k=200) if hit.uri.endswith("1.tif")]
    assert len(hits) == CELLS**2
    for hit in hits:
        left, top, width, height = hit.window
        chip = pixels[None, top : top + height, left : left + width]
        assert bytes(archive.hasher.hash(chip)[0]) == code_of(archive.connection, "s2", hit.id)
        assert hit.valid_fraction == (0.5 if (left, top) == (0, 0) else 1)


def test_a_picture_is_searched_at_full_depth_and_shown_in_eight_bits(
    archive, database, folder, tmp_path
):
    query = archive.query_image(folder / "1.tif", window=(SIDE, 0, SIDE, SIDE))
    assert query.pixels.dtype == np.uint8
    hits = archive.search(query, k=5)
    assert hits[0].distance == 0 and (SIDE, 0, SIDE, SIDE) in [h.window for h in hits[:2]]
    found = run(
        "search", "s2", "--image", folder / "1.tif", "--window", f"{SIDE},0,{SIDE},{SIDE}",
        "-o", tmp_path / "sheet.png", "--dsn", database,
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    assert Image.open(tmp_path / "sheet.png").width > 300
    assert "<img" in hits._repr_html_()


def test_pictures_of_people_are_stretched_alike_and_invalid_pixels_black(archive):
    first = archive.read_chip(archive.search(archive.query_chip(2), k=40)[0])
    assert first.dtype == np.uint8 and first.shape == (SIDE, SIDE, 12)
    [half] = [hit for hit in archive.similar_to(2, k=200) if hit.valid_fraction == 0.5][:1]
    shown = archive.read_chip(half)
    assert (shown[:, : SIDE // 2] == 0).all() and (shown[:, SIDE // 2 :] > 0).all()


def test_other_imagery_is_refused_by_name_with_a_fix(archive, database, folder, tmp_path):
    for name, change in (("bytes", lambda p: (p // 64).astype(np.uint8)), ("few", lambda p: p[:4])):
        pixels = change(make_scene(9, 2, SIDE)[0])
        write_scene(tmp_path / f"{name}.tif", pixels, 9)
    done = run("ingest", "s2", tmp_path, "--dsn", database)
    assert done.exit_code == InputError.exit_code
    assert "contains uint8, the model takes uint16" in done.stderr
    assert "few.tif has 4 bands, the model takes 12" in done.stderr
    scaled = run("ingest", "s2", folder, "--scale", "0,3000", "--dsn", database)
    assert scaled.exit_code == UsageError.exit_code and "without --scale" in scaled.stderr
    searched = run("search", "s2", "--image", tmp_path / "bytes.tif", "--dsn", database)
    assert searched.exit_code != 0 and "contains uint8" in searched.stderr


def test_an_archive_of_eight_bits_does_not_take_a_typed_model(database, folder, model, model_file):
    pixels = (make_scene(1, 2, 64)[0][:3] // 64).astype(np.uint8)
    write_scene(folder.parent / "rgb.tif", pixels, 1)
    Archive.create("rgb", model_file, chip_size=64, dsn=database).ingest(
        [str(folder.parent / "rgb.tif")]
    )
    done = run("archive", "rehash", "rgb", "--model", model, "--dsn", database)
    assert done.exit_code == UsageError.exit_code and "takes" in done.stderr


def test_bands_with_names_of_colours_are_shown_in_their_order(model):
    from dcsh_pg.hasher import Hasher

    card = Hasher(model, device="cpu").card
    named = type(card)(**(vars(card) | {"band_names": BANDS}))
    pixels = np.array([card.low], np.float64) + np.linspace(0, 1, 12) * (
        np.array(card.high) - np.array(card.low)
    )
    pixels = np.maximum(np.rint(pixels), 1).astype(np.uint16)
    assert np.array_equal(displayed(pixels, named), displayed(pixels, card)[:, [3, 2, 1]])


def mercantile_tile(point, zoom):
    """Column and row of the web map tile at a point."""
    x = (point.x + 180) / 360
    y = (1 - np.arcsinh(np.tan(np.radians(point.y))) / np.pi) / 2
    return int(x * 2**zoom), int(y * 2**zoom)


def test_the_map_page_shows_typed_scenes(archive, database, folder):
    pytest.importorskip("fastapi")
    from starlette.testclient import TestClient

    from dcsh_pg.serve.app import create_app
    from dcsh_pg.serve.settings import Settings

    settings = Settings(archive="s2", dsn=database, token="t")
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        client.headers["authorization"] = "Bearer t"
        picture = client.get("/api/archives/s2/chips/2/thumbnail")
        assert picture.status_code == 200 and Image.open(BytesIO(picture.content)).width == SIDE
        with open(folder / "2.tif", "rb") as file:
            sent = client.post("/api/archives/s2/pictures", files={"file": ("2.tif", file)})
        assert sent.status_code == 200 and sent.json()["code"].startswith("0x")
        x, y = mercantile_tile(shape(archive.query_chip(2).footprint).centroid, 14)
        tile = client.get(f"/api/archives/s2/imagery/14/{x}/{y}.webp")
        seen = np.asarray(Image.open(BytesIO(tile.content)))
        assert tile.status_code == 200 and seen[seen[..., 3] > 0, :3].std() > 5
