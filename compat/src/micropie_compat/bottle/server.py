"""Adapters for the servers that ``run`` can start, under the names that they have in Bottle."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT, raise_signal
from socket import AF_INET6
from socketserver import ThreadingMixIn
from threading import Event, Thread
from typing import Any, TypeAlias
from wsgiref.simple_server import WSGIServer, make_server

from micropie import dual
from micropie.extensions import run_gunicorn
from micropie.wsgi import StrictHandler
from micropie_compat.bottle.state import face
from micropie_compat.core import kind_of_target
from micropie_compat.missing import SERVERS

Application: TypeAlias = Callable[..., Any]
"""An application that a server calls: WSGI or ASGI."""


class ServerAdapter:
    """The base class for custom servers. A subclass defines ``run(handler)``, which serves until it
    is stopped.
    """

    quiet = False

    def __init__(self, host: str = "127.0.0.1", port: int = 8080, **options: object) -> None:
        self.host = host
        self.port = int(port)
        self.options = options

    def run(self, handler: Application) -> None:
        """Serve ``handler``, which can be called both as WSGI and as ASGI."""
        raise NotImplementedError

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{type(self).__name__}({options})"


class WSGIRefServer(ServerAdapter):
    """The standard library's server with a thread for each request; for development. ``srv`` is the
    running server: ``srv.shutdown()`` stops it.
    """

    srv: WSGIServer

    def run(self, handler: Application) -> None:
        """Serve until interrupted."""
        quiet = self.quiet

        class Handler(StrictHandler):
            def log_request(self, *args: Any) -> None:
                if not quiet:
                    super().log_request(*args)

        class Server(ThreadingMixIn, WSGIServer):
            daemon_threads = True

        # As in Bottle, options for other servers are ignored.
        kind: Any = self.options.get("server_class", Server)
        handlers: Any = self.options.get("handler_class", Handler)
        if ":" in self.host:
            kind = type("Server", (kind,), {"address_family": AF_INET6})
        with make_server(self.host, self.port, handler, kind, handlers) as self.srv:
            self.port = self.srv.server_port
            self.srv.serve_forever()


class WaitressServer(ServerAdapter):
    """The WSGI server waitress."""

    def run(self, handler: Application) -> None:
        """Serve until interrupted."""
        import_module("waitress").serve(
            handler, host=self.host, port=self.port, _quiet=self.quiet, **self.options
        )


class UvicornServer(ServerAdapter):
    """The ASGI server uvicorn, which also supports WebSockets."""

    def run(self, handler: Application) -> None:
        """Serve until interrupted."""
        # httptools would append trailers to the headers, uvicorn believe headers of proxies: see
        # ``micropie.cli.serving.servers``
        defaults = {
            "log_level": "warning" if self.quiet else "info",
            "http": "h11",
            "proxy_headers": False,
        }
        options = {**defaults, **self.options}
        # ``handler`` isn't ASGI if it is WSGI middleware around a ``Bottle``
        app = handler if kind_of_target(handler, None) == "asgi" else dual(handler)
        import_module("uvicorn").run(app, host=self.host, port=self.port, **options)


class GunicornServer(ServerAdapter):
    """The WSGI server gunicorn, which runs only on Unix."""

    def run(self, handler: Application) -> None:
        """Serve until interrupted."""
        bind = self.host if self.host.startswith("unix:") else f"{self.host}:{self.port}"
        run_gunicorn(handler, {"bind": bind, **self.options})


class CherootServer(ServerAdapter):
    """The WSGI server cheroot; for https it takes ``certfile``, ``keyfile`` and ``chainfile``."""

    def run(self, handler: Application) -> None:
        """Serve until interrupted."""
        options = dict(self.options)
        files = [options.pop(name, None) for name in ("certfile", "keyfile", "chainfile")]
        server = import_module("cheroot.wsgi").Server((self.host, self.port), handler, **options)
        server.ConnectionClass = _strict_connection(import_module("cheroot.server"))
        if files[0]:
            server.ssl_adapter = import_module("cheroot.ssl.builtin").BuiltinSSLAdapter(*files)
        server.safe_start()


def _strict_connection(cheroot: Any) -> type:
    """Return a class of connections of cheroot that drop headers with "_" in their names, so that a
    client can't forge a proxy's header: the environ uses "_" for "-".
    """

    def read(rfile: object, headers: dict[bytes, bytes]) -> None:
        cheroot.HeaderReader()(rfile, headers)
        for name in [*headers]:
            if b"_" in name:
                del headers[name]

    request = type("Request", (cheroot.HTTPRequest,), {"header_reader": staticmethod(read)})
    return type("Connection", (cheroot.HTTPConnection,), {"RequestHandlerClass": request})


class AutoServer(ServerAdapter):
    """The server uvicorn or waitress, if one of them is installed; otherwise the standard library's
    server.
    """

    def run(self, handler: Application) -> None:
        """Serve until interrupted."""
        found = next(filter(find_spec, ("uvicorn", "waitress")), "wsgiref")
        adapter = server_names[found](self.host, self.port, **self.options)
        adapter.quiet = self.quiet
        adapter.run(handler)


server_names: dict[str, type[ServerAdapter]] = {
    "wsgiref": WSGIRefServer,
    "waitress": WaitressServer,
    "uvicorn": UvicornServer,
    "gunicorn": GunicornServer,
    "cheroot": CherootServer,
    "auto": AutoServer,
}


def load(target: str, **namespace: object) -> Any:
    """Import ``package.module``, or evaluate an expression that begins with a name in it, such as
    ``package.module:name`` or ``package.module:make_app("shop")``. It may use the names in
    ``namespace``. Never pass a client's text.
    """
    name, _, expression = target.partition(":")
    module = import_module(name)
    if not expression:
        return module
    package = name.partition(".")[0]
    names = {**namespace, package: sys.modules[package]}
    return eval(f"{name}.{expression}", names)  # noqa: S307 - a part of the program


def debug(mode: bool = True) -> None:
    """Switch debug mode on or off. Debug mode shows exceptions on error pages and reloads templates
    at each use.
    """
    if mode:
        warnings.simplefilter("default")
    face().DEBUG = bool(mode)


def adapter_for(server: object, host: str, port: int, options: dict[str, object]) -> ServerAdapter:
    """Return a ``ServerAdapter`` for ``run``'s argument ``server``. Raises ``ValueError`` for an
    unknown server.
    """
    if isinstance(server, str):
        found = load(server) if ":" in server else server_names.get(server)
        if found is None:
            others = "start any other WSGI or ASGI server yourself, and give it the application"
            raise ValueError(
                f"server must be one of {', '.join(server_names)}, not {server!r}: "
                f"{SERVERS.get(server, others)}"
            )
        server = found
    if isinstance(server, type):
        server = server(host=host, port=port, **options)
    if not isinstance(server, ServerAdapter):
        raise ValueError(f"server must be a name or a ServerAdapter, not {server!r}")
    return server


CHILD = "BOTTLE_CHILD"  # the environment variable set in the child process that serves
_CHANGED = 3  # the child's exit status if a file has changed
_GRACE = 5  # how many seconds the child has to end


def run_again() -> int:
    """Run this program's command as a child process, for example ``python -m shop``. Run it again
    whenever it exits because a file has changed.

    Return the last exit status.
    """
    status = _CHANGED
    while status == _CHANGED:
        child = subprocess.Popen(  # noqa: S603 - runs this program
            [sys.executable, *sys.orig_argv[1:]], env={**os.environ, CHILD: "true"}
        )
        with child, suppress(KeyboardInterrupt):
            child.wait()
        status = child.returncode
    return status


@contextmanager
def watched(interval: float) -> Iterator[None]:
    """Interrupt the server that the body runs when the file of an imported module has changed, then
    exit with a status that makes ``run_again`` start the program again.

    The files are checked every ``interval`` seconds. A server that doesn't end is killed.
    """
    before, changed = _modified(), Event()

    def look() -> None:
        while _modified().items() >= before.items():
            time.sleep(interval)
        changed.set()
        raise_signal(SIGINT)
        time.sleep(_GRACE)
        os._exit(_CHANGED)

    Thread(target=look, daemon=True).start()
    try:
        yield
    finally:
        if changed.is_set():
            sys.exit(_CHANGED)


def _modified() -> dict[str, float]:
    """Return the modification time of each imported module's file."""
    times = {}
    for path in {getattr(module, "__file__", None) for module in list(sys.modules.values())}:
        with suppress(OSError):  # the file doesn't exist, or an editor has just removed it
            if path:
                times[path] = Path(path).stat().st_mtime
    return times
