"""Random roles with random rights, row-level security, planted objects and odd schemas.

Every call creates a database: the extensions in random schemas, some of them open to all, with hostile
functions and operators planted wherever a role could; the schema created by a superuser, or for an
owner by the script of --sql; two archives, one with a random row-level policy.  Roles with random
subsets of the rights to read and to write then try every public function and command.  Faults are

    a planted object that was called
    a row that a role may not read in an answer, or one that it may read missing
    a table that a role changed without the right to
    a failure that is not a DcshError of one line, or a refusal without a hint

    python benchmarks/attacks/rights.py --dsn postgresql://postgres@127.0.0.1:5434/postgres --minutes 60

The DSN is a superuser's, on a server with pgvector and optionally PostGIS.
"""

from __future__ import annotations

import argparse
import random
import sys
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from support.attack import Attack, run
from support.calls import COUNTS, READS, WRITES, load

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
import planted
from synthetic import new_archive

from dcsh_pg.database.archives import registry
from dcsh_pg.database.server import migrate, rights, schema
from dcsh_pg.database.server.connect import connect
from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.errors import DcshError, ServerError

HOMES = ["public", "ext", '"Odd, ""schema"']
TABLES = ["alembic_version", "model", "archive", "scene", "ingest_error", "mine", "other"]
RIGHT_TO_CHANGE = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")


@contextmanager
def database(admin: str, names: list[str]):
    """A new database and login roles, dropped at the end."""
    name = f"dcsh_attack_{uuid.uuid4().hex[:10]}"
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        for role in names:
            conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    try:
        yield make_conninfo(admin, dbname=name)
    finally:
        with psycopg.connect(admin, autocommit=True) as conn:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
            for role in names:
                conn.execute(f"DROP ROLE {role}")


def prepare(admin, rng: random.Random, planter: str) -> None:
    """Creates the extensions in random schemas, some open to all, and the schema of the planter."""
    for home in HOMES[1:]:
        admin.execute(f"CREATE SCHEMA {home}")
        admin.execute(f"GRANT {rng.choice(['USAGE', 'CREATE, USAGE'])} ON SCHEMA {home} TO PUBLIC")
    if rng.random() < 0.7:
        admin.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    for extension in ("vector", "postgis", "dcsh_hamming"):
        offered = "SELECT FROM pg_available_extensions WHERE name = %s"
        if admin.execute(offered, [extension]).fetchone() and (
            extension == "vector" or rng.random() < 0.6
        ):
            admin.execute(f"CREATE EXTENSION {extension} SCHEMA {rng.choice(HOMES)}")
    admin.execute(f"CREATE SCHEMA evil AUTHORIZATION {planter}")
    admin.execute("GRANT USAGE ON SCHEMA evil TO PUBLIC")
    admin.execute("CREATE SEQUENCE evil.called; GRANT ALL ON evil.called TO PUBLIC")


def plant(dsn: str, planter: str) -> int:
    """Plants everything that a role can plant in every schema; returns the number of objects."""
    with psycopg.connect(dsn, autocommit=True) as admin:
        # A role that may search can name the types of these schemas.
        admin.execute(f"GRANT USAGE ON SCHEMA dcsh, dcsh_private TO {planter}; SET ROLE {planter}")
        return sum(
            planted.plant(admin, schema) for schema in [*HOMES, "evil", "dcsh", "dcsh_private"]
        )


def state(admin) -> dict[str, tuple]:
    """Digest of each table of schema dcsh, and its relations with their rights."""
    found = {}
    for table in TABLES:
        if admin.execute("SELECT to_regclass(%s)", [f"dcsh.{table}"]).fetchone()[0] is not None:
            found[table] = admin.execute(
                f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM dcsh.{table} t"
            ).fetchone()
    found["catalog"] = tuple(
        admin.execute(
            "SELECT oid::regclass::text, relacl::text FROM pg_class "
            "WHERE relnamespace::regnamespace::text IN ('dcsh', 'dcsh_private') ORDER BY 1"
        )
    )
    return found


def expect(attack: Attack, what: str, call, *arguments):
    """The result of a call, or its DcshError."""
    attack.tried(what)
    try:
        with sql_errors():
            return call(*arguments)
    except DcshError as error:
        if "\n" in error.message:
            attack.fault(what, f"more than a line: {error.message!r}")
        denied = "permission denied" in error.message and isinstance(error, ServerError)
        if denied and not error.hint:
            attack.fault(what, f"no hint: {error.message}")
        return error


def try_reads(attack: Attack, conn, admin, role: str) -> None:
    for name in ("mine", "other"):
        visible = expect(attack, "SELECT", READS["table"], conn, name)
        needed = [f"dcsh.{table}" for table in ("archive", "model", "scene", name, name + "_layer")]
        may = admin.execute(
            "SELECT bool_and(has_table_privilege(%s, t, 'SELECT')) FROM unnest(%s::text[]) t",
            [role, needed],
        ).fetchone()[0]
        for what, call in [*READS.items(), *COUNTS.items()]:
            found = expect(attack, f"read: {what}", call, conn, name)
            if isinstance(found, Exception):
                if may and not isinstance(visible, Exception):
                    attack.fault(what, f"{role} may read {name}: {found}")
            elif isinstance(visible, Exception):
                if found:
                    attack.fault(what, f"{role} may not read {name} and got {found}")
            elif found != (visible if what in READS else len(visible)):
                attack.fault(what, f"{role} got {found} of {name}, may read {visible}")


def try_writes(attack: Attack, conn, admin, role: str, rng: random.Random) -> None:
    for what, call in rng.sample(sorted(WRITES.items()), len(WRITES)):
        before = state(admin)
        may = {
            table: admin.execute(
                "SELECT bool_or(has_table_privilege(%s, %s, p) OR p IN ('INSERT', 'UPDATE') "
                "AND has_any_column_privilege(%s, %s, p)) FROM unnest(%s::text[]) p",
                [role, f"dcsh.{table}"] * 2 + [list(RIGHT_TO_CHANGE)],
            ).fetchone()[0]
            for table in before
            if table != "catalog"
        }
        expect(attack, f"write: {what}", call, conn, rng.choice(["mine", "other"]))
        after = state(admin)
        for table in before:
            if before[table] != after.get(table) and not may.get(table, False):
                attack.fault(what, f"{role} changed {table} without the right to")


def once(attack: Attack, rng: random.Random) -> None:
    mark = uuid.uuid4().hex[:8]
    owner, planter, *others = names = [f"{part}_{mark}" for part in ("o", "p", "r1", "r2", "r3")]
    with ExitStack() as stack:
        dsn = stack.enter_context(database(attack.options.dsn, names))
        admin = stack.enter_context(psycopg.connect(dsn, autocommit=True))
        admin.execute("SET search_path = pg_catalog")
        prepare(admin, rng, planter)
        migrate.upgrade(dsn)
        owned = rng.random() < 0.5
        attack.tried("planted object", plant(dsn, planter))
        path = rng.choice(["public", "evil, public, pg_catalog", "evil, ext"])
        with_path = make_conninfo(dsn, options=f"-c search_path={path.replace(' ', '')}")
        if owned:
            admin.execute(migrate.script(dsn, owner=owner))
            as_owner = make_conninfo(with_path, user=owner, password="secret")
        else:
            as_owner = with_path
        migrate.upgrade(with_path)
        attack.tried("upgrade by a superuser")
        migrate.upgrade(as_owner)
        conn = stack.enter_context(connect(as_owner))
        for name in ("mine", "other"):
            new_archive(conn, name)
            load(conn, name, "a.tif")
            if rng.random() < 0.5:
                registry.create_code_index(conn, name) if schema.status(conn).hamming else None
        modulus = rng.randint(1, 6)
        admin.execute("ALTER TABLE dcsh.mine ENABLE ROW LEVEL SECURITY")
        admin.execute(f"CREATE POLICY part ON dcsh.mine USING (id % {modulus} = 0)")
        try_reads(attack, conn, admin, owner if owned else conn.info.user)
        for role in others:
            lines = rights.statements(conn, role, write=rng.random() < 0.5)
            share = rng.choice([0.0, 0.5, 0.9, 1.0])
            for line in lines:
                if rng.random() < share:
                    admin.execute(line)
            as_role = make_conninfo(with_path, user=role, password="secret")
            taker = stack.enter_context(connect(as_role))
            if not isinstance(expect(attack, "open", schema.require_current, taker), Exception):
                try_reads(attack, taker, admin, role)
            try_writes(attack, taker, admin, role, rng)
            upgraded = expect(attack, "write: upgrade", migrate.upgrade, as_role)
            if not isinstance(upgraded, Exception):
                attack.fault("upgrade", f"{role} upgraded what is not its own")
        if admin.execute("SELECT is_called FROM evil.called").fetchone()[0]:
            attack.fault("planted object", f"called {path}")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dsn", required=True, help="a superuser's; databases are created on its server"
    )


if __name__ == "__main__":
    run(__doc__, once, add_options=add_options)
