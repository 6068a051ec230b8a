"""Output files: complete, or not there; and never in place of a device."""

import os

import pytest

from dcsh_pg.errors import OutputError
from dcsh_pg.files import check_writable, replacing


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "folder", "pipe", "file/below"])
def test_what_cannot_become_a_file_is_reported_and_left_alone(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for attempt in (check_writable, lambda path: replacing(path).__enter__()):
        with pytest.raises(OutputError, match="cannot write") as refused:
            attempt(tmp_path / name)
        assert refused.value.hint
    assert (tmp_path / "pipe").is_fifo()


def test_a_name_that_a_library_cannot_take_is_reported(tmp_path):
    with (
        pytest.raises(OutputError, match="its name is not UTF-8"),
        replacing(tmp_path / "\udcff.gpkg") as temporary,
    ):
        str(temporary).encode()
    with pytest.raises(UnicodeEncodeError), replacing(tmp_path / "a.gpkg"):
        "\udcff".encode()
