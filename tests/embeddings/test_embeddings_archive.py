"""Archives of embeddings beyond search: other programs, copies, kills."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone

import numpy as np
import psycopg
import pystac
import pytest
from parquet_files import parquet_file
from pyarrow import parquet
from typer.testing import CliRunner

from dcsh_pg import Archive
from dcsh_pg.catalog.stac import write_stac
from dcsh_pg.cli.main import app
from dcsh_pg.errors import UsageError
from dcsh_pg.serve.app import create_app
from dcsh_pg.serve.settings import Settings

pyarrow = pytest.importorskip("pyarrow")
RANDOM = np.random.default_rng(12)
VALUES = RANDOM.standard_normal((300, 24)).astype(np.float32)
ROWS = """
    SELECT c.id, s.uri, c.col_off, c.row_off, c.width, c.height, c.acquired, c.valid_fraction, c.code::text,
           dcsh_private.wkb(c.geom)
    FROM dcsh.vectors c JOIN dcsh.scene s ON s.id = c.scene_id ORDER BY c.id
"""


def rows(dsn):
    with psycopg.connect(dsn) as conn:
        return conn.execute(ROWS).fetchall()


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(VALUES, method="lsh", bits=64)


def days(count):
    """A time for two rows of three."""
    first = np.datetime64("2024-01-01T10:00", "us")
    times = [first + np.timedelta64(n, "h") if n % 3 else None for n in range(count)]
    return pyarrow.array(times, pyarrow.timestamp("us"))


@pytest.fixture
def source(tmp_path):
    return parquet_file(tmp_path / "a.parquet", VALUES, extra=[("datetime", days(300))])


def made(dsn, model, source):
    with Archive.create("vectors", model, dsn=dsn) as archive:
        archive.ingest_embeddings([str(source)]).raise_for_failures()


def test_a_copy_keeps_the_time_of_every_row(
    any_deployment, postgis_database, model, source, tmp_path
):
    made(any_deployment, model, source)
    stored = rows(any_deployment)
    times = {row[6] for row in stored}
    assert len(times) == 201 and datetime(2024, 1, 1, 11, tzinfo=timezone.utc) in times
    with Archive.open("vectors", dsn=any_deployment) as archive:
        archive.export(tmp_path / "copy")
    Archive.import_(tmp_path / "copy", dsn=postgis_database).close()
    assert rows(postgis_database) == stored
    table = parquet.read_table(tmp_path / "a.parquet")
    expected = [time.as_py() for time in table["datetime"]]
    found = [row[6] and row[6].astimezone(timezone.utc).replace(tzinfo=None) for row in stored]
    assert found == expected


def test_stac_describes_vectors(any_database, model, source, tmp_path):
    made(any_database, model, source)
    with Archive.open("vectors", dsn=any_database) as archive:
        path = write_stac(archive.connection, "vectors", tmp_path / "stac", codes=True)
    [item] = pystac.Collection.from_file(path).get_items()
    assert len(parquet.read_table(item.assets["embeddings"].get_absolute_href())) == 300
    model_item = json.loads((tmp_path / "stac" / "model.json").read_text())["properties"]
    [taken] = model_item["mlm:input"]
    assert taken["name"] == "vector" and taken["bands"] == []
    assert taken["input"]["shape"] == [-1, 24] and taken["input"]["data_type"] == "float32"
    assert model_item["bands"] == [] and "vector to hash code" in model_item["title"]


def test_a_qgis_project_has_chips_and_hits_and_no_scenes(postgis_database, model, source, tmp_path):
    made(postgis_database, model, source)
    line = ["qgis", "vectors", "--out", str(tmp_path / "v.qgs"), "--chip", "3"]
    done = CliRunner().invoke(app, [*line, "--dsn", postgis_database])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "v.qgs").read_text()
    assert "similar_to" in text and "a.parquet" not in text


def test_the_map_page_serves_vectors_without_pictures(database, model, source):
    testclient = pytest.importorskip("fastapi.testclient")
    made(database, model, source)
    settings = Settings(dsn=database, token=None)
    with testclient.TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        about = client.get("/api/archives/vectors").json()
        assert about["chips"] == 300 and len(about["pair_shares"]) == 65
        asked = {"query": {"chip": 7}, "k": 5}
        found = client.post("/api/archives/vectors/search", json=asked).json()
        assert len(found["features"]) == 5 and found["features"][0]["properties"]["pair_share"] >= 0
        assert client.get("/api/archives/vectors/chips/7/thumbnail").status_code == 404


INGEST = """
import sys
from dcsh_pg import Archive
with Archive.create("vectors", sys.argv[2], dsn=sys.argv[1], device="cpu") as archive:
    archive.ingest_embeddings([sys.argv[3]]).raise_for_failures()
"""


def test_a_killed_ingest_and_its_repetition_give_the_rows_of_one_run(
    database, postgis_database, model, tmp_path
):
    random = np.random.default_rng(3)
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(10):
        count = (
            3000 if n else 12_000
        )  # the first is large enough for its indexes to be built after it
        values = random.standard_normal((count, 24)).astype(np.float32)
        parquet_file(folder / f"{n:02d}.parquet", values, extra=[("datetime", days(count))])
    made(postgis_database, model, folder)
    line = [sys.executable, "-c", INGEST, database, str(model), str(folder)]
    killed = 0
    for _ in range(4):
        process = subprocess.Popen(line, stderr=subprocess.PIPE, env=os.environ)
        wait_for_scenes(database, killed * 3, process)
        time.sleep(random.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    subprocess.run(line, check=True)
    assert killed >= 2
    assert rows(database) == rows(postgis_database)
    subprocess.run(line, check=True)
    assert rows(database) == rows(postgis_database)


def wait_for_scenes(dsn, count, process):
    """Until so many scenes are stored, or the process has ended."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        while process.poll() is None:
            [(scenes,)] = conn.execute("SELECT count(*) FROM dcsh.scene")
            if scenes > count:
                return
            time.sleep(0.01)


def test_a_dask_scheduler_is_refused(database, model, source):
    line = ["ingest", "vectors", "--embeddings", str(source), "--model", str(model)]
    done = CliRunner().invoke(app, [*line, "--scheduler", "tcp://127.0.0.1:9", "--dsn", database])
    assert done.exit_code == UsageError.exit_code
    assert "--scheduler and --embeddings cannot be combined" in done.stderr
