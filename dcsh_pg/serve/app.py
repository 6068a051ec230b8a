"""The ASGI application: the interface, its errors, and the page."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from dcsh_pg import __version__
from dcsh_pg.errors import DcshError, InputError, ModelError, NotFound, ServerError, UsageError
from dcsh_pg.serve.columns import Preparing
from dcsh_pg.serve.protect import Protect
from dcsh_pg.serve.routes import archives, compare, pictures, search, surface, tiles, words
from dcsh_pg.serve.service import Busy, Service, unavailable
from dcsh_pg.serve.settings import Settings

PAGE = Path(__file__).with_name("page")

STATUS = {NotFound: 404, UsageError: 400, InputError: 400, ModelError: 400}
"""Errors of a request -> HTTP status; any other is one of the server."""

log = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; settings of worker processes come from the environment."""
    chosen = settings or Settings.from_environment()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = Service(chosen)
        try:
            yield
        finally:
            app.state.service.close()

    app = FastAPI(
        title="dcsh-pg",
        version=__version__,
        summary="Search an imagery archive by example",
        lifespan=lifespan,
        docs_url=None,  # its scripts come from elsewhere
        redoc_url=None,
    )
    for group in (archives, search, surface, compare, pictures, words, tiles):
        app.include_router(group.router, prefix="/api")
    app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    app.add_exception_handler(DcshError, _refused)
    app.add_exception_handler(Busy, _busy)
    app.add_exception_handler(Preparing, _preparing)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=3)
    app.add_middleware(Protect, settings=chosen)
    return app


def _answer(status: int, message: str, hint: str | None) -> JSONResponse:
    return JSONResponse({"error": message, "hint": hint}, status_code=status)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DcshError)
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 0)
    if status:
        return _answer(status, error.message, error.hint)
    log.error("%s", error.message)
    message = unavailable(error) if isinstance(error, ServerError) else "the request failed"
    return _answer(503, message, "try again; the server's log has the reason")


async def _busy(request: Request, error: Exception) -> JSONResponse:
    answer = _answer(503, "the server is busy", "try again in a few seconds")
    answer.headers["retry-after"] = "5"
    return answer


async def _preparing(request: Request, error: Exception) -> JSONResponse:
    answer = _answer(503, "the chips are being read, to be compared", "ask again")
    answer.headers["retry-after"] = "1"
    return answer


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return _answer(422, f"{where}: {first['msg']}", "see /openapi.json")


async def _failed(request: Request, error: Exception) -> JSONResponse:
    return _answer(500, "the request failed", "the server's log has the reason")
