"""The extension's scripts: whose operator the operator class takes, and updates."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

OPERATOR = """
SELECT o.oprnamespace::regnamespace::text FROM pg_amop p
    JOIN pg_am a ON a.oid = p.amopmethod JOIN pg_operator o ON o.oid = p.amopopr
WHERE a.amname = 'hamming'
"""


@pytest.fixture
def bare(db) -> psycopg.Connection:
    """A database with pgvector in public, and in schema ``mine`` an operator of the same name."""
    db.execute("DROP EXTENSION dcsh_hamming")
    db.execute("CREATE SCHEMA mine")
    db.execute(
        "CREATE FUNCTION mine.f(bit, bit) RETURNS float8 LANGUAGE sql IMMUTABLE RETURN 1.0::float8"
    )
    db.execute("CREATE OPERATOR mine.<~> (FUNCTION = mine.f, LEFTARG = bit, RIGHTARG = bit)")
    return db


@pytest.fixture
def owner(bare) -> Iterator[str]:
    """An unprivileged role that owns the database, and so may create trusted extensions."""
    role = f"owner_of_{bare.info.dbname}"
    bare.execute(f"CREATE ROLE {role}")
    bare.execute(f"GRANT CREATE ON DATABASE {bare.info.dbname} TO {role}")
    bare.execute(f"ALTER SCHEMA mine OWNER TO {role}")
    yield role
    bare.execute("RESET ROLE")
    bare.execute(f"DROP OWNED BY {role} CASCADE")
    bare.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("version", ["1.0", None])
def test_a_database_owner_cannot_hijack_the_operator(bare, owner, version):
    bare.execute(f"SET ROLE {owner}")
    clause = f"VERSION '{version}'" if version else ""
    bare.execute(f"CREATE EXTENSION dcsh_hamming SCHEMA mine {clause}")
    assert bare.execute(OPERATOR).fetchall() == [("public",)]
    bare.execute("DROP EXTENSION dcsh_hamming")


def test_the_operator_is_found_in_any_schema(bare):
    bare.execute('CREATE SCHEMA "Odd % one"')
    bare.execute('ALTER EXTENSION vector SET SCHEMA "Odd % one"')
    bare.execute("CREATE EXTENSION dcsh_hamming SCHEMA mine")
    assert bare.execute(OPERATOR).fetchall() == [('"Odd % one"',)]


def test_an_update_refuses_an_operator_class_with_another_operator(bare):
    bare.execute("CREATE EXTENSION dcsh_hamming VERSION '1.1'")
    bare.execute(
        "CREATE OPERATOR CLASS mine.captured FOR TYPE bit USING hamming AS "
        "OPERATOR 1 mine.<~> (bit, bit) FOR ORDER BY float_ops"
    )
    with pytest.raises(psycopg.Error, match='not of extension "vector"') as raised:
        bare.execute("ALTER EXTENSION dcsh_hamming UPDATE")
    assert "DROP EXTENSION dcsh_hamming CASCADE" in raised.value.diag.message_hint
    bare.execute("DROP OPERATOR FAMILY mine.captured USING hamming")
    bare.execute("ALTER EXTENSION dcsh_hamming UPDATE")


def test_an_older_version_gets_new_functions_by_an_update(bare):
    bare.execute("CREATE EXTENSION dcsh_hamming VERSION '1.0'")
    assert bare.execute("SELECT to_regproc('hamming_nearest')").fetchone() == (None,)
    bare.execute("ALTER EXTENSION dcsh_hamming UPDATE")
    assert bare.execute("SELECT to_regproc('hamming_nearest')").fetchone() != (None,)
