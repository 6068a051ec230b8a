"""The temporary folder of a server that was killed is removed by the next server, and nothing else is."""

import subprocess
import sys
import tempfile

import pytest

from dcsh_pg.serve.folder import in_use, temporary_folder

SERVER = """
from dcsh_pg.serve.folder import temporary_folder
with temporary_folder() as folder:
    (folder / "1-columns").mkdir()
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_the_folder_of_a_killed_server_is_removed(temporary):
    command = [sys.executable, "-c", SERVER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        subprocess.Popen(command, **pipes) as killed,
        subprocess.Popen(command, **pipes) as running,
    ):
        left, used = killed.stdout.readline().strip(), running.stdout.readline().strip()
        killed.kill()
        killed.wait()
        with temporary_folder() as own:
            assert {str(found) for found in temporary.iterdir()} == {used, str(own)}
        assert left != used
        running.communicate("\n")
    assert list(temporary.iterdir()) == []


def test_a_folder_is_kept_while_a_worker_uses_it(temporary):
    orphaned = temporary / "dcsh-serve-worker"
    orphaned.mkdir()
    (orphaned / "lock").touch()
    with in_use(orphaned) as is_there, temporary_folder():
        assert is_there and orphaned.is_dir()
    with temporary_folder():
        assert not orphaned.exists()


def test_what_is_no_server_s_is_kept(temporary):
    mine = temporary / "dcsh-serve-notes"
    mine.mkdir()
    (mine / "notes.txt").touch()
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (temporary / "dcsh-serve-link").symlink_to(elsewhere)
    with temporary_folder():
        assert (mine / "notes.txt").exists() and (elsewhere / "lock").exists()
