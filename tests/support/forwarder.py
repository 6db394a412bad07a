"""A relay of TCP in front of a server, as a name or a virtual address is: it can lead elsewhere, and
forget the connections that are open.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Forwarder:
    """Relays connections to the port ``target``; ``port`` is its own."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.asked = 0
        """How often a client has sent something."""
        self._sockets: list[socket.socket] = []
        self._forgotten: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Forwarder:
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    @property
    def connections(self) -> int:
        """How many clients are connected, forgotten ones included."""
        return len(self._sockets) // 2

    def forget(self) -> None:
        """Drop what comes by the connections that are open, as a firewall does, silently."""
        self._forgotten |= {*self._sockets}

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                self._sockets += [client, server]
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._relay, args=ends, daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.asked += source.getsockname()[1] == self.port
                if source not in self._forgotten:
                    target.sendall(data)
            if source not in self._forgotten:
                target.shutdown(socket.SHUT_WR)
