"""A free TCP port for a server that a test starts as a process.

A port that bind(0) returned may be taken again before the server binds it, which can last a second:
the kernel gives ports of the same range to clients' connections and to other test processes. So
these ports come from below that range (it begins at 32768 on Linux), and each worker of
pytest-xdist has its own.
"""

from __future__ import annotations

import os
import secrets
import socket
from itertools import cycle

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = 32

# Not shuffled by ``random``: every worker has the same seed. Each port is given once before any is
# given again: a module that launches a dozen servers at once asks for all their ports before the
# first of them has bound its own.
_PORTS = cycle(
    secrets.SystemRandom().sample(range(10_240 + _WORKER % _WORKERS, 32_000, _WORKERS), 680)
)


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free and was not returned lately."""
    while True:
        port = next(_PORTS)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
