"""Scenes that are listed, removed and relocated, and archives that are renamed."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pytest
import searching as search
import shapely
from synthetic import Scene, add, new_archive, rows

from dcsh_pg.database.archives import registry, upkeep
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.scenes import gone_from_disk, ids_of, scenes
from dcsh_pg.errors import NotFound, UsageError

URIS = ("/data/a.tif", "/data/sub/b.tif", "/data2/c.tif", "s3://bucket/data/d.tif")


@pytest.fixture
def archive(conn, random_codes):
    loader = Loader(conn, new_archive(conn, "places"))
    for n, uri in enumerate(URIS):
        scene = Scene(
            uri, acquired=datetime(2020 + n, 1, 1, tzinfo=timezone.utc), properties={"n": n}
        )
        x = np.arange(3)
        add(loader, scene, random_codes(3, seed=n), shapely.box(x, n, x + 1, n + 0.5))
    loader.flush()
    return "places"


def uris(conn, name="places"):
    return [scene.uri for scene in scenes(conn, name)]


def test_scenes_pass_filters(conn, archive):
    first, *_ = found = scenes(conn, archive)
    assert [scene.uri for scene in found] == list(URIS)
    assert (first.id, first.chips, first.skipped, first.properties) == (1, 3, 0, {"n": 0})
    for filter, expected in (
        (Filter(since=datetime(2021, 1, 1), until=datetime(2023, 1, 1)), URIS[1:3]),
        (Filter(area=shapely.box(0.2, 2.1, 0.3, 2.2)), URIS[2:3]),
        (Filter(where={"op": ">=", "args": [{"property": "n"}, 3]}), URIS[3:]),
        (Filter(scenes=[2, 3], until=datetime(2022, 1, 1)), URIS[1:2]),
        (Filter(scenes=[]), ()),
    ):
        assert [scene.uri for scene in scenes(conn, archive, filter)] == list(expected)
    assert len(scenes(conn, archive, limit=2)) == 2
    assert ids_of(conn, archive, URIS[2:0:-1]) == [3, 2]
    with pytest.raises(NotFound, match=r"no scene /data/x\.tif"):
        ids_of(conn, archive, ["/data/x.tif"])


def test_removed_scenes_take_their_chips_along(conn, archive):
    before = rows(conn, archive)
    assert upkeep.remove_scenes(conn, archive, [2, 4, 999]) == (2, 6)
    assert rows(conn, archive) == [row for row in before if row[1] in (1, 3)]
    assert upkeep.remove_scenes(conn, archive, []) == (0, 0)


def test_only_files_that_are_certainly_gone_are_gone(conn, archive, tmp_path, random_codes):
    (tmp_path / "there.tif").touch()
    loader = Loader(conn, registry.get_archive(conn, archive))
    add(loader, Scene(str(tmp_path / "there.tif")), random_codes(1))
    loader.flush()
    found = scenes(conn, archive)
    assert [scene.uri for scene in gone_from_disk(archive, found)] == list(URIS[:3])
    (tmp_path / "there.tif").unlink()
    with pytest.raises(UsageError, match="none of the 4 files") as caught:
        gone_from_disk(archive, found)
    assert "archive relocate" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("/data", "/mnt/new/", ("/mnt/new/a.tif", "/mnt/new/sub/b.tif", *URIS[2:])),
        ("/data/", "s3://bucket", ("s3://bucket/a.tif", "s3://bucket/sub/b.tif", *URIS[2:])),
        ("/data", "/data/sub", ("/data/sub/a.tif", "/data/sub/sub/b.tif", *URIS[2:])),
        ("/data/a.tif", "/x.tif", ("/x.tif", *URIS[1:])),
        ("/", "/r", ("/r/data/a.tif", "/r/data/sub/b.tif", "/r/data2/c.tif", URIS[3])),
        ("s3://bucket/data", "/data", (*URIS[:3], "/data/d.tif")),
    ],
)
def test_relocation_replaces_a_folder_and_nothing_else(core, random_codes, old, new, expected):
    loader = Loader(core, new_archive(core, "places"))
    for n, uri in enumerate(URIS):
        add(loader, Scene(uri), random_codes(1, seed=n))
    loader.flush()
    before = rows(core, "places")
    planned = upkeep.relocated(core, "places", old, new)
    assert uris(core) == list(URIS)
    assert upkeep.relocate(core, "places", old, new) == len(planned)
    assert uris(core) == list(expected)
    moved = {move.former: move.uri for move in planned}
    assert rows(core, "places") == [(*r[:11], moved.get(r[11], r[11]), *r[12:]) for r in before]


def test_relocation_swaps_no_addresses_and_takes_none(conn, archive):
    add(
        loader := Loader(conn, registry.get_archive(conn, archive)),
        Scene("/data2/a.tif"),
        np.zeros((1, 8), np.uint8),
    )
    loader.flush()
    before = rows(conn, archive)
    with pytest.raises(UsageError, match=r'another scene "/data2/a\.tif"'):
        upkeep.relocate(conn, archive, "/data", "/data2")
    with pytest.raises(NotFound, match=r"no address of archive 'places' lies below /dat$"):
        upkeep.relocate(conn, archive, "/dat", "/x")
    with pytest.raises(UsageError, match="same address"):
        upkeep.relocate(conn, archive, "/data/", "/data")
    assert rows(conn, archive) == before


def test_a_renamed_archive_keeps_layer_grants_views_and_index(conn, archive):
    with_index = conn.execute("SELECT FROM pg_am WHERE amname = 'hamming'").fetchone()
    if with_index:
        registry.create_code_index(conn, archive)
    is_distributed = conn.execute("SELECT dcsh_private.is_distributed('places')").fetchone()[0]
    conn.execute("CREATE VIEW public.mine AS SELECT id, uri FROM dcsh.places_layer")
    conn.execute("GRANT SELECT ON dcsh.places TO pg_monitor")
    before = rows(conn, archive), search.similar_to(conn, archive, 1)
    new_archive(conn, "other")
    try:
        upkeep.rename_archive(conn, archive, "towns")
        assert (rows(conn, "towns"), search.similar_to(conn, "towns", 1)) == before
        assert conn.execute("SELECT count(*) FROM public.mine").fetchone() == (12,)
        assert conn.execute("SELECT count(*) FROM dcsh.towns_layer").fetchone() == (12,)
        assert conn.execute(
            "SELECT has_table_privilege('pg_monitor', 'dcsh.towns', 'SELECT')"
        ).fetchone() == (True,)
        names = [
            name
            for (name,) in conn.execute(
                "SELECT relname FROM pg_index JOIN pg_class x ON x.oid = indexrelid "
                "WHERE indrelid = 'dcsh.towns'::regclass"
            )
        ]
        assert names and all(name.startswith("towns_") for name in names)
        assert (
            "towns" in conn.execute("SELECT obj_description('dcsh.towns'::regclass)").fetchone()[0]
        )
        add(
            loader := Loader(conn, registry.get_archive(conn, "towns")),
            Scene("/new.tif"),
            np.zeros((1, 8), np.uint8),
        )
        assert loader.flush() == []
        new_archive(conn, archive)
        for name, message in (
            ("other", 'archive "other" already exists'),
            ("scene", 'an archive cannot be named "scene"'),
            ("Bad", '"Bad" is not a valid archive name'),
        ):
            with pytest.raises(UsageError, match=message):
                upkeep.rename_archive(conn, "towns", name)
        with pytest.raises(NotFound):
            upkeep.rename_archive(conn, "nowhere", "somewhere")
    finally:
        conn.execute("DROP VIEW public.mine")
    assert (
        is_distributed == conn.execute("SELECT dcsh_private.is_distributed('towns')").fetchone()[0]
    )
