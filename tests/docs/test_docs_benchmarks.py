"""The programs in benchmarks/ use names that exist, and shadow no library."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("torch")

FOLDER = Path(__file__).parents[2] / "benchmarks"
PROGRAMS = sorted(FOLDER.rglob("*.py"))


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: str(file.relative_to(FOLDER)))
def test_imports_from_the_library_exist(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("dcsh_pg"):
                    importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dcsh_pg"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    assert importlib.util.find_spec(f"{node.module}.{alias.name}"), alias.name


def test_no_benchmark_is_named_like_a_library():
    libraries = importlib.metadata.packages_distributions()
    assert [file.name for file in FOLDER.glob("*.py") if file.stem in libraries] == []
