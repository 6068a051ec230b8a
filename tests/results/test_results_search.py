"""One search on the command line: what it prints and every file that it writes are the same hits."""

from __future__ import annotations

import csv
import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from dcsh_pg import Archive, results
from dcsh_pg.cli.main import app

geopandas = pytest.importorskip("geopandas")
pytest.importorskip("matplotlib")


@pytest.fixture
def archive(any_deployment, model_file, scenes):
    made = Archive.create("a", model_file, chip_size=128, dsn=any_deployment)
    made.ingest([str(scenes)])
    yield made
    made.connection.close()


def read(path):
    """(id, distance) of the rows of a file, by rank."""
    if path.suffix in (".csv", ".json"):
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text) if path.suffix == ".json" else csv.DictReader(text.splitlines())
        found = [(int(row["rank"]), int(row["id"]), int(row["distance"])) for row in rows]
    else:
        is_parquet = "parquet" in path.suffix
        frame = geopandas.read_parquet(path) if is_parquet else geopandas.read_file(path)
        found = list(zip(frame["rank"], frame["id"], frame["distance"], strict=True))
    return [(id, distance) for _, id, distance in sorted(found)]


def test_every_output_of_a_search_has_the_same_hits(archive, any_deployment, tmp_path):
    west, south, east, north = archive.to_geopandas().total_bounds.tolist()
    area = f"--area={west},{south},{(west + east) / 2},{north}"
    files = {end: tmp_path / f"hits{end}" for end in results.outputs.suffixes()}
    options = [option for file in files.values() for option in ("-o", str(file))]
    arguments = ["search", "a", "--chip", "5", "-k", "7", area, "--dsn", any_deployment, *options]
    done = CliRunner().invoke(app, [*arguments, "-f", "geojsonseq"])
    assert done.exit_code == 0, done.output

    features = [json.loads(line) for line in done.stdout.splitlines()]
    hits = [(feature["id"], feature["properties"]["distance"]) for feature in features]
    assert len(hits) == 7
    assert files[".geojsonl"].read_text(encoding="utf-8") == done.stdout
    for end, file in files.items():
        if results.outputs.suffixes()[end].name not in ("map", "contact sheet"):
            assert read(file) == hits, end
    with Image.open(files[".map.png"]) as drawn, Image.open(files[".png"]) as sheet:
        assert drawn.size != sheet.size


def test_a_map_marks_the_chip_that_was_asked_for(archive):
    query = archive.query_chip(5)
    chips = archive.to_geopandas()
    assert results.record.to_geometry(query.footprint).equals(chips.geometry[5])
