"""Shows that an installed wheel brings the index ready to use, and that it is exact.

    python packaging/check_wheel.py

Starts the embedded server in a folder of its own.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ["DCSH_PG_DATA"] = os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()
os.chmod(os.environ["DCSH_PG_DATA"], 0o755)
for name in ("PGHOST", "PGSERVICE", "PGDATABASE", "DATABASE_URL"):
    os.environ.pop(name, None)

from dcsh_pg.database.server import native_build  # noqa: E402
from dcsh_pg.database.server.embedded import EmbeddedServer  # noqa: E402

CHECK = Path(__file__).with_name("check_extension.sql")


def main() -> None:
    server = EmbeddedServer.of()
    config = native_build.PgConfig.read(server.programs / "pg_config")
    if not native_build.build_folder(config).is_relative_to(native_build.PREBUILT):
        sys.exit(f"the wheel carries no dcsh_hamming for {config.version}")
    with server.open() as conn:
        conn.add_notice_handler(lambda notice: print(notice.message_primary))
        conn.execute(CHECK.read_text())
        version = conn.info.parameter_status("server_version")
    server.stop()
    print(f"dcsh_hamming in PostgreSQL {version} on {os.uname().machine}")


if __name__ == "__main__":
    main()
