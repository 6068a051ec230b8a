"""docs/sql.md has the reference of the catalog."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from dcsh_pg.database.server.connect import connect

FILE = Path(__file__).parents[2] / "docs" / "make_sql_reference.py"
FIX = "run: python docs/make_sql_reference.py DSN"


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location(FILE.stem, FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def document(maker):
    return maker.DOCUMENT.read_text(encoding="utf-8")


def test_the_reference_is_that_of_the_catalog(postgis_database, maker, document):
    with connect(postgis_database) as conn:
        made = maker.put(document, maker.reference(conn))
        assert conn.execute("SELECT count(*) FROM dcsh.archive").fetchone() == (0,)
    assert made == document, FIX


def test_without_postgis_the_functions_are_the_same(any_database, maker, document):
    with connect(any_database) as conn:
        sections = [text for topic in maker.functions(conn).values() for text in topic.values()]
    assert len(sections) > 20
    for text in sections:
        assert text in document, FIX


def test_every_public_function_has_a_section_and_a_comment(any_database, document):
    with connect(any_database) as conn:
        functions = conn.execute(
            """
            SELECT p.proname, obj_description(p.oid, 'pg_proc')
            FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
            WHERE p.pronamespace = 'dcsh'::regnamespace AND l.lanname <> 'c'
            """
        ).fetchall()
    names = [name for name, _ in functions]
    assert len(names) == len(set(names)), "no function is overloaded"
    for name, comment in functions:
        assert comment, name
        assert f"#### `{name}`\n" in document, f"{name}; {FIX}"


def test_every_column_has_a_comment(maker, document):
    begin, end = document.index(maker.BEGIN), document.index(maker.END)
    columns = re.findall(r"^\| (`\w+`) \| .+? \| (.*) \|$", document[begin:end], re.MULTILINE)
    assert len(columns) > 50
    assert [name for name, comment in columns if not comment] == []
