"""The SQL files: revisions, layers and the document that describes them."""

import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from shapely import box
from synthetic import Scene, add, new_archive

from dcsh_pg import sql
from dcsh_pg.database.archives.load import Loader
from dcsh_pg.database.server import schema
from dcsh_pg.database.server.connect import connect

DOCUMENT = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")


def test_revision_is_the_newest_one():
    config = Config()
    config.set_main_option("script_location", str(sql.FOLDER / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [sql.REVISION]


def test_both_layers_have_the_same_functions():
    core, postgis = (
        re.findall(
            r"FUNCTION (dcsh\w*\.\w+)\(", (sql.FOLDER / f"010_spatial_{layer}.sql").read_text()
        )
        for layer in ("core", "postgis")
    )
    assert core == postgis


def test_private_objects_are_in_their_own_schema():
    files = [
        *sql.FOLDER.glob("[0-9]*.sql"),
        *(sql.FOLDER.parent / "database").rglob("*.py"),
    ]
    found = [
        file.name for file in files if re.search(r"\bdcsh\._|call\(\"_", file.read_text("utf-8"))
    ]
    assert len(files) > 40 and found == ["003_removed.sql"]  # A view of dcsh-pg 0.1.


@pytest.mark.parametrize("layer", ["core", "postgis"])
def test_files_are_run_in_order_and_each_once(layer):
    names = [file.name for file in (*sql.preparing(layer), *sql.functions(layer))]
    assert names == sorted(set(names))
    assert not any(("core" if layer == "postgis" else "postgis") in name for name in names)


NOT_RUN = {"In QGIS", "Load", "Administer", "Reference", "Troubleshooting"}
"""Sections of the document whose statements change things, or are not for this archive."""


def examples():
    for section, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", DOCUMENT, re.M | re.S):
        for block in re.findall(r"```sql\n(.*?)```", "" if section in NOT_RUN else body, re.S):
            yield from (f"{statement};" for statement in block.split(";\n") if statement.strip())


def test_the_examples_of_the_document_run(any_deployment):
    with connect(any_deployment) as conn:
        for name in ("naip", "other"):
            loader = Loader(conn, new_archive(conn, name))
            boxes = [box(-86.5 + n / 50, 30.4, -86.48 + n / 50, 30.45) for n in range(50)]
            for year in (2019, 2021):
                acquired, properties = datetime(year, 6, 1), {"gsd": 0.3}
                scene = Scene(f"{name}/{year}", acquired=acquired, properties=properties)
                add(loader, scene, np.arange(400, dtype=np.uint8).reshape(50, 8), boxes)
            loader.flush()
        conn.execute("CREATE TABLE ponds AS SELECT 'a' AS name, -86.3 AS lon, 30.42 AS lat")
        core = schema.status(conn).layer == "core"
        foreign = "ST_" if core else "area => '(("
        distributed = conn.execute("SELECT dcsh_private.is_distributed('naip')").fetchone()[0]
        # Citus joins distributed tables on their key alone.
        ran = [
            s for s in examples()
            if foreign not in s and not (distributed and "JOIN dcsh.naip b" in s)
        ]  # fmt: skip
        for statement in ran:
            assert conn.execute(statement).fetchall(), statement
    assert len(ran) > 14
