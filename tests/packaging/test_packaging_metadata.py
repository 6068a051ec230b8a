"""The packages of the extension name the version that the sources have."""

import json
import re
from pathlib import Path

from dcsh_pg.database.server import native_build

PACKAGING = Path(__file__).parents[2] / "packaging"


def test_every_package_has_the_version_of_the_sources():
    version = native_build.version()
    meta = json.loads((PACKAGING / "pgxn" / "META.json").read_text())
    assert meta["version"] == meta["provides"]["dcsh_hamming"]["version"] == f"{version}.0"
    changelog = (PACKAGING / "debian" / "changelog").read_text()
    assert re.match(r"postgresql-dcsh-hamming \((.+?)-\d+\)", changelog)[1] == version
    image = (PACKAGING / "cloudnative-pg" / "cluster.yaml").read_text()
    assert f"dcsh-hamming:{version}-18" in image


def test_every_package_ships_the_scripts_of_the_sources():
    meta = json.loads((PACKAGING / "pgxn" / "META.json").read_text())
    assert (native_build.SOURCES / meta["provides"]["dcsh_hamming"]["file"]).is_file()
