"""A server on this machine of which a test decides what it does with each connection."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Accepting:
    """Accepts connections, and calls ``serve`` for each in a thread of its own.

    ``port``: the port at which it listens.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._is_over = threading.Event()
        self._clients: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        """Use a connection until it ends."""
        raise NotImplementedError

    def close(self) -> None:
        self._is_over.set()
        for one in (self._listener, *self._clients):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                if self._is_over.is_set():  # ``close`` may have missed this one
                    client.close()
                    return
                threading.Thread(target=self.serve, args=[client], daemon=True).start()
