"""The notebook of the documentation runs in an empty folder, and is committed as it ran."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
for library in ("geopandas", "matplotlib"):
    pytest.importorskip(library)

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "search.ipynb"


def kinds_of_outputs(notebook):
    return [
        [output.output_type, *sorted(output.get("data", ()))]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    ]


def text_of_outputs(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [str(output.get("data", {}).get("text/plain", output.get("text"))) for output in outputs]


def test_the_notebook_runs_as_it_is_committed(database, tmp_path, monkeypatch):
    with psycopg.connect(database) as conn:
        info = conn.info
        address = f"{info.user}:{info.password}@{info.host}:{info.port}/{info.dbname}"
    monkeypatch.setenv("DATABASE_URL", f"postgresql://{address}")
    committed = nbformat.read(NOTEBOOK, as_version=4)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    assert kinds_of_outputs(notebook) == kinds_of_outputs(committed)
    ingested, by_image, by_place, *_ = text_of_outputs(notebook)
    assert ingested.startswith("8 of 8 scenes stored, 288 chips")
    assert by_image.count("chip ") == 5 and by_place.count("2023-09-05") == 5
    assert (tmp_path / "dcsh-notebook" / "hits.map.png").stat().st_size > 10_000


def test_the_committed_outputs_name_no_folder_of_a_machine():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert len(kinds_of_outputs(notebook)) == 6
    html = [
        output.get("data", {}).get("text/html", "")
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    ]
    texts = text_of_outputs(notebook) + [re.sub(r"base64,[\w+/=]+", "", one) for one in html]
    assert not re.search(r"(?<!<)/\w+/", "".join(texts))
