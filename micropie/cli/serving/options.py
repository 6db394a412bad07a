"""The options of a server."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

Loop: TypeAlias = Literal["asyncio", "trio", "uvloop"]

DEFAULT_HOST = "127.0.0.1"

# The types of options that ``App.run`` often gets from environment variables.
_KINDS = {
    "host": str,
    "port": int,
    "uds": str | None,
    "fd": int | None,
    "workers": int,
    "root_path": str,
}


class ServingError(Exception):
    """Raised if the application can't be served. The message is one sentence that gives the
    reason.
    """


@dataclass(frozen=True, slots=True)
class Options:
    """How to serve an application: the keywords of ``App.run`` and the options of ``micropie
    run``.
    """

    host: str = DEFAULT_HOST
    """The address to listen on; "0.0.0.0" means all addresses of this machine."""
    port: int = 8000
    """The port; 0 means any free port."""
    uds: str | None = None
    """The path of a UNIX socket to listen on, instead of a host and a port."""
    fd: int | None = None
    """The file descriptor of a socket that is already listening, for example one passed by
    systemd.
    """
    server: str | None = None
    """The name of a server in ``servers.SERVERS``; None means the best one that is installed."""
    loop: Loop | None = None
    """The event loop; None means asyncio, or uvloop if the server prefers it."""
    workers: int = 1
    """The number of processes."""
    wsgi: bool = False
    """Whether to serve with WSGI, which doesn't support WebSockets."""
    root_path: str = ""
    """The URL path under which a proxy serves the application."""
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None

    def __post_init__(self) -> None:
        self._check_types()
        if not 0 <= self.port <= 65535:
            raise ServingError(f"a port must be a number from 0 to 65535, not {self.port}")
        if self.uds is not None and self.fd is not None:
            raise ServingError("uds and fd can't be used together: choose one")
        if self.workers < 1:
            raise ServingError(f"workers must be 1 or more, not {self.workers}")
        if self.root_path[:1] not in ("", "/"):
            raise ServingError(f"root_path must begin with a slash, not {self.root_path!r}")
        if self.loop not in (None, "asyncio", "trio", "uvloop"):
            raise ServingError(f"loop must be asyncio, trio or uvloop, not {self.loop!r}")
        if bool(self.ssl_certfile) != bool(self.ssl_keyfile):
            raise ServingError("https needs both files: ssl_certfile and ssl_keyfile")
        for file in (self.ssl_certfile, self.ssl_keyfile):
            if file is not None and not (os.access(file, os.R_OK) and Path(file).is_file()):
                raise ServingError(f"the certificate or key file {file!r} can't be read")

    def _check_types(self) -> None:
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                expected = "text" if kind in (str, str | None) else "a whole number"
                raise ServingError(f"{name} must be {expected}, not {value!r}")

    @property
    def family(self) -> socket.AddressFamily:
        """The address family of the socket for this host."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def has_port(self) -> bool:
        """Whether the server listens on a host and a port."""
        return self.uds is None and self.fd is None

    @property
    def place(self) -> str:
        """The address to listen on, as hypercorn and gunicorn write it: host and port as in a URL,
        "unix:/run/shop.sock" or "fd://3".
        """
        if self.uds is not None:
            return f"unix:{self.uds}"
        if self.fd is not None:
            return f"fd://{self.fd}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """The application to serve.

    ``app``: the application object.
    ``name``: the name by which a server's processes can import it, or None.
    ``imported_as``: the name that those processes import instead of ``name``, or None.
    ``made_as``: if ``name`` is a factory, the object that the factory returned; otherwise None.
    """

    app: Any
    name: str | None
    imported_as: str | None = None
    made_as: object = None

    def named(self, server: str) -> str:
        """Return the import name of the application, such as "shop:app", which the processes of
        ``server`` import. Raises ``ServingError`` if the application has none.
        """
        if self.name is None:
            raise ServingError(
                f"{server} imports the application in its own processes, so the application must "
                "be a global variable: write app = ... at the top level of the module, and "
                "app.run() in an if __name__ == '__main__' block"
            )
        return self.imported_as or self.name
