"""Makes the pictures of README and docs/gis.md, and the outputs of the notebook.

    python docs/make_pictures.py

Runs the demo and the notebook in a temporary folder and on an embedded server of their own, then the
search of docs/gis.md.  Codes differ in some bits between machines, and so may the hits: run it only
if the pictures should change.  `dcsh-pg report` makes those of docs/results.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat

DOCS = Path(__file__).parent.resolve()

SEARCH = [
    *("search", "notebook", "--at", "-0.3513", "39.4715", "--since", "2023", "-k", "9"),
    *("--area", "-0.394,39.469,-0.358,39.477", "--out", "hits.map.png"),
]
"""The search of docs/gis.md."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        work.chmod(0o711)  # as root, the server runs as another user
        for name in [*os.environ]:
            if name == "DATABASE_URL" or name.startswith("PG"):
                del os.environ[name]
        os.environ["DCSH_PG_DATA"] = str(work / "data")
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        try:
            run("demo", "--quiet", folder=work)
            shutil.copy(work / "dcsh-demo" / "2-by-chip.png", DOCS / "contact-sheet.png")
            execute(DOCS / "notebooks" / "search.ipynb", work)
            run(*SEARCH, folder=work)
            shutil.copy(work / "hits.map.png", DOCS / "map.png")
        finally:
            run("db", "stop", folder=work)


def execute(file: Path, folder: Path) -> None:
    """Executes a notebook in a folder and stores its outputs."""
    notebook = nbformat.read(file, as_version=4)
    resources = {"metadata": {"path": folder}}
    client = nbclient.NotebookClient(
        notebook, kernel_name="python3", record_timing=False, resources=resources
    )
    client.execute()
    notebook.metadata.language_info = {"name": "python"}  # not this machine's version
    nbformat.write(notebook, file)


def run(*arguments: str, folder: Path) -> None:
    subprocess.run(["dcsh-pg", *arguments], cwd=folder, check=True)


if __name__ == "__main__":
    main()
