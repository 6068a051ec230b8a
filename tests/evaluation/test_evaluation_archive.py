"""Evaluation of codes in a database, against rankings that SQL made."""

from __future__ import annotations

import json
from itertools import groupby

import numpy as np
import pytest
import searching as search
from PIL import Image
from typer.testing import CliRunner

from dcsh_pg.archive import Archive
from dcsh_pg.cli.main import app
from dcsh_pg.database.search import chips
from dcsh_pg.evaluation import evaluate
from dcsh_pg.imagery import SceneOptions


def average_precision_of(hits, label):
    """Expected AP of a ranking as SQL gives it, group by group of equal distance."""
    found = seen = 0
    total = 0.0
    for _, group in groupby(hits, key=lambda hit: hit.distance):
        relevant = [hit.properties["class"] == label for hit in group]
        n, r = len(relevant), sum(relevant)
        for k in range(1, n + 1):
            extra = (k - 1) * (r - 1) / (n - 1) if n > 1 else 0
            total += r / n * (found + 1 + extra) / (seen + k)
        seen, found = seen + n, found + r
    return total / found


def labelled(hits):
    return [hit for hit in hits if "class" in hit.properties]


def test_codes_come_back_from_the_database(connection, archives):
    (codes, labels), _ = archives
    ids, stored, stored_labels = chips.labelled_codes(connection, "land", "class")
    assert list(ids) == list(range(1, 120))
    np.testing.assert_array_equal(stored, codes[:-1])
    assert stored_labels == labels[:-1]


def test_equals_average_precision_over_dcsh_within(connection, archives):
    _, (queries, labels) = archives
    _, codes, classes = chips.labelled_codes(connection, "land", "class")
    expected = [
        average_precision_of(labelled(search.within(connection, "land", bytes(query), 16)), label)
        for query, label in zip(queries, labels, strict=True)
    ]
    report = evaluate(codes, classes, queries, labels)
    assert report.mean_average_precision == pytest.approx(np.mean(expected))


def test_leave_one_out_equals_dcsh_similar_to(connection, archives):
    ids, codes, classes = chips.labelled_codes(connection, "land", "class")
    expected = [
        average_precision_of(
            labelled(search.similar_to(connection, "land", int(id), k=1000)), label
        )
        for id, label in zip(ids, classes, strict=True)
    ]
    report = evaluate(codes, classes)
    assert report.mean_average_precision == pytest.approx(np.mean(expected))


@pytest.fixture
def run(database, archives):
    def run(*arguments):
        return CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--dsn", database])

    return run


def test_command_leaves_one_out(run, archives):
    (codes, labels), _ = archives
    done = run("land", "--json")
    assert done.exit_code == 0, done.output
    reported = json.loads(done.stdout)
    assert reported["leave_one_out"] is True
    expected = evaluate(codes[:-1], labels[:-1])
    assert reported["mean_average_precision"] == pytest.approx(expected.mean_average_precision)


def test_command_takes_queries_from_another_archive(run, archives, tmp_path):
    pytest.importorskip("matplotlib")
    done = run(
        "land", "--query-archive", "queries", "--precision-at", "3,7", "--plots", tmp_path / "p"
    )
    assert done.exit_code == 0, done.output
    assert "precision@7 %" in done.stdout and "precision@10 %" not in done.stdout
    assert len(list((tmp_path / "p").glob("*.png"))) == 2


@pytest.mark.parametrize(
    ("arguments", "exit_code", "reported"),
    [
        (["land", "--query-archive", "other"], 7, "different models"),
        (["land", "--label", "species"], 10, "species"),
        (["nowhere"], 10, "nowhere"),
        (["land", "--queries", "a", "--query-archive", "queries"], 2, "cannot be combined"),
        (["land", "--precision-at", "1,x"], 2, "--precision-at"),
        (["land", "--plots", "/dev/null/plots"], 8, "/dev/null/plots"),
    ],
)
def test_command_reports_what_is_wrong(run, arguments, exit_code, reported):
    done = run(*arguments)
    assert done.exit_code == exit_code, done.output
    assert reported in done.stderr
    assert done.stdout == ""


@pytest.fixture
def class_folders(tmp_path):
    """Folders 'archive' and 'queries', each with flat pictures of two classes, and one stray."""
    random = np.random.default_rng(0)
    for folder, count in (("archive", 5), ("queries", 2)):
        for label, colour in (("sand", (220, 200, 150)), ("water", (20, 40, 90))):
            (tmp_path / folder / label).mkdir(parents=True)
            for number in range(count):
                pixels = random.normal(colour, 15, (64, 64, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / folder / label / f"{number}.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "stray.png")
    return tmp_path


def test_command_hashes_queries_with_the_model_of_the_archive(
    run, database, model_file, class_folders, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(class_folders / "cache"))
    archive = Archive.create("hashed", model_file, dsn=database)
    archive.ingest([str(class_folders / "archive")], options=SceneOptions(georeference=False))

    done = run("hashed", "--queries", class_folders / "queries", "--json")
    assert done.exit_code == 0, done.output
    reported = json.loads(done.stdout)
    assert (reported["queries"], reported["database"], reported["leave_one_out"]) == (4, 10, False)

    codes, records = archive.hash_images([str(class_folders / "queries")])
    _, stored, labels = chips.labelled_codes(archive.connection, archive.name, "class")
    classes = [record.properties["class"] for record in records]
    assert sorted(classes) == ["sand", "sand", "water", "water"]
    expected = evaluate(stored, labels, codes, classes)
    assert reported["mean_average_precision"] == pytest.approx(expected.mean_average_precision)

    done = run("hashed", "--queries", class_folders / "stray.png")
    assert done.exit_code == 6
    assert "stray.png has no property 'class'" in done.stderr
