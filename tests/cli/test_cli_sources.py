"""``dcsh-pg ingest`` from STAC items and from a table of footprints."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import psycopg
import pytest
from http_folder import serving
from stac_items import make_item, make_naip, write_items
from typer.testing import CliRunner

from dcsh_pg import Archive, errors
from dcsh_pg.cli.main import app
from dcsh_pg.database.server import migrate
from dcsh_pg.imagery import SceneOptions

ROWS = """
    SELECT c.id, c.col_off, c.row_off, c.geom::text, c.acquired, c.code::text, s.id, s.uri,
           s.content_hash, s.collection, s.item_id, s.proj_code, s.properties
    FROM dcsh.{} c JOIN dcsh.scene s ON s.id = c.scene_id ORDER BY c.id
"""


def rows(dsn, name="a"):
    with psycopg.connect(dsn) as conn:
        return conn.execute(ROWS.format(name)).fetchall()


@pytest.fixture
def run(database, monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["ingest", *map(str, arguments), "-q"])


@pytest.fixture
def items(tmp_path):
    return write_items(tmp_path / "items.ndjson", [make_item(n) for n in range(4)])


def test_items_become_scenes_that_know_them(any_deployment, model_file, tmp_path):
    items = make_naip(tmp_path, 20)
    command = ["ingest", "a", "--stac", str(items), "-m", str(model_file), "--dsn", any_deployment]
    done = CliRunner().invoke(app, [*command, "--json", "-q"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["stored"] == 20
    stored = rows(any_deployment)
    listed = [json.loads(line) for line in items.read_text().splitlines()]
    scenes = {row[6]: row for row in stored}
    assert [row[10] for row in scenes.values()] == [item["id"] for item in listed]
    for item, row in zip(listed, scenes.values(), strict=True):
        assert item["properties"].items() <= row[12].items()
        assert row[9] == "naip" and row[11] == "EPSG:26916"
        assert f"{row[4]:%Y-%m-%dT%H:%M:%SZ}" == item["properties"]["datetime"]

    archive = Archive.create("b", model_file, dsn=any_deployment)
    archive.ingest_stac(str(items))
    assert [row[:6] for row in rows(any_deployment, "b")] == [row[:6] for row in stored]
    again = CliRunner().invoke(app, [*command, "--collection", "naip"])
    assert "nothing new: all 20 scenes are already stored" in again.stderr
    assert rows(any_deployment) == stored


def test_items_that_cannot_be_read_do_not_stop_the_rest(run, database, items, model_file):
    listed = [json.loads(line) for line in items.read_text().splitlines()]
    listed[0]["assets"]["image"]["href"] = "gone.tif"
    asset = listed[1]["assets"].pop("image")
    broken = "\n".join(json.dumps(item) for item in listed[:3]) + '\n{"type": "Feat'
    items.write_text(broken)
    done = run("a", "--stac", items, "-m", model_file)
    assert done.exit_code == errors.PartialSuccess.exit_code
    assert "3 of 4 scenes failed" in done.stderr
    with psycopg.connect(database) as conn:
        reported = conn.execute(
            "SELECT uri, message FROM dcsh.ingest_error ORDER BY uri"
        ).fetchall()
    folder = items.parent
    assert [uri for uri, _ in reported] == [
        f"{folder}/gone.tif", f"{items}#4", f"{items}#item-1",
    ]  # fmt: skip
    assert "no such file" in reported[0][1] and "is not STAC" in reported[1][1]
    assert "has no asset to read by default" in reported[2][1]

    listed[1]["assets"]["image"] = asset
    items.write_text("\n".join(json.dumps(item) for item in listed[1:]))
    assert run("a", "--stac", items).exit_code == 0
    with psycopg.connect(database) as conn:
        left = conn.execute("SELECT uri FROM dcsh.ingest_error ORDER BY uri").fetchall()
    assert left == [(f"{folder}/gone.tif",), (f"{items}#4",)]


def test_signed_urls_are_read_and_the_plain_ones_stored(run, database, items, model_file, tmp_path):
    program = "asked = []\ndef sign(href):\n    asked.append(href)\n    return href + '?key=1234'\n"
    (tmp_path / "keys.py").write_text(program)
    with serving(tmp_path, token="key=1234") as served:
        source = f"{served.url}/items.ndjson"
        refused = run("a", "--stac", source, "-m", model_file)
        assert refused.exit_code == errors.InputError.exit_code
        done = run("a", "--stac", source, "--sign", "keys:sign", "-m", model_file)
        assert done.exit_code == 0, done.stderr
        archive = Archive.open("a", dsn=database)
        [hit] = archive.similar_to(1, k=1)
        with pytest.raises(errors.InputError, match="cannot be read"):
            archive.read_chip(hit)
        archive.options = SceneOptions(sign=lambda href: f"{href}?key=1234")
        assert archive.read_chip(hit).shape == (64, 64, 3)
        asked = sys.modules["keys"].asked
        asked.clear()
        search = ["search", "a", "--chip", "1", "-k", "15", "-o", "hits.png", "--sign", "keys:sign"]
        found = CliRunner().invoke(app, search)
        assert found.exit_code == 0, found.stderr
        assert set(asked) == {f"{served.url}/images/item-{n}.tif" for n in range(4)}
    stored = rows(database)
    assert {row[7] for row in stored} == {f"{served.url}/images/item-{n}.tif" for n in range(4)}
    assert "1234" not in repr(stored)


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        ([], "nothing to ingest"),
        (["x.tif", "--stac", "items.json"], "SOURCE... and --stac cannot be combined"),
        (["--stac", "i.json", "--from-table", "a.b"], "--stac and --from-table cannot be combined"),
        (["x.tif", "--asset", "visual"], "--asset requires --stac, not SOURCE..."),
        (
            ["--stac", "i.json", "--geometry", "g"],
            "--geometry requires --from-table, not --stac",
        ),
        (["--from-table", "a.b", "--sidecar", "s.csv"], "--sidecar requires SOURCE..."),
        (["--stac", "i.json", "--sign", "no_such_module:sign"], "No module named 'no_such_module'"),
        (["--stac", "i.json", "--sign", "json"], "--sign json"),
    ],
)
def test_one_kind_of_source_and_its_own_options(run, model_file, arguments, reported):
    done = run("a", *arguments, "-m", model_file)
    assert done.exit_code == errors.UsageError.exit_code
    assert reported in done.stderr and done.stderr.count("\n") == 2


def test_a_source_of_no_use_leaves_no_archive(run, database, model_file, tmp_path):
    (tmp_path / "x.json").write_text("{}")
    for source in (["--stac", "x.json"], ["--stac", "gone"], ["--from-table", "public.gone"]):
        done = run("a", *source, "-m", model_file)
        assert done.exit_code in (errors.InputError.exit_code, errors.NotFound.exit_code)
        assert done.stderr.startswith("dcsh-pg: ") and done.stderr.count("\n") == 2
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT count(*) FROM dcsh.archive").fetchone() == (0,)


def test_a_table_of_footprints(run, database, items, model_file, tmp_path):
    with psycopg.connect(database) as conn:
        conn.execute(
            "CREATE TABLE public.tiles (ogc_fid int, location text, flown date, sensor text)"
        )
        for number in range(4):
            conn.execute(
                "INSERT INTO public.tiles VALUES (%s, %s, '2020-01-02', 'RMK')",
                [number, f"images/item-{number}.tif"],
            )
    how = ("a", "--from-table", "public.tiles", "--acquired-column", "flown")
    done = run(*how, "-m", model_file)
    assert done.exit_code == 0, done.stderr
    stored = rows(database)
    assert {(row[4].year, row[12]["sensor"]) for row in stored} == {(2020, "RMK")}
    assert run(*how, "--location-root", tmp_path).exit_code == 0
    assert rows(database) == stored
    absent = run("a", "--from-table", "public.tiles", "--geometry", "geom")
    assert absent.exit_code == errors.UsageError.exit_code
    assert "it has ogc_fid, location, flown, sensor" in absent.stderr


def test_killed_and_run_again_it_ends_with_the_rows_of_one_run(
    dsn, database, embedded_admin, model_file, tmp_path
):
    items = write_items(tmp_path / "items.ndjson", [make_item(n) for n in range(24)])
    items.write_text(items.read_text() + '{"type": "Feature"}\n' + items.read_text())
    Archive.create("a", model_file, dsn=database).ingest_stac(str(items))
    migrate.upgrade(dsn)
    program = (
        "import sys, time; from dcsh_pg.cli.main import run\n"
        "from dcsh_pg.ingest import batches, storing\n"
        "storing.FLUSH_CHIPS = 8\n"
        "_run = batches.Batches._run\n"
        "batches.Batches._run = lambda *a: (time.sleep(0.1), _run(*a))\n"
        "run()"
    )
    command = [
        sys.executable,
        "-c",
        program,
        "ingest",
        "a",
        "--stac",
        str(items),
        "-q",
        "--dsn",
        dsn,
    ]
    command += ["-m", str(model_file), "--batch-size", "8"]
    seen = 0
    while seen < 24:
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        before = seen
        while seen == before and process.poll() is None:
            time.sleep(0.05)
            with psycopg.connect(dsn) as conn:
                made = conn.execute("SELECT to_regclass('dcsh.a') IS NOT NULL").fetchone()[0]
                seen = conn.execute("SELECT count(*) FROM dcsh.a").fetchone()[0] if made else 0
        process.kill()
        process.wait()
        assert seen > before
    subprocess.run([*command], stderr=subprocess.DEVNULL)
    assert rows(dsn) == rows(database)
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT uri FROM dcsh.ingest_error").fetchall() == [(f"{items}#25",)]
