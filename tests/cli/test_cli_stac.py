"""The command stac: what it prints, what it leaves, and that the model it names hashes alike."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pystac
import pytest
from typer.testing import CliRunner

from dcsh_pg.archive import Archive
from dcsh_pg.cli.main import app
from dcsh_pg.errors import NotFound, OutputError, UsageError


@pytest.fixture
def run():
    def invoke(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture
def places(database, scenes, model_file):
    archive = Archive.create("places", model_file, chip_size=64, dsn=database)
    archive.ingest([str(scenes)])
    yield archive
    archive.connection.close()


def test_the_published_files_suffice_to_hash_and_compare(run, places, database, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    out = tmp_path / "stac"
    done = run("stac", "places", "--out", out, "--codes", "--dsn", database)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.strip() == str(out / "collection.json")
    assert "chips and their model" in done.stderr

    collection = pystac.Collection.from_file(done.stdout.strip())
    model = pystac.Item.from_file(collection.get_single_link("emb:model").get_absolute_href())
    [codes] = collection.get_items()
    frame = geopandas.read_parquet(codes.assets["embeddings"].get_absolute_href())
    hits = places.similar_to(1, k=3)
    session = onnxruntime.InferenceSession(model.assets["model"].get_absolute_href())
    [image] = session.get_inputs()
    assert image.name == model.properties["mlm:input"][0]["name"]
    outputs = [reported["name"] for reported in model.properties["mlm:output"]]
    for hit in hits:
        code, _ = session.run(outputs, {image.name: places.read_chip(hit)[None]})
        [row] = frame[frame["id"] == hit.id].itertuples()
        assert row.code == code.tobytes() and row.uri == hit.uri
        assert np.allclose(row.geometry.bounds, bounds_of(hit.footprint))
    assert len(frame) == codes.properties["table:row_count"] > len(hits)


def bounds_of(footprint):
    corners = np.array(footprint["coordinates"][0])
    return [*corners.min(axis=0), *corners.max(axis=0)]


def test_it_may_be_run_again_over_what_it_wrote(run, places, database, tmp_path):
    asked = ("stac", "places", "--out", tmp_path, "--codes", "--dsn", database)
    assert run(*asked).exit_code == 0
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert run(*asked).exit_code == 0
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == first


def test_a_folder_that_looks_like_an_address_is_a_folder(
    run, places, database, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    done = run("stac", "places", "--out", "s3://x/y", "--codes", "--dsn", database)
    assert done.exit_code == 0, done.stderr
    assert list(Path("s3:/x/y").rglob("*.parquet"))


def test_a_folder_whose_name_is_not_utf_8_is_printed_escaped(run, places, database, tmp_path):
    done = run("stac", "places", "--out", tmp_path / "\udcff", "--dsn", database)
    assert done.exit_code == 0
    assert "\\udcff/collection.json" in done.stdout


def test_addresses_and_license_are_reported(run, places, database, tmp_path):
    sources = ["https://example.org/a", "https://example.org/b"]
    done = run(
        "stac", "places", "--out", tmp_path, "--model-href", "https://example.org/model.onnx",
        "--license", "CC-BY-4.0", "--source-data", sources[0], "--source-data", sources[1],
        "--dsn", database,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["collection.json", "model.json"]
    reported = json.loads((tmp_path / "collection.json").read_text())
    assert reported["license"] == "CC-BY-4.0"
    assert [
        link["href"] for link in reported["links"] if link["rel"] == "emb:source-data"
    ] == sources


def test_what_goes_wrong_has_its_exit_code(run, places, database, tmp_path):
    (tmp_path / "file").touch()
    for arguments, code in (
        (("stac", "nowhere", "--out", tmp_path / "out"), NotFound.exit_code),
        (("stac", "places", "--out", tmp_path / "file"), OutputError.exit_code),
        (("stac", "places"), UsageError.exit_code),
        (("pgstac", "nowhere"), NotFound.exit_code),
    ):
        done = run(*arguments, "--dsn", database)
        assert done.exit_code == code, done.stderr
        assert done.stdout == ""
