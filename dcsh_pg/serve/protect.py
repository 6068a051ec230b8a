"""Which requests are answered at all, and what browsers may do with the answers.

The host check stops DNS rebinding: a page of another site whose name now leads to 127.0.0.1.  The check
of where a request comes from stops other sites that the browser shows.  The token stops other users, of
this machine too.
"""

from __future__ import annotations

import hmac
import ipaddress
import math
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dcsh_pg.serve.rate import Rate
from dcsh_pg.serve.settings import Settings

BODY_BYTES = 1 << 20
"""Largest body of a request that is not an upload."""

UPLOADS = "/pictures"
"""End of the path to which pictures are sent."""

COSTS = {
    "/search": 5,
    "/histogram": 20,
    "/surface": 20,
    "/change": 20,
    "/duplicates": 50,
    UPLOADS: 20,
}
"""End of a path -> its share of a client's rate; 1 for others."""


class Protect:
    """ASGI middleware: refuses a request, or adds headers of safety to its answer."""

    def __init__(self, app: ASGIApp, settings: Settings):
        self._app, self._settings = app, settings
        self._rate = Rate(settings.a_second, settings.at_once)
        self._headers = _headers(settings.basemap)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        limit = self._settings.upload_bytes if scope["path"].endswith(UPLOADS) else BODY_BYTES
        refusal = self._refusal(scope, limit)
        if refusal is not None:
            await refusal(scope, receive, send_safely)
            return
        taken = 0

        async def receive_some() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit + BODY_BYTES:  # a form adds its own lines to the file
                return {"type": "http.disconnect"}
            return message

        await self._app(scope, receive_some, send_safely)

    def _refusal(self, scope: Scope, limit: int) -> Response | None:
        headers = Headers(scope=scope)
        if not _is_own_host(headers.get("host", ""), self._settings.hosts):
            return _error(421, "unknown host name", "start dcsh-pg serve with --name and this name")
        if _is_of_other_site(headers):
            return _error(403, "request from another site", "open the page itself")
        path: str = scope["path"]
        is_export = "/export/" in path
        cost = next(
            (cost for end, cost in COSTS.items() if path.endswith(end)), 20 if is_export else 1
        )
        wait = self._rate.wait((scope.get("client") or ("",))[0], cost)
        if wait:
            refusal = _error(429, "too many requests", f"try again in {math.ceil(wait)} s")
            refusal.headers["retry-after"] = str(math.ceil(wait))
            return refusal
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > limit + BODY_BYTES:
            return _error(413, f"more than {limit >> 20} MB", "send a smaller picture")
        return self._without_token(scope, headers)

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        token = self._settings.token
        if token is None:
            return None
        cookie = f"dcsh_token_{(scope.get('server') or ('', 0))[1]}"
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if _equal(given, token):
            # The browser keeps it, and the address that people share does not contain it.
            moved = RedirectResponse(f"{scope.get('root_path', '')}/", status_code=303)
            moved.set_cookie(
                cookie, token, httponly=True, samesite="lax", secure=scope["scheme"] == "https"
            )
            return moved
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if _equal(bearer, token) or _equal(_cookie(headers, cookie), token):
            return None
        hint = "open the address with the token that 'dcsh-pg serve' printed"
        if scope["path"].startswith("/api/"):
            return _error(401, "the token is missing or wrong", hint)
        return PlainTextResponse(f"dcsh-pg: {hint}\n", status_code=401)


def _error(status: int, message: str, hint: str) -> JSONResponse:
    return JSONResponse({"error": message, "hint": hint}, status_code=status)


def _equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _is_own_host(host: str, names: tuple[str, ...]) -> bool:
    """Whether a Host header is an address, localhost or a name that was given.

    Only names can be rebound to another address.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_of_other_site(headers: Headers) -> bool:
    """Whether a page of another site made the request, other than by a link that was followed."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return headers.get("sec-fetch-mode") != "navigate"
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


def _headers(basemap: str | None) -> dict[str, str]:
    tiles = ""
    if basemap:
        parts = urlsplit(basemap)
        tiles = f" {parts.scheme}://{parts.netloc}"
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data: blob:",
        "connect-src": f"'self'{tiles}",
        "worker-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-cache",
    }
