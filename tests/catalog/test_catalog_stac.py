"""STAC of an archive and its model: read back by pystac, held to the rows it reports of."""

import base64
import dataclasses
import hashlib
import json
from datetime import datetime, timezone

import numpy as np
import psycopg
import pystac
import pystac.validation
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from pystac.extensions.file import FileExtension
from pystac.extensions.mlm import AssetGeneralMLMExtension, MLMExtension
from pystac.extensions.table import TableExtension
from synthetic import Scene, add, card, new_archive

from dcsh_pg.catalog import codes_parquet
from dcsh_pg.catalog.stac import write_stac
from dcsh_pg.catalog.stac_model import model_item
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import NotFound, OutputError

MADE = datetime(2024, 5, 6, tzinfo=timezone.utc)


@pytest.fixture
def conn(database):
    with connect(database) as opened:
        yield opened


@pytest.fixture
def places(conn):
    """Two dated scenes of three chips each, and one of two chips that reports neither place nor date."""
    loader = Loader(conn, new_archive(conn, "places"))
    codes = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    for n, year in enumerate((2019, 2021)):
        scene = Scene(
            f"{year}.tif",
            acquired=datetime(year, 6, 1, 10, tzinfo=timezone.utc),
            properties={"gsd": 0.6 - 0.3 * n, "platform": "plane", "proj:epsg": 4326},
            collection="naip",
            item_id=f"item-{year}",
        )
        boxes = [shapely.box(10 + n + i, 40, 11 + n + i, 41 + n) for i in range(3)]
        add(loader, scene, codes[3 * n : 3 * n + 3], boxes)
    add(loader, Scene("picture.jpg", proj_code=None), codes[6:])
    loader.flush()
    return codes


def core_is_valid(path):
    """Validates against the core schemas that pystac brings along; those of extensions are online."""
    made = json.loads(path.read_text())
    assert pystac.validation.validate_dict(made, extensions=[])
    return made


@pytest.mark.parametrize(("bits", "bands"), [(16, 1), (64, 3), (1024, 4)])
def test_a_model_becomes_an_item_with_the_mlm_extension(bits, bands, tmp_path):
    onnx = b"not really"
    sha256 = hashlib.sha256(onnx).hexdigest()
    reported = dataclasses.replace(card(bits), bands=bands, versions={"torch": "2.7.1+cpu"})
    href = "https://example.org/model.onnx"
    path = tmp_path / "model.json"
    path.write_text(json.dumps(model_item(reported, onnx, sha256, href=href, made=MADE).to_dict()))
    core_is_valid(path)

    item = pystac.Item.from_file(path)
    mlm = MLMExtension.ext(item)
    assert (mlm.mlm_name, mlm.architecture) == ("synthetic", "none")
    assert mlm.tasks == ["similarity-search"]
    assert (mlm.framework, mlm.framework_version) == ("PyTorch", "2.7.1")
    [image] = mlm.input
    assert image.input.shape == [-1, -1, -1, bands]
    assert len(image.input.dim_order) == 4
    assert image.input.data_type == "uint8"
    assert image.bands == [band["name"] for band in item.properties["bands"]]
    shapes = {output.name: output.result.shape for output in mlm.output}
    assert shapes == {"code": [-1, bits // 8], "z": [-1, bits]}
    asset = item.assets["model"]
    assert asset.href == href and "mlm:model" in asset.roles
    assert AssetGeneralMLMExtension.ext(asset).artifact_type == "onnx"
    assert FileExtension.ext(asset).size == len(onnx)
    assert FileExtension.ext(asset).checksum == "1220" + sha256
    assert item.datetime == MADE


@pytest.mark.parametrize("version", ["2.8.0a0+git1234", "", "nightly"])
def test_a_version_that_mlm_does_not_take_is_left_out(version):
    reported = dataclasses.replace(card(), versions={"torch": version})
    item = model_item(reported, b"", "0" * 64, href="m.onnx", made=MADE)
    assert "mlm:framework_version" not in item.properties


def test_the_item_is_as_old_as_the_model_file():
    reported = dataclasses.replace(card(), created="2023-01-02T03:04:05+00:00")
    item = model_item(reported, b"", "0" * 64, href="m.onnx", made=MADE)
    assert item.datetime == datetime(2023, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def test_an_archive_becomes_a_collection_with_its_model(conn, places, tmp_path):
    source = "https://example.org/collections/naip"
    path = write_stac(conn, "places", tmp_path / "out", license="PDDL-1.0", source_data=[source])
    reported = core_is_valid(path)
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "collection.json", "model.json", "model.onnx",
    ]  # fmt: skip

    collection = pystac.Collection.from_file(path)
    assert collection.id == "places" and collection.license == "PDDL-1.0"
    assert collection.extent.spatial.bboxes == [[10, 40, 14, 42]]
    [[first, last]] = collection.extent.temporal.intervals
    assert (first.year, last.year) == (2019, 2021)
    assert collection.summaries.to_dict() == {
        "gsd": {"minimum": 0.3, "maximum": 0.6},
        "platform": ["plane"],
        "proj:code": ["EPSG:4326"],
    }
    assert (reported["emb:type"], reported["emb:dimensions"], reported["data_type"]) == (
        "chip",
        64,
        "other",
    )
    assert reported["emb:chip_layout"] == {
        "layout_type": "regular_grid", "chip_size": [64, 64], "stride": [64, 64],
    }  # fmt: skip
    assert collection.get_single_link("emb:source-data").href == source
    model = pystac.Item.from_file(collection.get_single_link("emb:model").get_absolute_href())
    onnx = path.with_name("model.onnx").read_bytes()
    assert model.assets["model"].get_absolute_href() == str(path.with_name("model.onnx"))
    assert FileExtension.ext(model.assets["model"]).checksum.endswith(
        hashlib.sha256(onnx).hexdigest()
    )


def test_a_model_that_is_published_elsewhere_is_not_written(conn, places, tmp_path):
    path = write_stac(conn, "places", tmp_path, model_href="https://example.org/model.onnx")
    assert not path.with_name("model.onnx").exists()
    model = core_is_valid(path.with_name("model.json"))
    assert model["assets"]["model"]["href"] == "https://example.org/model.onnx"


def test_the_codes_are_the_rows_of_the_archive(conn, places, tmp_path, monkeypatch):
    geopandas = pytest.importorskip("geopandas")
    monkeypatch.setattr(codes_parquet, "ROWS", 3)
    path = write_stac(conn, "places", tmp_path, codes=True)
    [item] = pystac.Collection.from_file(path).get_items()
    core_is_valid(tmp_path / "codes.json")
    file = tmp_path / "codes.parquet"
    asset = item.assets["embeddings"]
    assert asset.get_absolute_href() == str(file)
    assert FileExtension.ext(asset).size == file.stat().st_size
    assert FileExtension.ext(asset).checksum.endswith(hashlib.sha256(file.read_bytes()).hexdigest())
    assert item.collection_id == "places" and item.bbox == [10, 40, 14, 42]
    binary = {"method": "binary", "original_dtype": "float32", "quantized_dtype": "uint8"}
    assert item.properties["emb:quantization"] == binary
    attributes = json.loads(parquet.read_schema(file).metadata[b"geoemb"])
    assert attributes["geoemb:type"] == "chip" and attributes["geoemb:quantization"] == binary
    assert attributes["geoemb:dimensions"] == 64 == 8 * len(places[0])
    assert attributes["geoemb:chip_layout"]["chip_size"] == [64, 64]
    digest = hashlib.sha256((tmp_path / "model.onnx").read_bytes()).digest()
    assert base64.urlsafe_b64decode(attributes["geoemb:model"].partition(";")[2] + "=") == digest
    assert item.properties["emb:runtime_parameters"]["chip_size"] == 64

    frame = geopandas.read_parquet(file)
    table = TableExtension.ext(item)
    assert table.row_count == len(frame) == 8
    assert [column.name for column in table.columns] == [*frame.columns, "bbox"]
    assert list(frame["id"]) == list(range(1, 9))
    assert list(frame["code"]) == [code.tobytes() for code in places]
    assert list(frame["item_id"][:6]) == 3 * ["item-2019"] + 3 * ["item-2021"]
    assert frame.geometry[3].equals(shapely.box(11, 40, 12, 42))
    assert frame.crs == "OGC:CRS84"
    assert list(frame["acquired"].dt.year[:6]) == 3 * [2019] + 3 * [2021]
    assert frame[["geometry", "acquired", "item_id"]].iloc[6:].isna().all(axis=None)
    inside = geopandas.read_parquet(file, bbox=(13.5, 40.5, 13.9, 40.9))
    assert list(inside["id"]) == [6]


def test_an_empty_archive_is_described_as_well(conn, tmp_path):
    new_archive(conn, "empty")
    path = write_stac(conn, "empty", tmp_path, codes=True)
    collection = core_is_valid(path)
    item = core_is_valid(tmp_path / "codes.json")
    assert collection["extent"]["temporal"]["interval"] == [[None, None]]
    assert item["geometry"] is None and item["properties"]["table:row_count"] == 0


def test_pictures_taken_whole_have_no_regular_grid(conn, tmp_path):
    model = registry.store_model(conn, card(), b"model")
    registry.create_archive(conn, "pictures", model, {"chip_size": None})
    reported = core_is_valid(write_stac(conn, "pictures", tmp_path))
    assert reported["emb:chip_layout"] == {"layout_type": "variable_grid"}


def test_what_cannot_be_written_leaves_no_collection(conn, places, tmp_path):
    (tmp_path / "codes.parquet").mkdir()
    with pytest.raises(OutputError, match="is a directory"):
        write_stac(conn, "places", tmp_path, codes=True)
    assert not (tmp_path / "collection.json").exists()


def test_an_archive_that_is_not_there_writes_nothing(conn, tmp_path):
    with pytest.raises(NotFound, match="nowhere"):
        write_stac(conn, "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


VALUES = st.one_of(
    st.integers(-3, 3), st.sampled_from([-0.5, 0.25, "a", "b", "1"]), st.booleans(),
    st.none(), st.lists(st.integers(), max_size=2),
)  # fmt: skip


def summary_of(values):
    """What the values of a property have in common, by plain Python; None where nothing is reported."""
    reported = [value for value in values if isinstance(value, (int, float, str))]
    distinct = sorted({json.dumps(value) for value in reported})
    if len(distinct) > 1 and all(type(value) in (int, float) for value in reported):
        return {"minimum": min(reported), "maximum": max(reported)}
    return distinct or None


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(scenes=st.lists(st.dictionaries(st.sampled_from(["x", "y:z"]), VALUES), max_size=12))
def test_summaries_equal_those_made_by_hand(conn, scenes):
    if registry.list_archives(conn):
        registry.drop_archive(conn, "places")
    loader = Loader(conn, new_archive(conn, "places"))
    for n, properties in enumerate(scenes):
        scene = Scene(f"{n}.tif", properties=properties, proj_code=None)
        add(loader, scene, np.empty((0, 8), np.uint8))
    loader.flush()
    found = registry.scene_summaries(conn, "places")
    for name in ("x", "y:z"):
        reported = found.get(name)
        listed = sorted(map(json.dumps, reported)) if isinstance(reported, list) else reported
        assert listed == summary_of(scene.get(name) for scene in scenes), name


def test_values_of_more_kinds_than_anyone_reads_are_not_listed(conn):
    loader = Loader(conn, new_archive(conn, "places"))
    for n in range(21):
        scene = Scene(f"{n}.tif", properties={"name": f"scene {n}", "few": str(n % 20)})
        add(loader, scene, np.empty((0, 8), np.uint8))
    loader.flush()
    assert registry.scene_summaries(conn, "places").keys() == {"few", "proj:code"}


def test_with_postgis_the_files_say_the_same(database, any_postgis, tmp_path):
    frames = []
    geopandas = pytest.importorskip("geopandas")
    for dsn in (database, any_postgis):
        with connect(dsn) as conn:
            loader = Loader(conn, new_archive(conn, "places"))
            add(loader, Scene("a.tif"), np.eye(2, 8, dtype=np.uint8), [shapely.box(0, 0, 1, 1)] * 2)
            loader.flush()
            write_stac(conn, "places", tmp_path, codes=True)
        frames.append(geopandas.read_parquet(tmp_path / "codes.parquet"))
    assert frames[0].drop(columns="geometry").equals(frames[1].drop(columns="geometry"))
    assert frames[0].geometry.geom_equals(frames[1].geometry).all()


def test_the_files_tell_of_one_moment(conn, places, database, tmp_path, monkeypatch):
    described = registry.scene_summaries

    def meanwhile_a_scene_is_stored(conn, name):
        with connect(database) as other:
            loader = Loader(other, registry.get_archive(other, "places"))
            add(loader, Scene("late.tif"), places[:1], [shapely.box(100, 40, 101, 41)])
            loader.flush()
        return described(conn, name)

    monkeypatch.setattr(registry, "scene_summaries", meanwhile_a_scene_is_stored)
    collection = core_is_valid(write_stac(conn, "places", tmp_path, codes=True))
    item = core_is_valid(tmp_path / "codes.json")
    assert item["properties"]["table:row_count"] == 8
    assert collection["extent"]["spatial"]["bbox"] == [item["bbox"]] == [[10, 40, 14, 42]]
    assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert registry.get_archive(conn, "places").chips == 9
