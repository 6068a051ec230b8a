"""QGIS, started once without a screen: installs the plugin's zip in a fresh profile and runs all cases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dcsh_pg.archive import Archive
from dcsh_pg.imagery.metadata.options import SceneOptions
from dcsh_pg.synthetic import MODEL

ROOT = Path(__file__).parents[2]
RUN = Path(__file__).with_name("in_qgis") / "run.py"
QGIS_SECONDS = 300


@pytest.fixture(scope="session")
def plugin_zip(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plugin")
    subprocess.run(
        [sys.executable, ROOT / "packaging" / "qgis-plugin", "--out", folder], check=True
    )
    [made] = folder.glob("*.zip")
    return made


@pytest.fixture(scope="session")
def qgis_python() -> str:
    python = os.environ.get("DCSH_TEST_QGIS_PYTHON", "/usr/bin/python3")
    tried = subprocess.run([python, "-c", "import qgis.core"], capture_output=True)
    if tried.returncode:
        pytest.skip("no QGIS: install Debian's python3-qgis, or name DCSH_TEST_QGIS_PYTHON")
    return python


@pytest.fixture(scope="session")
def outcomes(qgis_python, plugin_zip, postgis_admin, postgis_template, scenes, make_database, tmp_path_factory):  # fmt: skip
    """What became of each case: None, or the traceback of its failure."""
    home = tmp_path_factory.mktemp("qgis")
    plugins = home / "profiles" / "default" / "python" / "plugins"
    with zipfile.ZipFile(plugin_zip) as archive:
        archive.extractall(plugins)
    with make_database(postgis_admin, postgis_template) as dsn:
        archive = Archive.create("places", MODEL, sources=[str(scenes)], dsn=dsn)
        archive.ingest([str(scenes)], options=SceneOptions(georeference=False))
        archive.connection.execute(
            "UPDATE dcsh.scene SET properties = properties || jsonb_build_object('gsd', id * 0.1)"
        )
        archive.connection.execute("ANALYZE")
        archive.connection.close()
        given = home / "given.json"
        given.write_text(json.dumps({"dsn": dsn, "profile": str(home / "profiles" / "default"), "pictures": os.environ.get("DCSH_TEST_PICTURES")}))  # fmt: skip
        done = subprocess.run(
            [qgis_python, RUN, given],
            capture_output=True,
            text=True,
            timeout=QGIS_SECONDS,
            env={
                "QT_QPA_PLATFORM": "offscreen",
                "HOME": str(home),
                "LANG": "C.UTF-8",
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"case"')]
    found = {row["case"]: row["failure"] for row in map(json.loads, lines)}
    return found, f"QGIS ended with {done.returncode}: {done.stderr[-3000:]}"
