"""What a release carries: sdist, wheel and the README on a package index."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build")

ROOT = Path(__file__).parents[2]
GENERATED = shutil.ignore_patterns(
    ".*", "*.egg-info", "__pycache__", "build", "dist", "runs", "venv", "dcsh-*", "PKG-INFO"
)


def build(kind: str, source: Path, out: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", out, source],
        check=True,
        capture_output=True,
    )
    [made] = out.iterdir()
    return made


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy, because setuptools writes beside the sources."""
    copy = tmp_path_factory.mktemp("checkout") / "dcsh-pg"
    return shutil.copytree(ROOT, copy, symlinks=True, ignore=GENERATED)


@pytest.fixture(scope="module")
def sdist(checkout, tmp_path_factory):
    """The unpacked sdist."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build("sdist", checkout, folder / "made")) as archive:
        archive.extractall(folder / "unpacked")
    [unpacked] = (folder / "unpacked").iterdir()
    return unpacked


def contents(wheel: Path) -> dict[str, int]:
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist()}


def test_wheel_from_the_sdist_equals_wheel_from_the_checkout(checkout, sdist, tmp_path):
    from_checkout = contents(build("wheel", checkout, tmp_path / "checkout"))
    assert contents(build("wheel", sdist, tmp_path / "sdist")) == from_checkout
    for file in (
        "sql/000_prepare.sql", "cli/main.py", "export/__init__.py", "py.typed",
        "synthetic/model.onnx",
    ):  # fmt: skip
        assert f"dcsh_pg/{file}" in from_checkout


def test_sdist_has_the_tests_and_what_they_read(checkout, sdist):
    for folder in ("tests", "docs", "benchmarks"):
        files = [file for file in (checkout / folder).rglob("*") if file.is_file()]
        assert files
        for file in files:
            kept = sdist / file.relative_to(checkout)
            assert kept.read_bytes() == file.read_bytes(), kept


def test_tests_run_in_the_sdist(sdist):
    files = ("test_codes.py", "test_errors.py", "test_files.py")
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *(f"tests/{file}" for file in files)],
        cwd=sdist,
        check=True,
    )


@pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="the sdist has no .ci")
def test_readme_links_can_be_made_absolute():
    script = ROOT / ".ci" / "absolute-links"
    made = subprocess.run(
        [script, "https://example.org/maps/dcsh-pg", "v1"],
        stdin=(ROOT / "README.md").open(encoding="utf-8"),
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    links = re.findall(r"\]\(([^)]+)\)", made)
    assert links and all(link.startswith(("https://", "#")) for link in links)
    pictures = [link for link in links if link.endswith(".png")]
    assert pictures
    for picture in pictures:
        assert picture.startswith("https://example.org/maps/dcsh-pg/raw/v1/")


def test_every_relative_link_of_the_pages_leads_to_a_file():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", link):
                name, _, anchor = link.partition("#")
                target = (page.parent / name) if name else page
                assert target.exists(), f"{page.name}: {link}"
                if anchor and target.suffix == ".md":
                    assert anchor in anchors(target), f"{page.name}: {link}"


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
