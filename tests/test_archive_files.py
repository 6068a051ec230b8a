"""An archive that is exported to a file and imported from it, and files that are not to be trusted."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from datetime import datetime, timezone

import numpy as np
import pytest
import shapely
from synthetic import Scene, add
from typer.testing import CliRunner

from dcsh_pg import Archive
from dcsh_pg.archive.import_file import import_archive
from dcsh_pg.cli.main import app
from dcsh_pg.database.archives import registry
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import DcshError, InputError, NotFound, UsageError

pyarrow = pytest.importorskip("pyarrow", reason="needs the extra 'geo'")
parquet = pytest.importorskip("pyarrow.parquet")


def filled(dsn, model_file, name="a"):
    """An archive with gaps in its ids, and scenes without date, footprints or chips."""
    archive = Archive.create(name, model_file, chip_size=64, dsn=dsn)
    loader = Loader(archive.connection, archive.record)
    random = np.random.default_rng(0)
    for n, count in enumerate((5, 2, 0, 4)):
        x = np.arange(count)
        scene = Scene(
            f"/data/{n}.tif",
            acquired=datetime(2020, 1, 1, 12, n, tzinfo=timezone.utc) if n else None,
            properties={"n": n, "text": "a\n\u00e9"},
            collection="c" if n else None,
        )
        codes = random.integers(0, 256, (count, 8), dtype=np.uint8)
        add(loader, scene, codes, None if n == 3 else shapely.box(x, n, x + 1, n + 1), skipped=n)
    loader.flush()
    registry.remove_scene(archive.connection, name, "/data/1.tif")
    return archive


def content(conn, name):
    """All that an archive holds; scenes by their order."""
    chips = conn.execute(
        f"""
        SELECT c.id, dense_rank() OVER (ORDER BY c.scene_id), c.col_off, c.row_off, c.width, c.height,
               c.geom::text, c.acquired, c.valid_fraction, c.code::text
        FROM dcsh.{name} c ORDER BY c.id
        """
    ).fetchall()
    scenes = conn.execute(
        """
        SELECT uri, collection, item_id, acquired, proj_code, content_hash, properties, chips, skipped,
               a.reading, a.model_id, a.last_chip_id
        FROM dcsh.scene s JOIN dcsh.archive a ON a.id = s.archive_id WHERE a.name = %s ORDER BY s.id
        """,
        [name],
    ).fetchall()
    return chips, scenes


def test_an_imported_archive_is_the_exported_one(any_deployment, model_file, tmp_path):
    file = tmp_path / "a.zip"
    archive = filled(any_deployment, model_file)
    assert archive.export(file) == 9
    with Archive.import_(file, "b", dsn=any_deployment).connection as conn:
        chips, scenes = content(conn, "b")
        assert (chips, scenes) == content(conn, "a")
        assert [row[0] for row in chips] == [1, 2, 3, 4, 5, 8, 9, 10, 11] and len(scenes) == 3
        loader = Loader(conn, registry.get_archive(conn, "b"))
        add(loader, Scene("/new.tif"), np.zeros((1, 8), np.uint8))
        assert loader.flush() == []
        assert content(conn, "b")[0][-1][0] == 12
        with pytest.raises(UsageError, match="already exists"):
            import_archive(conn, file, "b")
    archive.connection.close()
    with zipfile.ZipFile(file) as container:
        stored = parquet.read_table(io.BytesIO(container.read("chips.parquet")))
    assert json.loads(stored.schema.metadata[b"geo"])["primary_column"] == "geometry"


def test_the_commands_export_and_import(database, model_file, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, [*map(str, arguments), "--dsn", database])

    filled(database, model_file).connection.close()
    done = run("archive", "export", "a", tmp_path / "a.zip")
    assert done.exit_code == 0 and "9 chips" in done.stderr, done.output
    assert run("archive", "import", tmp_path / "a.zip").exit_code == 2
    assert run("archive", "drop", "a", "--yes").exit_code == 0
    done = run("archive", "import", tmp_path / "a.zip")
    assert done.exit_code == 0 and "9 chips of 3 scenes" in done.stderr, done.output
    assert run("archive", "import", tmp_path / "none.zip").exit_code == InputError.exit_code
    assert run("archive", "export", "b", tmp_path / "b.zip").exit_code == NotFound.exit_code


def test_an_import_that_is_killed_leaves_nothing_and_can_be_repeated(
    database, model_file, tmp_path
):
    filled(database, model_file).export(tmp_path / "a.zip")
    killed = f"""
import os, signal
from dcsh_pg import Archive
from dcsh_pg.progress import Progress

class Deadly(Progress):
    def advance(self, n=1, *, total=None):
        os.kill(os.getpid(), signal.SIGKILL)

Archive.import_({str(tmp_path / "a.zip")!r}, "b", dsn={database!r}, progress=Deadly())
"""
    done = subprocess.run([sys.executable, "-c", killed], env=os.environ)
    assert done.returncode == -signal.SIGKILL
    with connect(database) as conn:
        with pytest.raises(NotFound):
            registry.get_archive(conn, "b")
        import_archive(conn, tmp_path / "a.zip", "b")
        assert content(conn, "b") == content(conn, "a")


def rebuilt(path, changes, *, compression=zipfile.ZIP_STORED):
    """The file with members changed, and a manifest with their digests."""
    with zipfile.ZipFile(path) as container:
        parts = {name: container.read(name) for name in container.namelist()}
    for name, change in changes.items():
        parts[name] = change(parts[name])
    manifest = json.loads(parts.pop("manifest.json"))
    digests = {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}
    manifest = {**manifest, "members": digests}
    with zipfile.ZipFile(path, "w", compression) as container:
        for name, part in [*parts.items(), ("manifest.json", json.dumps(manifest))]:
            container.writestr(name, part)


def of_json(**fields):
    return lambda text: json.dumps({**json.loads(text), **fields}).encode()


def of_scene(**fields):
    def change(lines):
        first, *rest = lines.splitlines()
        return b"\n".join([of_json(**fields)(first), *rest])

    return change


def of_chips(column, values, compression="snappy"):
    def change(content):
        table = parquet.read_table(io.BytesIO(content))
        at = table.column_names.index(column)
        made = [*values, *table[column].to_pylist()[len(values) :]]
        table = table.set_column(at, column, pyarrow.array(made, table.schema.field(at).type))
        out = io.BytesIO()
        parquet.write_table(table, out, compression=compression)
        return out.getvalue()

    return change


HOLE = shapely.Polygon(shapely.box(0, 0, 9, 9).exterior, [shapely.box(1, 1, 2, 2).exterior])
HOSTILE = {
    "a manifest that lies about scenes": ({"manifest.json": of_json(scenes=7)}, "scenes"),
    "a newer format": ({"manifest.json": of_json(format=99)}, "newer dcsh-pg"),
    "a format that is no number": ({"manifest.json": of_json(format="1")}, "no format"),
    "a reading of text": ({"manifest.json": of_json(reading={"chip_size": "64"})}, "'chip_size'"),
    "a mask of text": ({"manifest.json": of_json(reading={"mask": {"band": 1, "bits": "12"}})}, "'mask'"),
    "a mask without a band": ({"manifest.json": of_json(reading={"mask": {"bits": [1]}})}, "'mask'"),
    "a type of no pixels": ({"manifest.json": of_json(reading={"dtype": "object"})}, "--dtype"),
    "a type of other pixels": ({"manifest.json": of_json(reading={"dtype": "uint16"})}, "uint16"),
    "bands of objects": ({"manifest.json": of_json(reading={"bands": [{}]})}, "'bands'"),
    "an unknown field of the reading": ({"manifest.json": of_json(reading={"x": 1})}, "'x'"),
    "a counter that is behind": ({"manifest.json": of_json(last_chip_id=1)}, "last chip id"),
    "another model": ({"model.onnx": lambda _: b"not a model"}, "ONNX"),
    "no JSON": ({"scenes.ndjson": lambda _: b"{\n"}, "damaged"),
    "a scene without an address": ({"scenes.ndjson": of_scene(uri="")}, "scene 1 is not valid"),
    "a scene with NUL": ({"scenes.ndjson": of_scene(uri="/a\0b")}, "damaged"),
    "a scene of two": ({"scenes.ndjson": of_scene(uri="/data/3.tif")}, "duplicate key"),
    "a hash that is none": ({"scenes.ndjson": of_scene(content_hash="x")}, "content_hash"),
    "a scene with other chips": ({"scenes.ndjson": of_scene(chips=4)}, "as many chips"),
    "a date that is none": ({"scenes.ndjson": of_scene(acquired="soon")}, "scene 1 is not valid"),
    "no Parquet": ({"chips.parquet": lambda _: b"PAR1" * 9}, "damaged"),
    "chips without a scene": ({"chips.parquet": of_chips("scene", [99])}, "a chip has no scene"),
    "chip ids twice": ({"chips.parquet": of_chips("id", [1, 1])}, "ids do not ascend"),
    "a chip of no width": ({"chips.parquet": of_chips("width", [0])}, "empty window"),
    "a fraction of NaN": ({"chips.parquet": of_chips("valid_fraction", [np.nan])}, "fraction"),
    "a missing code": ({"chips.parquet": of_chips("code", [None])}, "lacks a value"),
    "a footprint off Earth": (
        {"chips.parquet": of_chips("geometry", [shapely.box(0, 0, 1, 1e9).wkb])}, "a footprint",
    ),
    "a footprint with a hole": ({"chips.parquet": of_chips("geometry", [HOLE.wkb])}, "a footprint"),
    "a footprint that is no WKB": ({"chips.parquet": of_chips("geometry", [b"\1\3"])}, "damaged"),
    "another compression": (
        {"chips.parquet": of_chips("id", [], compression="gzip")}, "another method",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def exported(embedded_admin, embedded_template, make_database, model_file, tmp_path_factory):
    file = tmp_path_factory.mktemp("export") / "a.zip"
    with make_database(embedded_admin, embedded_template) as dsn:
        filled(dsn, model_file).export(file)
    return file.read_bytes()


@pytest.fixture(scope="module")
def empty(embedded_admin, embedded_template, make_database):
    with make_database(embedded_admin, embedded_template) as dsn, connect(dsn) as conn:
        yield conn


def refused(conn, path):
    """Imports a file that is refused with one line; returns that."""
    with pytest.raises(DcshError) as caught:
        import_archive(conn, path)
    assert registry.list_archives(conn) == [] and conn.info.transaction_status == 0
    assert conn.execute("SELECT count(*) FROM dcsh.scene").fetchone() == (0,)
    assert "\n" not in caught.value.message and len(caught.value.message) < 1000
    return caught.value.message


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_with_one_line(empty, exported, kind, tmp_path):
    changes, expected = HOSTILE[kind]
    (tmp_path / "a.zip").write_bytes(exported)
    rebuilt(tmp_path / "a.zip", changes)
    assert expected in refused(empty, tmp_path / "a.zip")


def test_a_damaged_file_is_refused(empty, exported, tmp_path):
    path = tmp_path / "a.zip"
    random = np.random.default_rng(1)
    for _ in range(20):
        damaged = bytearray(exported)
        damaged[random.integers(len(damaged))] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            record = import_archive(empty, path)
        except DcshError as error:
            assert "\n" not in error.message
        else:  # the bit means nothing, such as one of a date in the directory
            registry.drop_archive(empty, record.name)
    path.write_bytes(exported[: len(exported) // 2])
    assert "is not an exported archive" in refused(empty, path)
    path.write_bytes(exported)
    rebuilt(path, {}, compression=zipfile.ZIP_DEFLATED)
    assert "compressed" in refused(empty, path)
    with zipfile.ZipFile(path, "w") as container:
        for n in range(5_000):
            container.writestr(f"{n}", b"")
    assert "its directory is too long" in refused(empty, path)
    path.write_bytes(b"no zip at all")
    assert "is not an exported archive" in refused(empty, path)


def test_a_role_that_may_not_create_archives_gets_one_line(database, exported, tmp_path):
    (tmp_path / "a.zip").write_bytes(exported)
    with connect(database) as conn:
        role = f"reader_{os.getpid()}"
        conn.execute(f"CREATE ROLE {role}")
        try:
            conn.execute(f"GRANT USAGE ON SCHEMA dcsh TO {role}")
            conn.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA dcsh TO {role}")
            conn.execute(f"SET ROLE {role}")
            with pytest.raises(DcshError, match="permission denied"):
                import_archive(conn, tmp_path / "a.zip")
            conn.execute("RESET ROLE")
        finally:
            conn.execute(f"DROP OWNED BY {role}")
            conn.execute(f"DROP ROLE {role}")
