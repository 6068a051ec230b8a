"""Shows that an installed wheel brings the index ready to use, and that it is exact.

    python packaging/check_wheel.py

Starts the embedded server in a folder of its own.
"""

from __future__ import annotations

import os
import sys
import tempfile

os.environ["DCSH_PG_DATA"] = os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()
os.chmod(os.environ["DCSH_PG_DATA"], 0o755)
for name in ("PGHOST", "PGSERVICE", "PGDATABASE", "DATABASE_URL"):
    os.environ.pop(name, None)

from dcsh_pg.database.server import native_build  # noqa: E402
from dcsh_pg.database.server.embedded import EmbeddedServer  # noqa: E402

CHECK = """
CREATE EXTENSION dcsh_hamming CASCADE;
SELECT setseed(0.5);
CREATE TABLE chip AS
    SELECT n AS id, (random() * 9e18)::bigint::bit(64) AS code FROM generate_series(1, 20000) n;
CREATE INDEX chip_code ON chip USING hamming (code);
DELETE FROM chip WHERE id % 3 = 0;
VACUUM ANALYZE chip;
SET enable_seqscan = off;
"""
COMPARE = """
SELECT count(*), bool_and(by_index = by_comparing)
FROM chip q,
    LATERAL (SELECT array_agg(d) AS by_index FROM (
        SELECT (c.code <~> q.code)::integer AS d FROM chip c ORDER BY c.code <~> q.code LIMIT 20) n) i,
    LATERAL (SELECT array_agg(d) AS by_comparing FROM (
        SELECT bit_count(c.code # q.code)::integer AS d FROM chip c ORDER BY d LIMIT 20) n) s
WHERE q.id % 997 = 1
"""


def main() -> None:
    server = EmbeddedServer.of()
    config = native_build.PgConfig.read(server.programs / "pg_config")
    if not native_build.build_folder(config).is_relative_to(native_build.PREBUILT):
        sys.exit(f"the wheel carries no dcsh_hamming for {config.version}")
    with server.open() as conn:
        for statement in filter(str.strip, CHECK.split(";\n")):
            conn.execute(statement)
        queries, same = conn.execute(COMPARE).fetchone()
        version = conn.info.parameter_status("server_version")
    server.stop()
    if not same or not queries:
        sys.exit("the index gives other rows than comparing all codes")
    print(
        f"dcsh_hamming in PostgreSQL {version} on {os.uname().machine}: {queries} queries, all exact"
    )


if __name__ == "__main__":
    main()
