"""Loads six scenes in three flushes and kills itself at the given step."""

import os
import signal
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", ".."))

from synthetic import Scene, add

from dcsh_pg.database.archives import copy_rows, load, registry
from dcsh_pg.database.server.connect import connect


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(dsn: str, name: str, where: str) -> None:
    conn = connect(dsn)
    loader = load.Loader(conn, registry.get_archive(conn, name))
    for n in range(6):
        scene = Scene(f"{name}/{n}.tif")
        if scene.content_hash in loader.known():
            continue
        add(loader, scene, np.full((10, 8), n, np.uint8))
        if n % 2 == 0:
            continue
        if n == 3 and where == "in COPY":
            conn.execute("BEGIN")
            conn.execute("SELECT dcsh.begin_load()")
            with conn.cursor().copy(
                "COPY pg_temp.dcsh_batch_chip FROM STDIN (FORMAT binary)"
            ) as copy:
                copy.write(copy_rows.COPY_HEADER)
                copy.write(loader._scenes[0].chip_rows[0][:500])
                conn.pgconn.flush()
                die()
        if n == 3 and where == "before commit":
            with conn.transaction():
                loader.flush()
                die()
        loader.flush()
        if n == 3 and where == "between flushes":
            die()
    if where == "before the index":
        die()
    with conn.transaction():
        loader.finish()
        if where == "in the index":
            die()


if __name__ == "__main__":
    main(*sys.argv[1:])
