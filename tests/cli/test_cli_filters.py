"""Every filter of a search, on the command line: with every query, alone and together."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
import shapely
from synthetic import Scene, add, new_archive
from typer.testing import CliRunner

from dcsh_pg.cli.main import app
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.search.filter import Filter
from dcsh_pg.database.search.tiles import tile
from dcsh_pg.database.server.connect import connect
from dcsh_pg.errors import ServerError, UsageError

DAY = datetime(2021, 6, 1, tzinfo=timezone.utc)
GSD = (0.3, 0.5, 0.6, None)
"""Of scenes 1 to 4, each with chips at the longitudes 0 to 9 and at its own latitude."""


@pytest.fixture
def places(database):
    codes = np.random.default_rng(0).integers(0, 256, (40, 8), dtype=np.uint8)
    codes[20:30] = codes[:10]
    with connect(database) as conn:
        loader = Loader(conn, new_archive(conn, "places"))
        for n, gsd in enumerate(GSD):
            properties = {"platform": "ab"[n % 2]} | ({} if gsd is None else {"gsd": gsd})
            scene = Scene(f"{n}.tif", acquired=DAY + timedelta(days=n), properties=properties)
            x = np.arange(10)
            add(loader, scene, codes[10 * n : 10 * n + 10], shapely.box(x, n, x + 1, n + 1))
        loader.flush()
    return database


@pytest.fixture
def run(places):
    def run(*arguments):
        return CliRunner().invoke(app, [*map(str, arguments), "--dsn", places])

    return run


def rows(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    "query",
    [
        ["--chip", "1"], ["--at", "0.5", "0.5"], ["--code", "0x" + "0f" * 8], ["--like", "1,12"],
        ["--region", "0,0,2,1"],
    ],
    ids=lambda query: query[0],
)  # fmt: skip
@pytest.mark.parametrize(
    ("options", "scenes"),
    [
        (["--where", "gsd <= 0.5"], {1, 2}),
        (["--where", "gsd <= 0.5 AND platform = 'b'"], {2}),
        (["--where", "NOT gsd < 0.5"], {2, 3}),
        (["--where", "gsd IS NULL"], {4}),
        (["--where", '{"op": "in", "args": [{"property": "gsd"}, [0.3, 0.6]]}'], {1, 3}),
        (["--where", "platform = 'a'", "--since", "2021-06-02"], {3}),
        (["--where", "platform = 'a'", "--area", "0,2.2,10,9"], {3}),
        (["--where", "gsd > 9"], set()),
    ],
)
def test_where_selects_scenes_under_every_query(run, query, options, scenes):
    """The hits without the filter, of which those in the scenes remain."""
    everything = rows(run("search", "places", *query, "-k", 40, "-f", "json"))
    expected = [hit["id"] for hit in everything if hit["scene_id"] in scenes]
    if "--area" in options or "--since" in options:
        assert expected
    found = rows(run("search", "places", *query, "-k", 40, *options, "-f", "json"))
    assert [hit["id"] for hit in found] == expected


def test_where_selects_scenes_of_what_is_no_search(run):
    fine = ("--where", "gsd <= 0.5", "-f", "json")
    cells = rows(run("archive", "coverage", "places", "--cell", 20, *fine))
    assert [cell["chips"] for cell in cells] == [20]
    found = rows(run("duplicates", "places", "-r", 0, "-f", "json"))
    assert {row["scene_id"] for row in found} == {1, 3}
    assert rows(run("duplicates", "places", "-r", 0, *fine)) == []


@pytest.mark.parametrize("command", ["search", "qgis", "duplicates", "change", "archive coverage"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gsd <=", "--where: not CQL2 at column 7: gsd <="),
        ("gsd", "--where gsd is not a condition"),
        ("{op", "--where is not JSON"),
        ("nowhere.json", "--where: cannot read nowhere.json"),
    ],
)
def test_a_condition_that_is_none_is_one_line_and_a_hint(run, command, text, words):
    needed = {"search": ["--chip", 1], "change": ["--from", "2020", "--to", "2021"]}
    done = run(*command.split(), "places", *needed.get(command, []), "--where", text)
    assert done.exit_code in (2, 6) and done.stdout == "", done.stderr
    first, second = done.stderr.splitlines()
    assert words in first and "gsd <= 0.5 AND platform" in second


def test_a_property_that_no_scene_has_is_reported(run, caplog):
    assert rows(run("search", "places", "--chip", 1, "--where", "cloud < 3", "-f", "json")) == []
    [record] = caplog.records
    assert record.getMessage() == (
        'no scene of archive "places" has the property "cloud"; properties: gsd, platform'
    )


def test_evaluate_ranks_only_the_chips_that_the_filter_selects(run):
    def evaluated(*options):
        return run("evaluate", "places", "--label", "platform", *options, "--json", "-q")

    assert rows(evaluated())["database"] == 40
    report = rows(evaluated("--where", "gsd <= 0.5", "--area", "0,0,4.5,9"))
    assert report["database"] == report["queries"] == 2 * 5
    refused = evaluated("--where", "gsd <= 0.5", "--since", "2022")
    assert "no scene of archive 'places' that the filter selects" in refused.stderr


def test_an_operator_that_the_server_does_not_know_is_refused(run):
    done = run("search", "places", "--chip", 1, "--where", "S_INTERSECTS(geom, POINT(0 0))")
    assert (done.exit_code, done.stdout) == (UsageError.exit_code, "")
    assert "not a filter in CQL2" in done.stderr and "hint: " in done.stderr


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"since": DAY, "until": DAY}, "is not before"),
        ({"since": datetime(2022, 1, 1), "until": DAY}, "is not before"),
        ({"max_distance": -1}, "must not be negative"),
        ({"area": shapely.set_srid(shapely.box(0, 0, 1, 1), 3857)}, "EPSG:3857"),
    ],
)
def test_a_filter_that_selects_nothing_is_refused(fields, words):
    with pytest.raises(UsageError, match=words):
        Filter(**fields)


def test_a_tile_needs_postgis_whatever_the_filter(places):
    with connect(places) as conn, pytest.raises(ServerError, match="PostGIS"):
        tile(conn, "places", 0, 0, 0, filter=Filter(scenes=[1]))
