"""An archive over the years: its scenes, their addresses, its name, its models."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from dcsh_pg import Archive
from dcsh_pg.cli.main import app
from dcsh_pg.errors import UsageError


@pytest.fixture
def run(database):
    def run(*arguments):
        return CliRunner().invoke(app, [*map(str, arguments), "--dsn", database])

    return run


@pytest.fixture
def moved(run, model_file, scenes, tmp_path):
    """An archive 'a' of the folder old, which is the folder new by now."""
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(scenes, old)
    done = run("ingest", "a", old, "--model", model_file, "--chip-size", 128, "-q")
    assert done.exit_code == 0, done.output
    old.rename(new)
    return old, new


def listed(run, *arguments):
    done = run("archive", "scenes", "a", "--json", *arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_contact_sheet_without_files_names_the_command(run, moved, tmp_path):
    old, new = moved
    sheet = ("search", "a", "--chip", 1, "-k", 4, "-o", tmp_path / "hits.png")
    stderr = run(*sheet).stderr
    assert "the pictures of 4 of 4 hits cannot be read" in stderr
    assert "'dcsh-pg archive relocate'" in stderr
    done = run("archive", "relocate", "a", old, new)
    assert done.exit_code == 0 and "4 scenes relocated" in done.stderr, done.output
    assert "cannot be read" not in run(*sheet).stderr
    assert run("archive", "remove-scenes", "a", "--gone", "--yes").exit_code == 0
    assert len(listed(run)) == 4


def test_relocate_can_be_tried_first(run, moved):
    old, new = moved
    before = listed(run)
    done = run("archive", "relocate", "a", old, "/nowhere", "--dry-run")
    assert f"{before[0]['uri']} -> /nowhere" in done.stdout
    assert "4 scenes would be relocated" in done.stderr
    assert "does not exist on this machine" in done.stderr
    assert listed(run) == before
    assert run("archive", "relocate", "a", new, old).exit_code == 10


def test_an_ingest_from_the_new_folder_updates_the_addresses(run, moved):
    old, new = moved
    before = listed(run)
    done = run("ingest", "a", new, "-q", "--json")
    assert done.exit_code == 0, done.output
    after = [scene["uri"] for scene in listed(run)]
    assert after == [scene["uri"].replace(str(old), str(new)) for scene in before]


def test_scenes_are_removed_by_address_filter_and_when_gone(run, moved):
    old, new = moved
    run("archive", "relocate", "a", old, new)
    first, second, *_ = listed(run)
    (new / "x").mkdir()
    assert run("archive", "remove-scenes", "a").exit_code == 2
    asked = run("archive", "remove-scenes", "a", first["uri"])
    assert asked.exit_code == 2 and "1 scene" in asked.stderr and "--yes" in asked.stderr
    assert len(listed(run)) == 4
    done = run("archive", "remove-scenes", "a", first["uri"], "--yes")
    assert f"1 scene with {first['chips']} chips removed" in done.stderr
    gone = run("archive", "remove-scenes", "a", "/nowhere.tif", "--yes")
    assert gone.exit_code == 10 and "no scene /nowhere.tif" in gone.stderr
    shutil.move(second["uri"], new / "x")
    assert [scene["id"] for scene in listed(run, "--gone")] == [second["id"]]
    assert run("archive", "remove-scenes", "a", "--gone", "--yes").exit_code == 0
    assert second["id"] not in [scene["id"] for scene in listed(run)]
    year = listed(run)[0]["acquired"][:4]
    assert run("archive", "remove-scenes", "a", "--since", year, "--yes").exit_code == 0
    assert all(scene["acquired"] < year for scene in listed(run))


def test_the_folder_of_all_files_may_only_be_missing(run, moved):
    done = run("archive", "remove-scenes", "a", "--gone", "--yes")
    assert done.exit_code == 2 and "none of the 4 files" in done.stderr
    assert len(listed(run)) == 4


def test_rename_and_the_list_of_models(run, moved, database):
    assert run("archive", "rename", "a", "b").exit_code == 0
    [model] = json.loads(run("model", "list", "--json").stdout)
    assert (model["archives"], model["bits"]) == (["b"], 64)
    assert model["sha256"][:12] in run("model", "list").stdout
    assert run("archive", "show", "a").exit_code == 10
    with Archive.open("b", dsn=database).connection:
        pass


def test_the_same_in_python(moved, database):
    old, new = moved
    archive = Archive.open("a", dsn=database)
    assert [record.name for record in Archive.list(dsn=database)] == ["a"]
    assert archive.relocate(str(old), str(new)) == 4
    first, *others = archive.scenes()
    assert archive.remove_scenes([first.uri]) == (1, first.chips)
    assert archive.scenes(limit=2) == others[:2]
    with pytest.raises(UsageError, match="no scene is selected"):
        archive.remove_scenes()
    archive.rename("b")
    assert archive.similar_to(others[0].chips + first.chips, k=1)
    archive.drop()
    assert Archive.list(dsn=database) == []
    archive.connection.close()


def test_the_code_of_an_image_finds_what_the_image_finds(run, moved):
    _, new = moved
    image = sorted(new.glob("*.tif"))[0]
    done = run("archive", "hash", "a", image)
    assert done.exit_code == 0, done.output
    found = [
        run("search", "a", *query, "-k", 5, "--json").stdout
        for query in (("--image", image), ("--code", done.stdout.strip()))
    ]
    assert json.loads(found[0]) == json.loads(found[1]) != []
