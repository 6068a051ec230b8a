"""The notebooks of the documentation run from a clean state."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psycopg
import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
for library in ("torch", "geopandas", "matplotlib"):
    pytest.importorskip(library)

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_notebook_is_kept_without_outputs(file):
    for cell in nbformat.read(file, as_version=4).cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None, cell.source


@pytest.fixture
def executed(database, tmp_path, monkeypatch):
    """The notebook with its outputs, run in an empty folder and an empty database."""
    monkeypatch.setenv("DATABASE_URL", url(database))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(ROOT / "docs" / "notebooks" / "search.ipynb", as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    return client.execute()


def url(dsn: str) -> str:
    with psycopg.connect(dsn) as conn:
        info = conn.info
        return f"postgresql://{info.user}:{info.password}@{info.host}:{info.port}/{info.dbname}"


def outputs(notebook, kind):
    return [
        output.data[kind]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if kind in output.get("data", {})
    ]


def test_search_notebook_shows_what_it_says(executed, database, tmp_path):
    assert len(outputs(executed, "image/png")) == 2
    tables = outputs(executed, "text/html")
    assert len(tables) == 4 and "2019-04-18" in tables[2] and "2023-09-05" in tables[2]
    assert {file.name for file in (tmp_path / "dcsh-notebook").iterdir()} == {
        "scenes", "run", "model.onnx", "by-image.png", "by-place.map.png",
        "hits.parquet", "hits.fgb", "hits.gpkg", "hits.geojsonl",
    }  # fmt: skip
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT count(*) FROM dcsh.notebook").fetchone() == (288,)
