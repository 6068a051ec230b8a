"""A folder served over HTTP from a thread, with the byte ranges that GDAL asks for."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Served:
    """A folder that is served.

    Attributes:
        url: of the folder, no slash at its end.
        token: what a query string must be for a .tif to be sent, or None.
        asked: path and query of every request so far.
    """

    url: str = ""
    token: str | None = None
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving(folder: Path, token: str | None = None) -> Iterator[Served]:
    """Serves ``folder`` on a free port of this machine for the time of the block."""
    served = Served(token=token)
    handler = partial(_Handler, served, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, served: Served, *args, **kwargs):
        self.served = served
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        self.served.asked.append(self.path)
        path, _, query = self.path.partition("?")
        file = Path(self.translate_path(path))
        if path.endswith(".tif") and self.served.token not in (None, query):
            self._send(HTTPStatus.FORBIDDEN, b"", with_body)
        elif not file.is_file():
            self._send(HTTPStatus.NOT_FOUND, b"", with_body)
        elif part := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            content = file.read_bytes()
            first, last = int(part[1]), min(int(part[2] or len(content)), len(content) - 1)
            reported = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
            body = content[first : last + 1]
            self._send(HTTPStatus.PARTIAL_CONTENT, body, with_body, reported)
        else:
            self._send(HTTPStatus.OK, file.read_bytes(), with_body)

    def _send(self, status, body: bytes, with_body: bool, reported=None) -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), "Accept-Ranges": "bytes"} | (reported or {})
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass
