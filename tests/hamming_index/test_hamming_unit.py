"""The C unit tests of kernels, balls and order, under sanitizers."""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "dcsh_pg" / "sql" / "hamming_index"
PARTS = ("distance", "balls", "bisect", "cells", "order", "components")
SANITIZERS = "-fsanitize=address,undefined"


def compile_with(compiler: str, *arguments: object) -> subprocess.CompletedProcess:
    flags = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror"]
    return subprocess.run(
        [compiler, *flags, *map(str, arguments)], capture_output=True, text=True
    )  # fmt: skip


def test_packed_codes_under_sanitizers(compiler, tmp_path):
    empty = tmp_path / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    if compile_with(compiler, SANITIZERS, empty, "-o", tmp_path / "empty").returncode:
        pytest.skip("the C compiler has no sanitizers")
    parts = [SOURCES / f"{name}.c" for name in PARTS]
    program = tmp_path / "test_packed"
    made = compile_with(
        compiler, SANITIZERS, "-fno-sanitize-recover=all", f"-I{SOURCES}",
        Path(__file__).parent / "unit" / "test_packed.c", *parts, "-o", program,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    run = subprocess.run([program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    reported = run.stdout.split("\n")
    assert "kernel portable" in reported and reported[-2] == "connect"


def test_packed_codes_on_arm_by_emulation(tmp_path):
    """The NEON kernels, which no x86 machine runs."""
    compiler = shutil.which("aarch64-linux-gnu-gcc")
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if not (compiler and emulator):
        pytest.skip("no gcc-aarch64-linux-gnu and qemu-user-static to run ARM programs with")
    parts = [SOURCES / f"{name}.c" for name in PARTS]
    program = tmp_path / "test_packed"
    made = compile_with(
        compiler, "-static", f"-I{SOURCES}", Path(__file__).parent / "unit" / "test_packed.c",
        *parts, "-o", program,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    run = subprocess.run([emulator, program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "kernel neon" in run.stdout and run.stdout.endswith("connect\n")
