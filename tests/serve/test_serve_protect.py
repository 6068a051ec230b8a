"""Which requests are refused, before anything is read."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from dcsh_pg.serve.protect import Protect
from dcsh_pg.serve.rate import Rate
from dcsh_pg.serve.settings import Settings


def client(base_url: str = "http://127.0.0.1:8080", **settings) -> TestClient:
    async def answer(request):
        return PlainTextResponse("seen")

    async def count(request):
        return PlainTextResponse(str(len(await request.body())))

    routes = [Route("/", answer), Route("/api/x", answer), Route("/api/y", count, methods=["POST"])]
    app = Starlette(routes=routes)
    app.add_middleware(Protect, settings=Settings(**settings))
    return TestClient(app, base_url=base_url, follow_redirects=False)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost", 200),
        ("[::1]:8080", 200),
        ("192.168.1.5", 200),
        ("maps.example.org", 200),
        ("evil.example.org", 421),
        ("127.0.0.1.evil.example.org", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_only_known_host_names_are_answered(host, status):
    opened = client(hosts=("maps.example.org",))
    assert opened.get("/api/x", headers={"host": host}).status_code == status


def test_requests_of_other_sites_are_refused():
    opened = client()
    for headers in (
        {"origin": "https://evil.example.org"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
    ):
        assert opened.get("/api/x", headers=headers).status_code == 403
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert opened.get("/", headers=link).status_code == 200
    own = {"origin": "http://127.0.0.1:8080", "sec-fetch-site": "same-origin"}
    assert opened.get("/api/x", headers=own).status_code == 200


def test_token_is_asked_for_and_kept_as_a_cookie():
    opened = client(token="secret")
    assert opened.get("/").status_code == 401
    assert opened.get("/api/x", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert opened.get("/api/x?token=wrong").status_code == 401
    assert opened.get("/api/x", headers={"authorization": "Bearer secret"}).status_code == 200
    moved = opened.get("/?token=secret")
    assert moved.status_code == 303
    assert "token" not in moved.headers["location"]
    assert "HttpOnly" in moved.headers["set-cookie"]
    assert opened.get("/api/x").status_code == 200


def test_answers_and_refusals_forbid_scripts_of_others():
    opened = client(token="secret")
    for answer in (opened.get("/"), opened.get("/?token=secret"), opened.get("/")):
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    tiles = client(basemap="https://tiles.example.org/{z}/{x}/{y}.png").get("/")
    assert (
        "connect-src 'self' https://tiles.example.org;" in tiles.headers["content-security-policy"]
    )


def test_long_bodies_are_refused_with_and_without_their_length():
    opened = client()
    assert opened.post("/api/y", content=b"x" * 1000).text == "1000"
    assert opened.post("/api/y", content=b"x" * (3 << 20)).status_code == 413
    assert opened.get("/api/x", headers={"content-length": "many"}).status_code == 413
    pieces = (b"x" * (1 << 20) for _ in range(3))
    with pytest.raises(ClientDisconnect):
        opened.post("/api/y", content=pieces)


def test_clients_that_ask_too_often_wait():
    opened = client(a_second=0.001, at_once=2)
    assert [opened.get("/api/x").status_code for _ in range(3)] == [200, 200, 429]
    assert int(opened.get("/api/x").headers["retry-after"]) > 1


def test_exports_count_for_more_than_other_requests():
    opened = client(a_second=0.001, at_once=25)
    path = "/api/archives/towns/export/csv"
    assert [opened.post(path).status_code for _ in range(2)] == [404, 429]


def test_buckets_fill_again_and_are_separate():
    rate = Rate(a_second=2, at_once=4)
    assert rate.wait("a", 4, now=0) == 0
    assert rate.wait("a", 1, now=0) == 0.5
    assert rate.wait("b", 1, now=0) == 0
    assert rate.wait("a", 1, now=0.5) == 0
    assert rate.wait("a", 5, now=100) == 0.5  # more than a bucket holds
