"""The plugin uses of Qt what Qt 6 has: mypy checks it against the types of PyQt6."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[2] / "qgis" / "dcsh_pg_search"
MISUSES = {"attr-defined", "name-defined", "call-arg"}
"""mypy's codes for what PyQt6 does not have. PyQt6 also types much as optional that never is None."""

QGIS_STUBS = {
    "__init__": "",
    "PyQt/__init__": "",
    **{f"PyQt/{name}": f"from PyQt6.{name} import *" for name in ("QtCore", "QtGui", "QtWidgets")},
    "core": "from typing import Any\ndef __getattr__(name: str) -> Any: ...",
    "gui": """
from typing import Any
from PyQt6.QtWidgets import QDateTimeEdit, QGroupBox, QLineEdit

def __getattr__(name: str) -> Any: ...
class QgsFilterLineEdit(QLineEdit): ...
class QgsCollapsibleGroupBox(QGroupBox):
    def setCollapsed(self, collapse: bool) -> None: ...
class QgsDateTimeEdit(QDateTimeEdit):
    def setAllowNull(self, allowNull: bool) -> None: ...
    def isNull(self) -> bool: ...
""",
}

OF_QT5 = """
from qgis.PyQt.QtCore import QObject, QRegExp, Qt
from qgis.PyQt.QtWidgets import QAction, QDialog, QTableWidget

def use(dialog: QDialog, table: QTableWidget) -> None:
    dialog.exec_()
    dialog.setWindowFlags(Qt.Dialog)
    table.setSelectionMode(QTableWidget.SingleSelection)
"""


def misuses(package: Path, stubs: Path) -> list[str]:
    """What mypy finds in a plugin, 'file:line: error: ...'."""
    for name, text in QGIS_STUBS.items():
        stub = stubs / "qgis" / f"{name}.pyi"
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(f"{text}\n")
    (stubs / "mypy.ini").write_text(
        "[mypy]\nmypy_path = .\ncheck_untyped_defs = True\nignore_missing_imports = True\n"
        "strict_optional = False\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", stubs / "mypy.ini", package]
    done = subprocess.run(command, cwd=stubs, capture_output=True, text=True)
    assert "Found" in done.stdout or "Success" in done.stdout, done.stdout + done.stderr
    found = re.findall(rf"^.*{package.name}/.*: error: .*\[.*\]$", done.stdout, re.MULTILINE)
    return [line for line in found if line.rsplit("[", 1)[1].rstrip("]") in MISUSES]


@pytest.mark.skipif(importlib.util.find_spec("PyQt6") is None, reason="needs PyQt6")
def test_the_plugin_uses_nothing_that_qt_6_lacks(tmp_path):
    package = tmp_path / PLUGIN.name
    shutil.copytree(PLUGIN, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "of_qt5.py").write_text(OF_QT5)
    found = [line.partition(f"{package.name}/")[2] for line in misuses(package, tmp_path)]
    of_qt5 = [line for line in found if line.startswith("of_qt5.py")]
    assert {int(line.split(":")[1]) for line in of_qt5} == {2, 3, 6, 7, 8}
    assert found == of_qt5
