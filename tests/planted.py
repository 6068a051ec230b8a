"""Hostile objects, planted by a role that may create objects in a schema and nothing else.

Every function and operator that the SQL of dcsh-pg calls gets namesakes: for the types it is called
with, and for types that a call may fit better than the real one (a domain for its base type, varchar
for text, a shorter list for defaults, plain types for "any").  Each warns when it is called and draws
from the sequence ``evil.called``, which no exception handler hides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg

from dcsh_pg import sql

MARK = "a planted object was called"
NEAR = {
    "text": ["character varying", "name"],
    "character varying": ["text"],
    "name": ["text", "character varying"],
    "integer": ["smallint", "bigint"],
    "bigint": ["integer", "smallint"],
    "double precision": ["integer", "numeric", "real"],
    "numeric": ["double precision", "integer"],
    "oid": ["regclass", "bigint"],
    "bit": ["bit varying"],
    "box3d": ["geometry"],
    "box2d": ["geometry"],
    "geometry": ["dcsh.area", "geography"],
    "polygon": ["dcsh.area"],
    "anyelement": ["record", "text", "integer", "bigint", "double precision", "dcsh.archive"],
    "anyarray": ["text[]", "bigint[]", "integer[]", "bit varying[]"],
    "anycompatible": ["text", "integer", "bigint"],
    "anycompatiblearray": ["text[]", "bigint[]", "integer[]"],
}
SIGNS = [
    "=",
    "<>",
    "<",
    "<=",
    ">=",
    "||",
    "->",
    "->>",
    "#>>",
    "&&",
    "<~>",
    "?",
    "+",
    "-",
    "*",
    "/",
    "@>",
    "<@",
    "<<",
    "&",
    "~",
]
SAME = "text,character varying,name,oid,regclass,bigint,double precision,jsonb,bit varying,text[],dcsh.area"
OTHER = """
    text: character varying; text: name; text: integer; text: bigint; name: character varying; name: text
    character varying: text; oid: regclass; regclass: oid; oid: bigint; bigint: integer; integer: bigint
    double precision: integer; integer: double precision; jsonb: text; jsonb: integer; jsonb: text[]
    bit: bit varying; bit varying: bit; text[]: text; bigint[]: bigint; bigint[]: bigint[]
"""
SPATIAL = [("geometry", "dcsh.area"), ("dcsh.area", "geometry"), ("geometry", "box2d")]

PLANT = """
CREATE OR REPLACE FUNCTION pg_temp.plant(statement text) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 1;
EXCEPTION WHEN OTHERS THEN
    RETURN 0;
END
$$
"""


def plant(conn: psycopg.Connection, schema: str) -> int:
    """Plants in a schema all that the role of ``conn`` can; returns how many objects it made."""
    conn.execute(PLANT)
    conn.execute("SET search_path = pg_catalog, pg_temp")
    found = conn.execute(
        "SELECT quote_ident(n.nspname) || '.' FROM pg_extension e "
        "JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'postgis'"
    ).fetchone()
    postgis = found[0] if found else None
    statements = [*_functions(conn, schema, postgis or ""), *_operators(schema, postgis)]
    with conn.transaction():
        (made,) = conn.execute(
            "SELECT sum(pg_temp.plant(s)) FROM unnest(%s::text[]) s", [statements]
        ).fetchone()
    return made


def called_functions() -> set[str]:
    """Names before an opening parenthesis in the SQL of dcsh-pg, lower case."""
    text = "".join(file.read_text("utf-8") for file in sql.FOLDER.glob("*.sql"))
    library = sql.FOLDER.parent / "database"
    text += "".join(file.read_text("utf-8") for file in library.rglob("*.py"))
    return {name.lower() for name in re.findall(r"\b([A-Za-z_]\w+)\(", text)}


def _functions(conn: psycopg.Connection, schema: str, postgis: str) -> Iterator[str]:
    rows = conn.execute(
        """
        SELECT DISTINCT p.proname, array(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) t),
               p.pronargdefaults, p.provariadic <> 0
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE p.proname = ANY (%s) AND p.pronargs BETWEEN 1 AND 7 AND n.nspname NOT IN ('dcsh', 'dcsh_private')
            AND p.prorettype <> ALL ('{internal,trigger,cstring}'::regtype[])
        """,
        [sorted(called_functions())],
    ).fetchall()
    seen = set()
    for name, types, defaults, variadic in rows:
        lists = [types[: len(types) - less] for less in range(defaults + 1)]
        if variadic:
            lists += [types[:-1] + [one] * n for one in ("text", "integer") for n in (1, 2, 3, 4)]
        for one in lists:
            for arguments in map(", ".join, _near(one, postgis)):
                if (name, arguments) not in seen and '"any"' not in arguments:
                    seen.add((name, arguments))
                    yield _function(schema, name, arguments)


def _near(types: list[str], postgis: str) -> Iterator[list[str]]:
    """A list of types, and those that differ by a near type in one place or wherever it is."""
    yield types
    for place, type_ in enumerate(types):
        for near in NEAR.get(type_.removeprefix(postgis), []):
            near = postgis + near if near in ("geometry", "geography") else near
            yield [*types[:place], near, *types[place + 1 :]]
            yield [near if other == type_ else other for other in types]


def _operators(schema: str, postgis: str | None) -> Iterator[str]:
    pairs = [(one, one) for one in SAME.split(",")]
    pairs += [tuple(pair.strip().split(": ")) for pair in re.split("[;\n]", OTHER) if pair.strip()]
    if postgis is not None:
        pairs += [tuple(one if "." in one else postgis + one for one in pair) for pair in SPATIAL]
    for left, right in pairs:
        for type_ in ("boolean", "text"):
            yield _function(schema, f"planted_{type_}", f"{left}, {right}", type_)
        for sign in SIGNS:
            type_ = "text" if sign in "|| -> ->> #>> + - * / &" else "boolean"
            yield (
                f"CREATE OPERATOR {schema}.{sign} (LEFTARG = {left}, RIGHTARG = {right}, "
                f"FUNCTION = {schema}.planted_{type_})"
            )


def _function(schema: str, name: str, arguments: str, type_: str = "text") -> str:
    return (
        f'CREATE FUNCTION {schema}."{name}"({arguments}) RETURNS {type_} LANGUAGE plpgsql AS '
        f"$$BEGIN RAISE WARNING '{MARK}: {name}({arguments})'; "
        "PERFORM pg_catalog.nextval('evil.called'); RETURN NULL; END$$"
    )
