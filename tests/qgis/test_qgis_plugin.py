"""The plugin in QGIS itself; the cases are in in_qgis/*_cases.py and run in one QGIS."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CASES = [
    f"{file.stem}.{node.name}"
    for file in sorted(Path(__file__).with_name("in_qgis").glob("*_cases.py"))
    for node in ast.parse(file.read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("case_")
]


@pytest.mark.parametrize("case", CASES)
def test_in_qgis(case, outcomes):
    found, end = outcomes
    assert case in found, end
    assert found[case] is None, found[case]
