"""The documentation builds as a site without network, and its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

for library in ("mkdocs", "material", "mkdocstrings_handlers.python"):
    pytest.importorskip(library, reason="needs the extra docs: pip install -e '.[docs]'")

ROOT = Path(__file__).parents[2]
FROM_ELSEWHERE = re.compile(r"""<(?:script|img|link)[^>]*\s(?:src|href)=["']?https?://""")


def test_the_site_builds_without_network_and_every_link_leads_somewhere(tmp_path):
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", tmp_path],
        cwd=ROOT, env=os.environ | nowhere, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "python" / "index.html").read_text(encoding="utf-8")
    for name in ("archive.archive.Archive.similar_to", "archive.found.Hits.to_geopandas"):
        assert f'id="dcsh_pg.{name}"' in reference
    for page in tmp_path.rglob("*.html"):
        assert not FROM_ELSEWHERE.search(page.read_text(encoding="utf-8")), page
