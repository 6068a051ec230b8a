"""Creating the cluster of the embedded server."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path

from dcsh_pg.database.server.private_files import appended, write
from dcsh_pg.database.server.programs import Programs
from dcsh_pg.errors import ServerError

SETTINGS = """
# dcsh-pg
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
timezone = 'UTC'
log_timezone = 'UTC'
shared_buffers = 256MB
max_wal_size = 4GB
random_page_cost = 1.1
max_parallel_workers_per_gather = 4
"""


def create_cluster(cluster: Path, key: Path, programs: Programs, *, owner: str) -> None:
    """Creates a cluster whose superuser ``owner`` has a new password, written to the file ``key``.

    What an interrupted attempt left is removed, and nothing else.

    Raises:
        ServerError: a damaged cluster is there, or initdb fails.
    """
    if (cluster / "global" / "pg_control").exists():
        raise ServerError(
            f"{cluster} is a damaged cluster: PG_VERSION is missing",
            hint="restore it from a backup, or move it away to start with an empty one",
        )
    shutil.rmtree(cluster, ignore_errors=True)
    # The initdb of a killed command may still write to its folder: it cannot be reused.
    prefix = f"{cluster.name}.making-"
    for left in cluster.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(prefix=prefix, dir=cluster.parent))
    write(key, new_password() + "\n", programs.account)
    if programs.account is not None:
        os.chown(unfinished, *programs.account, follow_symlinks=False)
    programs.run(
        "initdb", "-D", unfinished, "-U", owner, "-A", "scram-sha-256", f"--pwfile={key}",
        "--encoding=UTF8", "--locale=C", "--no-instructions",
    )  # fmt: skip
    with appended(unfinished / "postgresql.conf", programs.account) as file:
        file.write(SETTINGS.encode())
    unfinished.rename(cluster)


def new_password() -> str:
    """A random password of characters that need no quoting."""
    return secrets.token_urlsafe(18)
