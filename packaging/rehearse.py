"""Runs the steps of a Dockerfile in Debian folders, where no container runtime is at hand.

    sudo python packaging/rehearse.py packaging/image/Dockerfile FOLDER

Knows FROM postgres:N-SUITE (a debootstrapped SUITE with its own PostgreSQL N) and FROM scratch, ARG, ENV,
RUN, and COPY from the checkout or an earlier stage. The last stage is left in FOLDER.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = Path(os.environ.get("CLEAN_DEBIAN_CACHE", "/var/cache/clean-debian"))
FROM = re.compile(r"(?:postgres:(?P<major>\d+)-(?P<suite>\w+)|scratch)$")


class Stage:
    def __init__(self, folder: Path, image: str):
        self.folder, self.environment = (
            folder,
            {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        match = FROM.match(image) or sys.exit(f"cannot rehearse FROM {image}")
        folder.mkdir(parents=True)
        if match["major"]:
            base = CACHE / match["suite"]
            if not base.is_dir():
                sys.exit(f"no {base}: packaging/clean-debian {match['suite']} '' true makes it")
            shell("cp", "-a", f"{base}/.", folder)
            for file in ("/etc/resolv.conf", "/etc/pip.conf"):
                if Path(file).exists():
                    shell("cp", "-L", file, f"{folder}{file}")
            self.environment["PG_MAJOR"] = match["major"]
            self.environment["PATH"] += f":/usr/lib/postgresql/{match['major']}/bin"
            self.run(
                "echo 'create_main_cluster = false' >/tmp/cluster; mkdir -p /etc/postgresql-common; "
                "mv /tmp/cluster /etc/postgresql-common/createcluster.conf; apt-get update -qq; "
                f"apt-get install -y -qq --no-install-recommends ca-certificates postgresql-{match['major']}"
            )
            bundle = Path("/etc/ssl/certs/ca-certificates.crt")
            if bundle.exists():
                shell("cp", "-L", bundle, f"{folder}{bundle}")

    def run(self, command: str) -> None:
        quiet = {"DEBIAN_FRONTEND": "noninteractive", "LANG": "C.UTF-8", "HOME": "/root"}
        settings = [f"{name}={value}" for name, value in (quiet | self.environment).items()]
        mounts = (
            f"mount -t proc proc {self.folder}/proc && mount --rbind /dev {self.folder}/dev && "
        )
        inside = shlex.join(
            ["env", "-i", *settings, "chroot", str(self.folder), "sh", "-ec", command]
        )
        shell("unshare", "-m", "sh", "-c", f"{mounts} exec {inside}")

    def copy(self, sources: list[Path], target: str) -> None:
        place = self.folder / target.lstrip("/")
        into = target.endswith("/") or len(sources) > 1
        (place if into else place.parent).mkdir(parents=True, exist_ok=True)
        for source in sources:
            if source == ROOT:
                place.mkdir(exist_ok=True)
                tracked = subprocess.run(
                    ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                    cwd=ROOT, check=True, capture_output=True,
                ).stdout  # fmt: skip
                subprocess.run(
                    f"tar --null -T - -cf - | tar -C {shlex.quote(str(place))} -xf -",
                    cwd=ROOT, shell=True, check=True, input=tracked,
                )  # fmt: skip
            elif source.is_dir():
                place.mkdir(parents=True, exist_ok=True)
                shell("cp", "-a", f"{source}/.", place)
            else:
                shell("cp", "-a", source, place)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("dockerfile", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage = None
    for line in instructions(options.dockerfile):
        word, _, rest = line.partition(" ")
        print(f"+ {line}", flush=True)
        if word == "ARG":
            name, _, value = rest.partition("=")
            arguments.setdefault(name, value)
        elif word == "FROM":
            image, _, name = re.sub(r"\$\{(\w+)\}", lambda m: arguments[m[1]], rest).partition(
                " AS "
            )
            name = name or "last"
            stage = stages[name] = Stage(options.folder / name, image)
        elif word == "ENV":
            name, _, value = rest.partition("=")
            stage.environment[name] = value.replace("$PATH", stage.environment["PATH"])
        elif word == "RUN":
            stage.run(rest)
        elif word == "COPY":
            *sources, target = rest.split()
            root = ROOT
            if sources[0].startswith("--from="):
                root = stages[sources.pop(0).partition("=")[2]].folder
            stage.copy(
                [root / source.lstrip("/") if source != "." else ROOT for source in sources], target
            )
        else:
            sys.exit(f"cannot rehearse {word}")
    print(options.folder / "last")


def instructions(dockerfile: Path) -> list[str]:
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.M)
    return [line.strip() for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]


def shell(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
