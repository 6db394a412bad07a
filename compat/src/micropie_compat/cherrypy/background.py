"""Run a server in a background thread of the program that starts it.

Only uvicorn, waitress and the standard library's server can run in a thread. Other servers fork or
need the main thread.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from micropie.wsgi import open_server

# While a server starts, this many seconds pass between two checks of whether it is ready.
_LOOK_EVERY = 0.005


class _Parts(NamedTuple):
    """The functions with which ``BackgroundServer`` controls a server, and the server's port. The
    server's socket is listening already.

    ``run``: serves until ``stop`` is called.
    ``has_started``: returns whether the server accepts requests.
    """

    run: Callable[[], object]
    stop: Callable[[], object]
    has_started: Callable[[], bool]
    port: int


class Options(NamedTuple):
    """Settings of a server."""

    host: str = "127.0.0.1"
    port: int = 0
    """The port; 0 means any free port."""
    server: str | None = None
    """"uvicorn", "waitress" or "wsgiref"; None means the first one that is installed and supports
    the options.
    """
    certificate: str | None = None
    """The path of a PEM file with the certificate, for https. ``key`` is the path of its private
    key.
    """
    key: str | None = None
    threads: int = 10
    """The number of threads, for a WSGI server."""
    stop_within: float = 5.0
    """How many seconds open requests may take to finish when the server stops."""


class BackgroundServer:
    """A server running in a thread of this process. Creating the object starts it.

    ``name``: the server's name, such as "uvicorn".
    ``port``: the port on which it listens.
    """

    def __init__(self, app: object, options: Options) -> None:
        """Start the server. Raises ``OSError`` with the reason if it can't start with these
        options.
        """
        self.name = _choose(options)
        if options.certificate is None and options.key is not None:
            raise _refusal("https needs both files: ssl_certificate and ssl_private_key")
        for file in (options.certificate, options.key):
            if file is not None and not Path(file).is_file():
                raise _refusal(f"there is no certificate or key file {file!r}")
        try:
            self._parts = _OPENERS[self.name](app, options)
        except ssl.SSLError as error:
            raise _refusal(f"the certificate or its key can't be used: {error}") from None
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else error
            raise _refusal(
                f"can't listen on {options.host}:{options.port} ({reason}): choose another host or "
                "port"
            ) from None
        self.port = self._parts.port
        self._thread = Thread(target=self._parts.run, name=f"HTTPServer {self.port}")
        self._thread.start()
        while not self._parts.has_started():
            if not self._thread.is_alive():
                raise _refusal("the application failed to start: see the log for the reason")
            time.sleep(_LOOK_EVERY)

    def stop(self, wait: bool = True) -> None:
        """Stop the server.

        Waits for open requests to finish. Pass ``wait=False`` if a request calls this method:
        otherwise the request would wait for itself.
        """
        self._parts.stop()
        if wait:
            self._thread.join()


def _choose(options: Options) -> str:
    able = [name for name in _OPENERS if name == "wsgiref" or find_spec(name) is not None]
    if options.certificate is not None:
        able = [name for name in able if name != "waitress"]
    if options.server is None:
        return able[0]
    if options.server not in able:
        raise _refusal(
            f"{options.server} can't run in a thread of the program with these settings: use one "
            f"of {', '.join(able)}"
        )
    return options.server


def _refusal(sentence: str) -> OSError:
    return OSError(f"cherrypy.server: {sentence}")


def _listener(options: Options) -> socket.socket:
    """Return a listening socket. Connections made before the server has started are queued."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    return socket.create_server((options.host, options.port), family=family, backlog=2048)


def _uvicorn(app: object, options: Options) -> _Parts:
    uvicorn = import_module("uvicorn")
    config = uvicorn.Config(
        app,
        # httptools would append trailers to the headers, see ``micropie.cli.serving.servers``.
        http="h11",
        log_level="warning",
        access_log=False,
        lifespan="on",
        proxy_headers=False,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
        timeout_graceful_shutdown=max(1, round(options.stop_within)),
    )
    config.load()  # raises for an invalid certificate before the thread starts
    server, listener = uvicorn.Server(config), _listener(options)

    def run() -> None:
        with listener, suppress(SystemExit):  # raised if the application fails to start
            server.run([listener])

    def stop() -> None:
        server.should_exit = True

    return _Parts(run, stop, lambda: server.started, listener.getsockname()[1])


def _waitress(app: object, options: Options) -> _Parts:
    listener = _listener(options)
    port: int = listener.getsockname()[1]
    channels: dict[int, Any] = {}
    server = import_module("waitress").create_server(
        app,
        map=channels,
        sockets=[listener],
        threads=options.threads,
        clear_untrusted_proxy_headers=False,  # tools.proxy reads them
    )
    open_channels: list[Any] = []

    def end_loop() -> None:
        open_channels.extend(channels.values())
        channels.clear()  # the server's loop ends when there are no channels

    def run() -> None:
        server.run()
        server.task_dispatcher.shutdown(timeout=options.stop_within)
        for channel in open_channels:
            channel.close()

    def stop() -> None:
        # ``OSError`` is raised if the loop has ended already, because another thread woke it first.
        with suppress(OSError):
            server.trigger.pull_trigger(end_loop)

    return _Parts(run, stop, lambda: True, port)


def _bare(app: object, options: Options) -> _Parts:
    server = open_server(app, (options.host, options.port), (options.certificate, options.key))

    def run() -> None:
        with server:
            server.serve_forever(poll_interval=0.05)

    return _Parts(run, server.shutdown, lambda: True, server.server_port)


# The supported servers, the preferred one first. A server is used only if it is installed and
# supports the options.
_OPENERS: dict[str, Callable[[object, Options], _Parts]] = {
    "uvicorn": _uvicorn,
    "waitress": _waitress,
    "wsgiref": _bare,
}
