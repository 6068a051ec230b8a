import pytest

from dcsh_pg.benchmark import store
from dcsh_pg.errors import InputError, OutputError

CELL = {"row": "A, 8 / b", "bits": 16, "seed": 0, "mean_average_precision": 0.5}


def test_cells_come_back_and_rows_with_like_names_do_not_mix(tmp_path):
    other = {**CELL, "row": "A  8 b", "mean_average_precision": 0.6}
    with store.alone(tmp_path):
        for cell in (CELL, other):
            store.write_cell(tmp_path, cell)
    assert store.read_cell(tmp_path, CELL["row"], 16, 0) == CELL
    assert store.read_cell(tmp_path, other["row"], 16, 0) == other
    assert store.read_cell(tmp_path, other["row"], 16, 1) is None
    store.drop_cell(tmp_path, CELL["row"], 16, 0)
    assert store.read_cell(tmp_path, CELL["row"], 16, 0) is None


def test_half_a_cell_is_none(tmp_path):
    with store.alone(tmp_path):
        store.write_cell(tmp_path, CELL)
    (file,) = (tmp_path / store.CELLS).iterdir()
    file.write_text(file.read_text()[:20])
    assert store.read_cell(tmp_path, CELL["row"], 16, 0) is None


def test_one_benchmark_at_a_time(tmp_path):
    with (
        store.alone(tmp_path),
        pytest.raises(OutputError, match="another benchmark"),
        store.alone(tmp_path),
    ):
        pass
    with store.alone(tmp_path):
        pass


def test_unwritable_folders_and_folders_of_other_things_are_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"), store.alone(tmp_path / "file"):
        pass
    (tmp_path / "benchmark.json").write_text("half")
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="does not contain a benchmark"):
            store.read_facts(folder)
