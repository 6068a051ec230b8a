import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import labelled
import psutil
import pytest

from dcsh_pg.benchmark import runner, store
from dcsh_pg.benchmark.rows import COSINE, Row
from dcsh_pg.benchmark.runner import IMAGES, Plan, run
from dcsh_pg.errors import InputError, OutputError, UsageError
from dcsh_pg.progress import Progress

ROWS = (
    Row("ITQ", "itq", "small", "none", options={"orientations": 4}, bits=(16,)),
    Row("LSH", "lsh", "small", "none"),
    Row(COSINE, COSINE, "small", "none"),
)
ENDLESS = Row("DCSH", "dcsh", "small", "none", options={"epochs": 10**6}, bits=(16,))
PLAN = Plan(ROWS, bits=(16, 24), splits=2)
CELLS = 2 + 4 + 2


def cells(folder):
    """All cells by file name, without what changes from run to run."""
    found = {}
    for file in sorted((folder / store.CELLS).iterdir()):
        found[file.name] = json.loads(file.read_text())
        found[file.name].pop("seconds", None)
    return found


@pytest.fixture(scope="module")
def tiny():
    return labelled.dataset(each=10)


@pytest.fixture(scope="module")
def clean(tiny, tmp_path_factory):
    """The cells of one run without trouble."""
    folder = tmp_path_factory.mktemp("clean")
    assert len(run(tiny, PLAN, folder)) == CELLS
    return folder


def test_every_cell_is_kept_and_nothing_else(clean):
    found = cells(clean)
    keys = {(cell["row"], cell["bits"], cell["seed"]) for cell in found.values()}
    assert keys == {
        *((COSINE, 16, seed) for seed in (0, 1)),
        *(("LSH", bits, seed) for bits in (16, 24) for seed in (0, 1)),
        *(("ITQ", 16, seed) for seed in (0, 1)),
    }
    assert not (clean / IMAGES).exists()
    facts = store.read_facts(clean)
    assert (facts["images"], facts["side"], facts["classes"]) == (40, 24, 4)


@pytest.fixture
def done(clean, tmp_path):
    """A copy of it that a test may change."""
    return Path(shutil.copytree(clean, tmp_path / "done"))


def test_what_is_measured_is_not_measured_again(tiny, done):
    assert run(tiny, PLAN, done) == []
    wider = dataclasses.replace(PLAN, splits=3)
    assert {cell["seed"] for cell in run(tiny, wider, done)} == {2}


TWO_JOBS = """
import dataclasses, sys
from pathlib import Path
import labelled
import test_benchmark_runner as here
from dcsh_pg.benchmark.runner import run

if __name__ == "__main__":
    itq, lsh, cosine = here.ROWS
    rows = itq, lsh, here.ENDLESS, cosine
    plan = dataclasses.replace(here.PLAN, rows=rows, jobs=2)
    run(labelled.dataset(each=10), plan, Path(sys.argv[1]))
"""


def test_a_run_of_two_jobs_that_is_killed_goes_on_with_one_and_ends_as_a_clean_run(
    tiny, clean, tmp_path
):
    """Both jobs are stuck in a row without end, one of each split, when all before it is done."""
    script, out = tmp_path / "two_jobs.py", tmp_path / "out"
    script.write_text(TWO_JOBS)
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, script, out],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )
    while len(list(out.glob(f"{store.CELLS}/[!.]*"))) < 7:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert len(workers) >= 2 and not alive, "workers outlive their parent"
    assert cells(out).items() < cells(clean).items()
    assert [cell["row"] for cell in run(tiny, PLAN, out)] == [COSINE]
    assert cells(out) == cells(clean)
    assert not (out / IMAGES).exists()


def test_notes_of_processes_are_shown_once():
    shown = []

    class Shown(Progress):
        def note(self, text):
            shown.append(text)

    with runner._shown_here(multiprocessing.get_context("spawn"), Shown()) as notes:
        for text in ("features (a): about 2 min", "features (a): about 3 min", "features (b): 1 h"):
            runner._Sent(notes).note(text)
    assert shown == ["features (a): about 2 min", "features (b): 1 h"]


def test_another_option_measures_that_row_again_and_no_other(tiny, done):
    before = cells(done)
    changed = dataclasses.replace(ROWS[0], options={"orientations": 4, "iterations": 3})
    plan = dataclasses.replace(PLAN, rows=(changed, *ROWS[1:]))
    again = run(tiny, plan, done)
    assert {(cell["row"], cell["seed"]) for cell in again} == {("ITQ", 0), ("ITQ", 1)}
    after = cells(done)
    assert {name for name in after if after[name] != before[name]} == {
        name for name in before if before[name]["row"] == "ITQ"
    }


def test_no_cell_of_an_old_option_is_left_when_a_run_stops(tiny, done):
    class Stopping(Progress):
        def note(self, text):
            raise KeyboardInterrupt

    changed = dataclasses.replace(ROWS[0], options={"iterations": 3})
    plan = dataclasses.replace(PLAN, rows=(changed, *ROWS[1:]))
    with pytest.raises(KeyboardInterrupt):
        run(tiny, plan, done, progress=Stopping())
    (left,) = (cell for cell in cells(done).values() if cell["row"] == "ITQ")
    assert left["identity"]["options"]["iterations"] == 3
    assert not (done / IMAGES).exists()


@pytest.mark.parametrize(
    ("change", "option"), [({"share": 0.5}, "--share"), ({"precision": "bfloat16"}, "--precision")]
)
def test_a_folder_holds_one_protocol(tiny, clean, change, option):
    before = cells(clean)
    with pytest.raises(UsageError, match=f"another {option}"):
        run(tiny, dataclasses.replace(PLAN, **change), clean)
    assert cells(clean) == before


def test_a_folder_holds_one_data_set(clean):
    with pytest.raises(UsageError, match="another --dataset"):
        run(labelled.dataset(classes=3), PLAN, clean)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"share": 1.0}, "--share .* not 1"),
        ({"share": 0.0}, "--share .* not 0"),
        ({"bits": (60,)}, "60 bits"),
    ],
)
def test_senseless_plans_are_reported(tiny, tmp_path, change, words):
    with pytest.raises(UsageError, match=words):
        run(tiny, dataclasses.replace(PLAN, **change), tmp_path)
    assert not list(tmp_path.iterdir())


def test_weights_that_cannot_be_read_are_reported_before_anything_is_measured(tiny, tmp_path):
    rows = (*ROWS, Row("last", "itq", "small", str(tmp_path / "absent.pth")))
    with pytest.raises(InputError, match=r"row 'last': no such weights file: .*absent\.pth"):
        run(tiny, dataclasses.replace(PLAN, rows=rows), tmp_path / "out")
    assert not cells(tmp_path / "out")


def test_what_a_method_refuses_is_a_cell_too(tiny, tmp_path):
    plan = Plan((ROWS[1],), bits=(64,), splits=1)
    (cell,) = run(tiny, plan, tmp_path)
    assert cell["error"] == "lsh cannot make 64 bits from 32 images"
    assert run(tiny, plan, tmp_path) == []


def test_a_folder_that_cannot_be_written_is_reported(tiny, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        run(tiny, PLAN, tmp_path / "file")
