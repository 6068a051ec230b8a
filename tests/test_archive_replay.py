"""Searches written down and replayed: in the same archive, in a copy on another server, after a change."""

import copy
import json

import numpy as np
import pytest
from PIL import Image
from shapely import box
from shapely.geometry import shape
from typer.testing import CliRunner

from dcsh_pg import Archive, CodeQuery, Filter
from dcsh_pg.archive.manifest import read_manifest
from dcsh_pg.archive.replay import recorded_search, replay
from dcsh_pg.cli.main import app
from dcsh_pg.errors import DcshError, InputError, ModelError, NotFound, NotReproduced


@pytest.fixture
def archive(database, model_file, scenes):
    with Archive.create("a", model_file, chip_size=128, dsn=database) as made:
        made.ingest([str(scenes)]).raise_for_failures()
        yield made


@pytest.fixture
def copied(archive, postgis_database, tmp_path):
    """A copy in a database with PostGIS, behind another archive's scenes."""
    file = tmp_path / "a.dcsh"
    archive.export(file)
    Archive.import_(file, "first", dsn=postgis_database).close()
    with Archive.import_(file, "second", dsn=postgis_database) as made:
        yield made


def queries(archive, folder):
    pixels = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "query.png")
    region = shape(archive.similar_to(1, k=1)[0].footprint)
    image = archive.query_image(folder / "query.png")
    return {
        "image": (image, Filter()),
        "refined": (archive.refined(image), Filter(max_distance=40)),
        "chip": (archive.refined(archive.query_chip(5)), Filter(area=region.buffer(0.01))),
        "examples": (
            archive.query_examples([1, 2], [9], rule="rocchio"),
            Filter(where={"op": "isNull", "args": [{"property": "none"}]}),
        ),
        "region": (archive.query_region(region), Filter(scenes=[2, 3])),
    }


def test_a_copy_on_another_server_gives_the_same_answers(archive, copied, tmp_path):
    for name, (query, filter) in queries(archive, tmp_path).items():
        hits, manifest = recorded_search(archive, query, k=9, filter=filter)
        assert list(hits) == list(archive.search(query, k=9, filter=filter)) and hits
        manifest.write(tmp_path / "m.json")
        read = read_manifest(tmp_path / "m.json")
        assert read.to_json() == manifest.to_json()
        for where in (archive, copied):
            replayed = replay(where, read)
            assert (replayed.is_same, replayed.differences) == (True, ()), name


def test_what_has_changed_is_said(archive, copied, tmp_path):
    query = archive.query_chip(5)
    _, manifest = recorded_search(archive, query, k=9)
    _, of_scenes = recorded_search(archive, query, k=9, filter=Filter(scenes=[1, 2]))
    nearest = manifest.hits[0][0]
    scene = archive.similar_to(5, k=1)[0].uri
    archive.connection.execute("UPDATE dcsh.a SET valid_fraction = 0.5 WHERE id = %s", [nearest])
    replayed = replay(archive, manifest)
    assert replayed.is_same and "has changed" in replayed.differences[0]
    archive.remove_scenes([scene])
    replayed = replay(archive, manifest)
    assert not replayed.is_same
    assert any(f"was chip {nearest} at" in line for line in replayed.differences)
    assert replay(copied, manifest).is_same
    copied.connection.execute("UPDATE dcsh.scene SET content_hash = 'other' || id")
    with pytest.raises(NotFound, match="2 of the scenes that were searched"):
        replay(copied, of_scenes)
    copied.connection.execute("UPDATE dcsh.model SET onnx = '', sha256 = encode(sha256(''), 'hex')")
    with pytest.raises(ModelError, match="has codes of model e3b0c44298fc"):
        replay(copied, manifest)


def test_on_the_command_line(archive, database, tmp_path):
    file = str(tmp_path / "m.json")
    run = CliRunner().invoke
    line = ["search", "a", "--chip", "5", "-k", "4", "--json", "--dsn", database]
    searched = run(app, [*line, "--manifest", file])
    assert searched.exit_code == 0, searched.output
    replayed = run(app, ["replay", file, "--json", "--dsn", database])
    assert (replayed.exit_code, replayed.stdout) == (0, searched.stdout), replayed.output
    assert "the same 4 hits as on 20" in replayed.stderr
    archive.connection.execute("UPDATE dcsh.a SET code = ~code WHERE id % 2 = 0")
    replayed = run(app, ["replay", file, "a", "--dsn", database])
    assert replayed.exit_code == NotReproduced.exit_code == 11
    assert "is not reproduced: archive 'a' has changed" in replayed.stderr


def test_nothing_in_a_manifest_is_trusted(archive, tmp_path):
    query = archive.refined(archive.query_chip(5))
    filter = Filter(area=box(-180, -90, 180, 90), scenes=[1, 2])
    content = recorded_search(archive, query, filter=filter)[1].to_json()
    file = tmp_path / "m.json"
    paths = list(leaves(content))
    assert len(paths) > 30
    optional = {"area", "since", "until", "max_distance", "where", "stac", "scenes", "k", "refine"}
    for path in paths:
        for value in (None, [], {}, "x", -1.5, 10**30, True, [[None]]):
            if value == at(content, path) or (value is None and path[-1] in optional):
                continue
            wrong = copy.deepcopy(content)
            at(wrong, path[:-1])[path[-1]] = value
            file.write_text(json.dumps(wrong))
            try:
                replay(archive, read_manifest(file))
            except DcshError:
                continue
            assert path[0] in ("made", "versions", "hits", "archive", "query", "filter", "k"), path
    for text in ("", "[]", "null", "{}", "\0", "[" * 100_000, '{"dcsh_pg_search": 2}', "NaN"):
        file.write_text(text)
        with pytest.raises(InputError, match="is not the manifest of a search"):
            read_manifest(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_manifest(tmp_path / "none.json")


def leaves(value, path=()):
    """Paths of all values of JSON; of a list, of its first."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:1])
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from leaves(inner, (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def test_a_code_of_another_length_is_refused(archive):
    _, manifest = recorded_search(archive, CodeQuery(bytes(8), caption="code"))
    short = copy.copy(manifest)
    object.__setattr__(short, "query", CodeQuery(bytes(2), caption="code"))
    with pytest.raises(ModelError, match="16 bits"):
        replay(archive, short)
