"""``cherrypy.server``: the server that a program starts itself, in threads of its process, and the
settings of this server.

If an external server (gunicorn, uvicorn) runs the application, only ``max_request_body_size`` has
an effect.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from micropie import SetupError
from micropie_compat.cherrypy.process.servers import ServerAdapter
from micropie_compat.cherrypy.process.wspbus import Bus, bus
from micropie_compat.core import current
from micropie_compat.missing import SERVER_SETTINGS
from micropie_compat.overrides import Overridable


class Server(ServerAdapter, metaclass=Overridable):
    """A server on one address. Once subscribed to the bus, it starts and stops with the bus.

    These settings have an effect: ``socket_host``, ``socket_port``, ``thread_pool``,
    ``ssl_certificate``, ``ssl_private_key``, ``shutdown_timeout``, ``max_request_body_size``.
    CherryPy's other settings have no effect. They are accepted so that existing configuration
    loads.
    """

    uncalled = ("httpserver_from_self",)

    application: Any = None
    """The application to serve, by default ``cherrypy.tree``."""
    instance: str | None = None
    """"uvicorn", "waitress" or "wsgiref"; None means the first one that is installed and supports
    the settings.
    """
    socket_port = 8080
    socket_file: str | None = None
    socket_queue_size = 5
    socket_timeout = 10
    accepted_queue_size = -1
    accepted_queue_timeout = 10
    shutdown_timeout: float = 5
    protocol_version = "HTTP/1.1"
    thread_pool: int = 10
    thread_pool_max = -1
    max_request_header_size = 500 * 1024
    max_request_body_size = 100 * 1024 * 1024
    ssl_module = "builtin"
    ssl_context: object = None
    ssl_certificate: str | None = None
    ssl_certificate_chain: str | None = None
    ssl_private_key: str | None = None
    ssl_ciphers: str | None = None
    nodelay = True
    statistics = False
    wsgi_version = (1, 0)
    peercreds = peercreds_resolve = False

    def __init__(self, server_bus: Bus = bus) -> None:
        self.bus = server_bus
        self._socket_host = "127.0.0.1"
        self.httpserver = None
        """The running server, in threads of this process; None if none is running."""

    @property
    def socket_host(self) -> str:
        """The address to listen on; "0.0.0.0" for all addresses of this machine."""
        return self._socket_host

    @socket_host.setter
    def socket_host(self, value: str | None) -> None:
        if value == "":
            raise ValueError(
                'socket_host must be an address: write socket_host = "0.0.0.0" for all addresses'
            )
        self._socket_host = "0.0.0.0" if value is None else value  # noqa: S104 - as in CherryPy

    @property
    def bind_addr(self) -> tuple[str, int]:
        """``(socket_host, socket_port)``."""
        return self.socket_host, self.socket_port

    @bind_addr.setter
    def bind_addr(self, value: tuple[str, int]) -> None:
        self.socket_host, self.socket_port = value

    @property
    def bound_addr(self) -> tuple[str, int]:
        """The (host, port) in use. If ``socket_port`` is 0, this is the free port that the system
        chose.
        """
        return (
            self.socket_host,
            self.socket_port if self.httpserver is None else self.httpserver.port,
        )

    @property
    def running(self) -> bool:
        """Whether the server is running."""
        return self.httpserver is not None

    # The server's URL, for the log.
    description = property(lambda server: server.base())

    def base(self) -> str:
        """Return the server's URL for a browser on this machine: scheme, host and port."""
        host, port = self.bound_addr
        if host in ("0.0.0.0", "::"):  # noqa: S104 - the configured address
            host = import_module("socket").gethostname()
        scheme = "https" if self.ssl_certificate else "http"
        shown = f"[{host}]" if ":" in host else host
        return f"{scheme}://{shown}" + (
            "" if port == {"http": 80, "https": 443}[scheme] else f":{port}"
        )

    def start(self) -> None:
        """Start serving, in threads of this process. Raises ``OSError`` if the address is in use or
        permission is denied.
        """
        if self.bus.is_hosted:
            return
        if self.running:
            self.bus.log(f"Already serving on {self.base()}")
            return
        self.bus.serves_itself = True
        self._check()
        # The module is imported here because it imports servers and TLS. If an external server runs
        # the program, they aren't needed.
        background = import_module("micropie_compat.cherrypy.background")
        native = getattr(self.application, "native", None)
        if native is not None and self.thread_pool != Server.thread_pool:
            native._micropie.settings["threads"] = self.thread_pool
            native._micropie.changed()
        self.httpserver = background.BackgroundServer(
            self.application,
            background.Options(
                self.socket_host,
                self.socket_port,
                self.instance,
                self.ssl_certificate,
                self.ssl_private_key or self.ssl_certificate,
                self.thread_pool,
                self.shutdown_timeout,
            ),
        )
        self.bus.log(f"Serving on {self.base()} ({self.httpserver.name})")

    start.priority = 75  # type: ignore[attr-defined]

    def _check(self) -> None:
        """Raise ``SetupError`` for a setting that isn't supported and that would be unsafe to
        ignore.
        """
        if self.application is None:
            raise SetupError(
                "this Server has nothing to serve: set its attribute application, for example to "
                "cherrypy.tree"
            )
        for name, advice in SERVER_SETTINGS.items():
            if getattr(self, name.removeprefix("server.")):
                raise SetupError(f"{name} isn't supported: {advice}")

    def stop(self) -> None:
        """Stop serving."""
        server, self.httpserver = self.httpserver, None
        if server is not None:
            address = self.base()
            # During a request don't wait for the server's threads, because the handler that calls
            # this may run in one of them. ``block`` waits for them.
            server.stop(wait=current.get(None) is None)
            self.bus.log(f"HTTP Server {address} shut down")

    stop.priority = 25  # type: ignore[attr-defined]
