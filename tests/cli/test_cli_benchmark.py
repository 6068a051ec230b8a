"""``dcsh-pg benchmark`` and ``dcsh-pg report``, as a stranger types them."""

from __future__ import annotations

import json
import shutil
import sys

import labelled
import pytest
from typer.testing import CliRunner

from dcsh_pg.cli.main import app
from dcsh_pg.errors import InputError, OutputError, UsageError
from dcsh_pg.plugins import METHODS

USAGE, INPUT, OUTPUT = (e.exit_code for e in (UsageError, InputError, OutputError))
LINE = "benchmark --dataset tiny --encoder small --methods itq,lsh --bits 16 --splits 2 -o out"


def invoke(line: str):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["dcsh-pg", *line.split()])
        return CliRunner().invoke(app, line.split())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder to stand in, with a data set, a benchmark and bad files."""
    folder = tmp_path_factory.mktemp("benchmark")
    labelled.write_folder(folder / "tiny", each=10)
    labelled.write_folder(folder / "flat").joinpath("stray.png").write_bytes(
        next((folder / "tiny" / "beach").iterdir()).read_bytes()
    )
    (folder / "file").write_text("a file, no folder")
    row = {"name": "ITQ", "method": "itq", "encoder": "small"}
    for name, content in (
        ("no-list", row),
        ("no-name", [{"method": "itq"}]),
        ("field", [{**row, "epochs": 3}]),
        ("method", [{**row, "method": "hash"}]),
        ("option", [{**row, "options": {"epochs": 3}}]),
        ("weights", [{**row, "weights": "absent.pth"}]),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.chdir(folder)
        made = invoke(LINE)
        assert made.exit_code == 0, made.output
        (folder / "said.txt").write_text(made.stderr)
        yield folder


def test_a_benchmark_leaves_a_report(place):
    page = (place / "out" / "report.md").read_text()
    assert page.startswith("# tiny\n")
    assert "40 images of 24 x 24 px in 4 classes; 80 % of each class are the database" in page
    assert f"    dcsh-pg {LINE}" in page
    for name in ("cosine", "itq", "lsh"):
        assert f"| {name} | small |" in page
    assert len(list((place / "out" / "cells").iterdir())) == 6
    assert (place / "out" / "report" / "tiny_precision.png").is_file()
    said = (place / "said.txt").read_text()
    assert "wrote out/report.md" in said and "itq, 16 bits, split 1: " in said


def test_given_again_it_measures_nothing_and_says_the_same(place):
    before = json.loads((place / "out" / "report.json").read_text())
    again = invoke(LINE)
    assert again.exit_code == 0 and "split" not in again.stderr and again.stdout == ""
    after = json.loads((place / "out" / "report.json").read_text())
    assert after[0]["rows"] == before[0]["rows"]


def test_a_report_needs_the_cells_alone(place, tmp_path):
    """Neither pictures nor features, and nothing else of the first folder."""
    shutil.copytree(place / "out" / "cells", tmp_path / "copy" / "cells")
    shutil.copy(place / "out" / "benchmark.json", tmp_path / "copy")
    page = tmp_path / "docs" / "results.md"
    done = invoke(f"report {tmp_path / 'copy'} --out {page} --title Ours")
    assert done.exit_code == 0, done.output
    assert done.stdout == "" and f"wrote {page}" in done.stderr
    first = (place / "out" / "report.md").read_text().splitlines()
    tables = [line for line in first if line.startswith("|")]
    text = page.read_text()
    assert text.startswith("# Ours\n") and [t for t in tables if t not in text] == []
    assert (page.parent / "results" / "tiny_precision_recall.png").is_file()
    assert page.with_suffix(".json").is_file()


def test_no_folder_of_this_machine_is_reported_in_the_report(place, tmp_path):
    line = LINE.replace("-o out", f"-o {tmp_path / 'o'}").replace("itq,lsh", "lsh")
    done = invoke(line.replace("--dataset tiny", f"--dataset {place / 'tiny'} -q"))
    assert (done.exit_code, done.stdout) == (0, "")
    for name in ("report.md", "report.json", "benchmark.json"):
        assert str(tmp_path) not in (tmp_path / "o" / name).read_text()
        assert str(place) not in (tmp_path / "o" / name).read_text()


def test_without_a_choice_all_methods_are_measured(place, tmp_path):
    done = invoke(f"benchmark --dataset tiny --encoder small --bits 64 --splits 1 -o {tmp_path}")
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "report.json").read_text())[0]["rows"]
    assert [row["name"] for row in rows] == ["cosine", *METHODS.names()]
    assert "failed" in (tmp_path / "report.md").read_text()  # 64 bits from 32 images


TINY = "benchmark --dataset tiny -o new -q --encoder small --methods itq"
ROWS = "benchmark --dataset tiny -o new -q --rows"


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        # data sets
        ("benchmark --dataset ucmd -o new -q", INPUT, ("UC Merced", "--data", "http")),
        ("benchmark --dataset aid --data tiny -o new -q", INPUT, ("AID", "--data", "http")),
        ("benchmark --dataset absent -o new -q", INPUT, ("absent", "--dataset")),
        ("benchmark --dataset flat -o new -q", INPUT, ("stray.png", "class folder")),
        # the table
        (f"{TINY}q", USAGE, ("'itqq'", "psch")),
        (f"{TINY},", USAGE, ("''",)),
        (f"{TINY} --encoder alexnet", USAGE, ("'alexnet'", "densenet169")),
        (f"{TINY} --bits 60", USAGE, ("60 bits",)),
        (f"{TINY} --bits many", USAGE, ("--bits", "'many'")),
        (f"{TINY} --splits 0", USAGE, ("--splits",)),
        (f"{TINY} --jobs 0", USAGE, ("--jobs",)),
        (f"{TINY} --share 0", USAGE, ("--share", "not 0")),
        (f"{TINY} --share 1.5", USAGE, ("--share", "not 1.5")),
        (f"{TINY} --share 0.99", INPUT, ("'beach'", "--share 0.99")),
        (f"{TINY} --precision float16", USAGE, ("--precision", "bfloat16")),
        (f"{TINY} --weights small", USAGE, ("--weights small", "lacks the encoder")),
        (f"{TINY} --weights smal=none", USAGE, ("--weights smal=", "small")),
        (f"{TINY} --weights small=w.pth", INPUT, ("w.pth", "--weights")),
        # rows
        (f"{ROWS} absent.json", INPUT, ("absent.json", "JSON")),
        (f"{TINY} --rows method.json", USAGE, ("--rows", "--methods")),
        (f"{ROWS} file", INPUT, ("file does not contain benchmark rows", "JSON")),
        (f"{ROWS} no-list.json", INPUT, ("no-list.json", "not a list")),
        (f"{ROWS} no-name.json", INPUT, ("no-name.json", "row 1 has no name")),
        (f"{ROWS} field.json", INPUT, ("field.json", "'epochs'")),
        (f"{ROWS} method.json", USAGE, ("'ITQ'", "'hash'", "lsh")),
        (f"{ROWS} option.json", USAGE, ("'ITQ'", "no option epochs", "iterations")),
        (f"{ROWS} weights.json", INPUT, ("'ITQ'", "absent.pth")),
        # folders
        ("benchmark --dataset tiny -q", USAGE, ("--out",)),
        (f"{TINY} -o file", OUTPUT, ("file",)),
        (f"{TINY} -o out --share 0.5 --bits 16", USAGE, ("out has", "--share")),
        (f"{TINY} --cache file --bits 16 --splits 1 -o new2", OUTPUT, ("file", "--cache")),
        ("report --out page.md", USAGE, ("DIR",)),
        ("report absent --out page.md", INPUT, ("absent does not contain a benchmark",)),
        ("report out", USAGE, ("--out",)),
        ("report out --out file/page.md", OUTPUT, ("file",)),
    ],
)
def test_what_cannot_be_done_is_reported_in_one_line(place, line, code, words):
    done = invoke(line)
    assert done.exit_code == code, done.output
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    assert lines[0].startswith("dcsh-pg: ") and lines[1].startswith("  hint: ")
    for word in words:
        assert word in done.stderr
