"""Another program on the port of a server that is down."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PASSWORD_REQUESTS = (
    b"R\0\0\0\x08\0\0\0\x03",
    b"R\0\0\0\x0c\0\0\0\x05salt",
    b"R\0\0\0\x08\0\0\0\0",
)
"""Messages of PostgreSQL: send the password in clear text, send it hashed with MD5, send none."""


@contextmanager
def listening(port: int, rng: random.Random) -> Iterator[list[bytes]]:
    """Listens on a port and answers every client with one of these; yields what clients send."""
    received: list[bytes] = []
    request = rng.choice(PASSWORD_REQUESTS)

    def listen(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                client.settimeout(2)
                with client, contextlib.suppress(OSError):
                    received.append(client.recv(1000))
                    client.sendall(request)
                    received.append(client.recv(1000))

    with socket.create_server(("127.0.0.1", port)) as listener:
        thread = threading.Thread(target=listen, args=(listener,))
        thread.start()
        yield received
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
