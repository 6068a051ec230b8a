"""An archive of the synthetic scenes, and the application that serves it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")

from starlette.testclient import TestClient

from dcsh_pg.archive import Archive
from dcsh_pg.serve.app import create_app
from dcsh_pg.serve.settings import Settings

TOKEN = "secret"


@pytest.fixture(scope="module", params=["embedded", "postgis"])
def served_dsn(request, make_database, model_file, scenes) -> Iterator[str]:
    """A database with archive ``towns``: with PostGIS, and without."""
    admin = request.getfixturevalue(f"{request.param}_admin")
    with make_database(admin, request.getfixturevalue(f"{request.param}_template")) as made:
        Archive.create("towns", model_file, dsn=made).ingest([str(scenes)])
        yield made


@pytest.fixture
def archive(served_dsn) -> Archive:
    return Archive.open("towns", dsn=served_dsn)


@pytest.fixture(scope="module")
def client(served_dsn) -> Iterator[TestClient]:
    settings = Settings(archive="towns", dsn=served_dsn, token=TOKEN)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as opened:
        opened.headers["authorization"] = f"Bearer {TOKEN}"
        yield opened
