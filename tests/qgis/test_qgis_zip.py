"""The plugin's zip, and what QGIS's plugin site asks of it."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import dcsh_pg

MAKE = Path(__file__).parents[2] / "packaging" / "qgis-plugin"


def made(folder: Path, *options: str) -> Path:
    command = [sys.executable, MAKE, "--out", folder, *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def test_the_zip_is_the_same_every_time(tmp_path):
    first, second = made(tmp_path / "a"), made(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 1 << 20
    assert first.name == f"dcsh_pg_search-{dcsh_pg.__version__}.zip"


def test_the_zip_has_what_the_plugin_site_requires(tmp_path):
    url = "https://example.org/dcsh-pg"
    with zipfile.ZipFile(made(tmp_path, "--url", url, "--email", "a@example.org")) as archive:
        names = archive.namelist()
        text = archive.read("dcsh_pg_search/metadata.txt").decode()
    assert {name.split("/")[0] for name in names} == {"dcsh_pg_search"}
    assert "dcsh_pg_search/LICENSE" in names and not any("__pycache__" in name for name in names)
    metadata = configparser.ConfigParser()
    metadata.read_string(text)
    general = metadata["general"]
    assert general["version"] == dcsh_pg.__version__
    required = ("name", "description", "about", "author", "email", "repository", "tracker")
    assert all(general[name] for name in (*required, "qgisMinimumVersion"))
    assert f"dcsh_pg_search/{general['icon']}" in names
