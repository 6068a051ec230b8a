"""Rights of roles other than the owner: to search, and to load.

A role that reads may use every archive, including future ones, and every function that only reads.
A role that writes may also load existing archives and remove scenes.  Only the owner of schema dcsh
creates and drops archives and indexes.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from dcsh_pg.database.server.pg_errors import sql_errors
from dcsh_pg.database.server.rows import one_row, scalar
from dcsh_pg.errors import NotFound, ServerError

READ = """
GRANT USAGE ON SCHEMA dcsh, dcsh_private TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA dcsh TO {role};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA dcsh GRANT SELECT ON TABLES TO {role};
"""
READ_FUNCTION = "GRANT EXECUTE ON FUNCTION {function} TO {role};\n"
WRITE = """
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dcsh, dcsh_private TO {role};
GRANT INSERT ON dcsh.model TO {role};
GRANT UPDATE (last_chip_id, pair_distances) ON dcsh.archive TO {role};
GRANT INSERT, UPDATE, DELETE ON dcsh.scene, dcsh.ingest_error TO {role};
GRANT DELETE ON dcsh_private.load_lock TO {role};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA dcsh GRANT INSERT, DELETE ON TABLES TO {role};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA dcsh, dcsh_private GRANT EXECUTE ON FUNCTIONS TO {role};
"""
WRITE_ARCHIVE = "GRANT INSERT, DELETE, UPDATE (acquired) ON dcsh.{archive} TO {role};\n"


def statements(conn: psycopg.Connection, role: str, *, write: bool = False) -> list[str]:
    """The SQL that grants a role the right to read or, with ``write``, to read and write.

    Raises:
        NotFound: there is no such role.
    """
    with sql_errors():
        if conn.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
            raise NotFound(
                f"role '{role}' does not exist", hint="as administrator: CREATE ROLE ... LOGIN"
            )
        owner = scalar(
            conn,
            str,
            "SELECT r.rolname FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner "
            "WHERE n.nspname = 'dcsh'",
        )
        archives = conn.execute("SELECT name FROM dcsh.archive ORDER BY name").fetchall()
        with conn.transaction():
            # Types are written with their schema: the statements may run under any search_path.
            conn.execute("SET LOCAL search_path = pg_catalog")
            readers = conn.execute(
                "SELECT p.oid::regprocedure::text FROM pg_proc p "
                "JOIN pg_language l ON l.oid = p.prolang "
                "WHERE p.pronamespace IN ('dcsh'::regnamespace, 'dcsh_private'::regnamespace) "
                "AND l.lanname <> 'c' "
                "AND (p.provolatile <> 'v' OR p.oid = 'dcsh_private.explain'::regproc) ORDER BY 1"
            ).fetchall()
    names = {"role": sql.Identifier(role), "owner": sql.Identifier(owner)}
    parts = [sql.SQL(READ).format(**names)]
    parts += [sql.SQL(READ_FUNCTION).format(function=sql.SQL(one), **names) for (one,) in readers]
    if write:
        parts.append(sql.SQL(WRITE).format(**names))
        parts += [
            sql.SQL(WRITE_ARCHIVE).format(archive=sql.Identifier(name), **names)
            for (name,) in archives
        ]
    text = "".join(part.as_string(conn) for part in parts)
    return [line for line in text.splitlines() if line]


def grant(conn: psycopg.Connection, role: str, *, write: bool = False) -> None:
    """Runs :func:`statements` in one transaction; for the owner of schema dcsh.

    Raises:
        NotFound: there is no such role.
        ServerError: this role may not grant it, or only another role can grant the use of an
            extension's schema or temporary tables; all other rights are granted then.
    """
    lines = statements(conn, role, write=write)
    with sql_errors(), conn.transaction():
        if not scalar(
            conn,
            bool,
            "SELECT pg_has_role(current_user, nspowner, 'USAGE') FROM pg_namespace "
            "WHERE nspname = 'dcsh'",
        ):
            raise ServerError(
                "only the owner of schema dcsh can grant rights on it",
                hint="run this command as the owner, or have the owner run the SQL that --sql prints",
            )
        for line in lines:
            conn.execute(line)
        missing = [
            line for line in elsewhere(conn, role, write=write) if not _is_granted(conn, line)
        ]
    if missing:
        raise ServerError(
            f"role '{role}' also needs a right that this role cannot grant",
            hint="have its owner run: " + " ".join(missing),
        )


def elsewhere(conn: psycopg.Connection, role: str, *, write: bool = False) -> list[str]:
    """The SQL that grants the rights that ``role`` lacks outside schema dcsh."""
    with sql_errors():
        schemas = conn.execute(
            "SELECT DISTINCT n.nspname FROM pg_extension e "
            "JOIN pg_namespace n ON n.oid = e.extnamespace "
            "WHERE e.extname IN ('vector', 'postgis') AND n.nspname <> 'dcsh' "
            "AND NOT has_schema_privilege(%s::text, n.oid, 'USAGE') ORDER BY 1",
            [role],
        ).fetchall()
    asked = [("USAGE ON SCHEMA", name) for (name,) in schemas]
    database, temporary = one_row(
        conn,
        "SELECT current_database(), "
        "has_database_privilege(%s::text, current_database()::text, 'TEMPORARY')",
        [role],
    )
    if write and not temporary:
        asked.append(("TEMPORARY ON DATABASE", database))
    return [
        sql.SQL("GRANT {} {} TO {};")
        .format(sql.SQL(what), sql.Identifier(name), sql.Identifier(role))
        .as_string(conn)
        for what, name in asked
    ]


def _is_granted(conn: psycopg.Connection, statement: str) -> bool:
    """Runs a GRANT; False if this role may not grant that, of which the server may only warn."""
    notices: list[psycopg.errors.Diagnostic] = []
    conn.add_notice_handler(notices.append)
    try:
        with conn.transaction():
            conn.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        return False
    finally:
        conn.remove_notice_handler(notices.append)
    return not notices
