"""Rewrites the reference in docs/sql.md from the catalog of a database.

    python docs/make_sql_reference.py postgresql://postgres@127.0.0.1/postgres

The DSN is of a server with PostGIS and pgvector on which the role may create a database; it is
dropped afterwards.  Names, arguments, results and comments come from the catalog, topics and their
order from the files in sql/.  A test fails if docs/sql.md differs.
"""

from __future__ import annotations

import re
import sys
import uuid
from collections import defaultdict
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from dcsh_pg import sql
from dcsh_pg.card import ModelCard
from dcsh_pg.database.archives import registry
from dcsh_pg.database.server import migrate

DOCUMENT = Path(__file__).with_name("sql.md")
BEGIN = "<!-- made by docs/make_sql_reference.py -->\n"
END = "<!-- end -->\n"

ARCHIVE, BITS = "archive_of_the_reference", 1016
"""A temporary archive whose tables and views are documented, with name <archive> and K bits."""

SEARCH_PATH = "SET LOCAL search_path = public"
"""Gives type names with the schema dcsh and without that of PostGIS."""

WIDTH = 96
"""Longest line of a signature, in characters."""

_SHORT = {
    "timestamp with time zone": "timestamptz",
    "polygon": "geometry",
    "geometry(Polygon,4326)": "geometry",
}
"""Usual names of types; a footprint as with PostGIS."""


def reference(conn: psycopg.Connection) -> str:
    """The reference as Markdown; the database does not change."""
    parts = []
    for topic, entries in functions(conn).items():
        parts += [f"### Functions: {topic}\n", *entries.values()]
    return "\n".join([*parts, "### Tables, views and types\n", *relations(conn)])


def functions(conn: psycopg.Connection) -> dict[str, dict[str, str]]:
    """Topic -> function -> its entry as Markdown, in the order of the files in sql/."""
    with conn.transaction():
        conn.execute(SEARCH_PATH)
        rows = conn.execute(
            """
            SELECT p.proname, p.proargnames, coalesce(p.proargmodes, array_fill('i'::"char", ARRAY[p.pronargs])),
                   array(SELECT format_type(t, NULL)
                         FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]))
                             WITH ORDINALITY u(t, n) ORDER BY n),
                   array(SELECT pg_get_function_arg_default(p.oid, n::integer)
                         FROM generate_series(1, p.pronargs) n ORDER BY n),
                   format_type(p.prorettype, NULL), p.proretset, obj_description(p.oid, 'pg_proc')
            FROM pg_proc p
            WHERE p.pronamespace = 'dcsh'::regnamespace
                AND NOT EXISTS (SELECT FROM pg_depend d
                                WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                                    AND d.deptype = 'e')
            """
        ).fetchall()
    entries = {row[0]: _function(*row) for row in rows}
    topics: dict[str, dict[str, str]] = defaultdict(dict)
    core = {name for _, name in _made(sql.functions("core"))}
    for file, name in _made(sql.functions("postgis")):
        if name in entries:
            note = "" if name in core else "Only with PostGIS.\n"
            topics[_topic(file)][name] = entries[name] + note
    return topics


def relations(conn: psycopg.Connection) -> list[str]:
    """The entry of each table, view and type as Markdown: those of an archive first."""
    with conn.transaction(force_rollback=True):
        conn.execute(SEARCH_PATH)
        card = ModelCard(
            name="<model>", method="<method>", bits=BITS, bands=3, chip_size=64, input_size=64,
            mean=(0.5,) * 3, std=(0.25,) * 3, encoder="none",
        )  # fmt: skip
        model = registry.store_model(conn, card, b"a model for the reference")
        registry.create_archive(conn, ARCHIVE, model, {})
        rows = conn.execute(
            """
            SELECT c.relname, c.relkind,
                   coalesce(obj_description(c.oid, 'pg_class'), obj_description(c.reltype, 'pg_type')),
                   array(SELECT ARRAY[a.attname::text, format_type(a.atttypid, a.atttypmod),
                                      col_description(c.oid, a.attnum)]
                         FROM pg_attribute a
                         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                         ORDER BY a.attnum)
            FROM pg_class c
            WHERE c.relnamespace = 'dcsh'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
            ORDER BY c.relname NOT LIKE %(archive)s || '%%', c.relkind = 'c', c.relname
            """,
            {"archive": ARCHIVE},
        ).fetchall()
        domains = conn.execute(
            """
            SELECT t.typname, obj_description(t.oid, 'pg_type') FROM pg_type t
            WHERE t.typnamespace = 'dcsh'::regnamespace AND t.typtype = 'd' ORDER BY t.typname
            """
        ).fetchall()
    return [
        *(_relation(*row) for row in rows),
        *(f"#### `dcsh.{name}`\n\nType. {_text(comment)}.\n" for name, comment in domains),
    ]


def _made(files: list[Path]) -> list[tuple[Path, str]]:
    """File and name of every function that the files create, in order."""
    created = re.compile(r"^CREATE (?:OR REPLACE )?FUNCTION dcsh\.(\w+)\(", re.MULTILINE)
    return [(file, name) for file in files for name in created.findall(file.read_text("utf-8"))]


def _topic(file: Path) -> str:
    """'055_near_duplicates.sql' -> 'near duplicates'."""
    words = re.sub(r"^\d+_|_(core|postgis)$", "", file.stem).replace("_", " ")
    return re.sub(r"\bstac\b", "STAC", words)


def _function(
    name: str,
    names: list[str] | None,
    modes: list[str],
    types: list[str],
    defaults: list[str | None],
    result: str,
    returns_set: bool,
    comment: str,
) -> str:
    arguments, columns = [], []
    for n, (mode, type_) in enumerate(zip(modes, types, strict=True)):
        one = f"{names[n]} {_short(type_)}"
        if mode in ("o", "t"):
            columns.append(one)
            continue
        default = defaults[n] and re.sub(r"::[\w \[\]]+$", "", defaults[n])
        arguments.append(f"{one} = {default}" if default else one)
    result = f"({', '.join(columns)})" if columns else _short(result)
    call = _wrapped(f"{name}({', '.join(arguments)})")
    gives = _wrapped(f"→ {'setof ' * returns_set}{result}")
    between = " " if "\n" not in call + gives and len(call) + len(gives) < WIDTH else "\n"
    return f"#### `{name}`\n\n```\n{call}{between}{gives}\n```\n\n{_text(comment)}.\n"


def _relation(name: str, kind: str, comment: str, columns: list[list[str | None]]) -> str:
    what = {"v": "View", "m": "View", "c": "Type"}.get(kind, "Table")
    header = f"#### `dcsh.{_general(name)}`\n\n{what}. {_text(_general(comment or ''))}.\n\n"
    lines = [
        f"| `{column}` | {_short(_general(type_))} | {_text(_general(comment or ''))} |"
        for column, type_, comment in columns
    ]
    return header + "\n".join(["| column | type | |\n|---|---|---|", *lines]) + "\n"


def _general(text: str) -> str:
    return text.replace(ARCHIVE, "<archive>").replace(str(BITS), "K")


def _short(type_: str) -> str:
    return _SHORT.get(type_, type_.replace("timestamp with time zone", "timestamptz"))


def _text(comment: str) -> str:
    """A comment as Markdown, in which < before a letter would start a tag."""
    return re.sub(r"<(?=\w)", r"\\<", comment).replace("|", r"\|")


def _wrapped(text: str) -> str:
    """The text, wrapped after commas."""
    lines = [""]
    for part in re.split(r"(?<=,) ", text):
        if lines[-1] and len(lines[-1]) + 1 + len(part) > WIDTH:
            lines.append("    " + part)
        else:
            lines[-1] = f"{lines[-1]} {part}" if lines[-1] else part
    return "\n".join(lines)


def put(document: str, text: str) -> str:
    """The document with a new reference."""
    before, rest = document.split(BEGIN)
    return before + BEGIN + "\n" + text + "\n" + END + rest.split(END, 1)[1]


def main(dsn: str) -> None:
    name = f"dcsh_reference_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(dsn, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            made = make_conninfo(dsn, dbname=name)
            migrate.upgrade(made, spatial="postgis")
            with psycopg.connect(made, autocommit=True) as conn:
                text = reference(conn)
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    document = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(put(document, text), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
