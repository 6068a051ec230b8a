"""Sessions in which other users' objects are not on the search path.

An unqualified name in a statement is looked up along the search path, and a function or operator
that matches the argument types better than one of ``pg_catalog`` is preferred.  So a user who may
create objects in a schema of the path can make others run code.  The functions of ``dcsh`` have
their own path; this is for the statements of the library.
"""

from __future__ import annotations

import psycopg

from dcsh_pg.database.server.rows import one_row

SAFE = "SET {}search_path = pg_catalog, pg_temp"

# One statement, because a pooler may not keep the session; all names are qualified, because the path
# is not safe yet.
_SHARED = """
SELECT EXISTS (
    SELECT
    FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) path(name)
        JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) path.name
        CROSS JOIN LATERAL (
            SELECT n.nspowner AS role
            UNION ALL
            SELECT a.grantee FROM pg_catalog.aclexplode(n.nspacl) a
            WHERE a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'::pg_catalog.text) creator
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_roles r
        WHERE (r.rolsuper OR r.rolname OPERATOR(pg_catalog.=) current_user)
            AND r.oid OPERATOR(pg_catalog.=) CASE
                WHEN creator.role OPERATOR(pg_catalog.=) 'pg_database_owner'::pg_catalog.regrole THEN (
                    SELECT d.datdba FROM pg_catalog.pg_database d
                    WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
                ELSE creator.role END)
), pg_catalog.pg_backend_pid()
"""


def make_safe(conn: psycopg.Connection) -> None:
    """Reduces the search path to ``pg_catalog`` if other users may create objects in its schemas.

    Behind a pooler nothing is set: the setting would reach the sessions of other clients.
    """
    shared, pid = one_row(conn, _SHARED)
    if shared and pid == conn.info.backend_pid:
        conn.execute(SAFE.format(""))
