"""The supported servers. For each server: its features, and the function that runs it in this
process through the server's own API.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path

from micropie.cli.serving.made import attribute
from micropie.cli.serving.options import Options, ServingError, Target
from micropie.cli.serving.reloading import CHILD_PORT
from micropie.cli.serving.signals import failing_without_signal, handled_in_a_thread
from micropie.extensions import run_gunicorn
from micropie.wsgi import open_server

ASGI, WSGI = "ASGI", "WSGI"
WORKERS, SSL, UDS, FD = "workers", "ssl", "uds", "fd"
ALL = (WORKERS, SSL, UDS, FD)

# The permissions of a UNIX socket, for all servers. Everybody may connect, because the proxy runs
# as another user.
_FOR_EVERYBODY = 0o666

# Seconds after which granian kills a worker that hasn't ended, without its shutdown handlers. Under
# ``--reload`` it must be faster than ``END_WITHIN``, or the killed server would leave its worker.
_KILL_AFTER, _KILL_AFTER_RELOAD = 30, 3


@dataclass(frozen=True, slots=True)
class Server:
    """A server and its features.

    ``package``: what to install with pip; None for the server from the standard library.
    ``loops``: the event loops that it supports.
    ``features``: the features that it supports, out of ``ALL``.
    """

    name: str
    package: str | None
    protocol: str
    loops: tuple[str, ...]
    features: tuple[str, ...]
    start: Callable[[Target, Options], None]

    @property
    def is_installed(self) -> bool:
        return self.package is None or find_spec(self.name) is not None

    @property
    def install(self) -> str:
        """The command that installs the server."""
        return f"pip install {self.package}"

    def lacks(self, options: Options) -> str:
        """Return a phrase that describes the first of ``options`` that this server doesn't support,
        or "".
        """
        if options.wsgi and self.protocol != WSGI:
            return "it does not serve WSGI"
        if options.loop is not None and options.loop not in self.loops:
            return f"it does not run on {options.loop}"
        phrases = {
            WORKERS: options.workers > 1 and "it can run only one process",
            SSL: options.ssl_certfile and "it does not support https",
            UDS: options.uds is not None and "it can't listen on a UNIX socket",
            FD: options.fd is not None and "it can't take a socket that is already open",
        }
        return next((one for name, one in phrases.items() if one and name not in self.features), "")


def choose(options: Options) -> Server:
    """Return the requested server, or else the first installed one that supports the options.

    Raises ``ServingError`` if there is none.
    """
    if options.loop == "uvloop" and find_spec("uvloop") is None:
        raise ServingError("uvloop is not installed: pip install uvloop")
    servers = [server for server in SERVERS if options.server in (None, server.name)]
    able = [server for server in servers if not server.lacks(options)]
    found = next((server for server in able if server.is_installed), None)
    if found is not None:
        return found
    if options.server is None:
        wanted = (
            " or ".join(dict.fromkeys(server.install for server in able)) or "use fewer options"
        )
        raise ServingError(f"no installed server supports all these options. To fix this: {wanted}")
    if not servers:
        names = ", ".join(dict.fromkeys(server.name for server in SERVERS))
        raise ServingError(f"there is no server {options.server!r}; there are: {names}")
    if not servers[0].is_installed:
        raise ServingError(f"{options.server} is not installed: {servers[0].install}")
    raise ServingError(
        f"{options.server} can't serve with these options: {servers[-1].lacks(options)}"
    )


def _uvicorn(target: Target, options: Options) -> None:
    uvicorn = import_module("uvicorn")
    # The seconds in which a new worker must start before it replaces an old one. uvicorn's 5 are
    # too few for applications that import much, but only 0.37 and newer take others. If a worker
    # fails to start and ends just when it is asked, uvicorn 0.54 waits this long for its answer.
    healthcheck = "timeout_worker_healthcheck"
    patience = {healthcheck: 20} if healthcheck in signature(uvicorn.run).parameters else {}
    run = partial(
        uvicorn.run,
        target.named("uvicorn") if options.workers > 1 else target.app,
        host=options.host,
        port=options.port,
        uds=options.uds,
        fd=options.fd,
        # With httptools, uvicorn appends the trailers of a chunked body to the headers, which RFC
        # 9110, section 6.5.1, forbids. Behind a proxy that forwards trailers, such as HAProxy, a
        # client could then set X-Forwarded-For. This also matters for applications without
        # ``ProxyHeaders``: handlers and mounted applications may read headers that their proxy
        # sets.
        http="h11",
        # Only ``ProxyHeaders`` decides whose X-Forwarded-For counts. uvicorn trusts proxies on this
        # machine, or all clients if FORWARDED_ALLOW_IPS is "*".
        proxy_headers=False,
        loop=options.loop or "auto",
        workers=options.workers,
        root_path=options.root_path,
        ssl_certfile=options.ssl_certfile,
        ssl_keyfile=options.ssl_keyfile,
        lifespan="on",
        **patience,
    )
    with failing_without_signal() if options.workers > 1 else nullcontext():
        run()


def _hypercorn(target: Target, options: Options) -> None:
    config = import_module("hypercorn.config").Config()
    config.bind, config.umask = [options.place], 0o777 & ~_FOR_EVERYBODY
    config.root_path, config.workers = options.root_path, options.workers
    config.certfile, config.keyfile = options.ssl_certfile, options.ssl_keyfile
    config.worker_class = options.loop or "asyncio"
    if target.name is None and options.workers == 1:
        loop = "trio" if options.loop == "trio" else "asyncio"
        import_module("anyio").run(
            import_module(f"hypercorn.{loop}").serve, target.app, config, backend=loop
        )
    else:
        config.application_path = target.named("hypercorn")
        with failing_without_signal():
            import_module("hypercorn.run").run(config)


def _granian(interface: str, target: Target, options: Options) -> None:
    granian = import_module("granian")
    constants = import_module("granian.constants")
    server = granian.Granian(
        target.named("granian"),
        # granian takes only IP addresses, so look up a name such as "localhost"
        address=socket.getaddrinfo(options.host, None, options.family)[0][4][0],
        port=options.port,
        uds=None if options.uds is None else Path(options.uds),
        uds_permissions=None if options.uds is None else _FOR_EVERYBODY,
        interface=constants.Interfaces(interface),
        workers=options.workers,
        loop=constants.Loops(options.loop or "auto"),
        url_path_prefix=options.root_path or None,
        ssl_cert=options.ssl_certfile,
        ssl_key=options.ssl_keyfile,
        # Without an interval, a worker waits without limit for the connections of HTTP/2 clients
        # that don't answer. With it, granian closes them after 5 s and another 20 s.
        http2_settings=import_module("granian.http").HTTP2Settings(keep_alive_interval=5000),
        respawn_interval=15,  # seconds in which a new worker must start; then the old one ends
        workers_kill_timeout=_KILL_AFTER_RELOAD if CHILD_PORT in os.environ else _KILL_AFTER,
    )
    # A forked worker would have this process's modules, and so the old code after SIGHUP.
    multiprocessing = import_module("multiprocessing")
    default = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    with handled_in_a_thread(server):
        server.serve(target_loader=partial(_in_worker, default))


def _in_worker(start_method: str | None, name: str) -> object:
    """Return the application in a spawned worker, whose own processes start as by default."""
    import_module("multiprocessing").set_start_method(start_method, force=True)
    return attribute(name)


def _daphne(target: Target, options: Options) -> None:
    root = ["--root-path", options.root_path] if options.root_path else []
    place = ["-b", options.host, "-p", str(options.port)]
    if options.uds is not None:
        place = ["-u", options.uds]
    elif options.fd is not None:
        place = ["--fd", str(options.fd)]
    import_module("daphne.cli").CommandLineInterface().run([*place, *root, target.named("daphne")])


def _gunicorn(target: Target, options: Options) -> None:
    settings = {
        "bind": [options.place],
        "workers": options.workers,
        "worker_class": "gthread",
        "threads": 8,
        "certfile": options.ssl_certfile,
        "keyfile": options.ssl_keyfile,
        # With gunicorn's default, a client on this machine could set the root path with a header
        # (docs/servers.md).
        "forwarder_headers": "none",
    }
    if options.root_path:
        os.environ["SCRIPT_NAME"] = options.root_path
    run_gunicorn(target.app, settings)


def _waitress(target: Target, options: Options) -> None:
    prefix = {"url_prefix": options.root_path} if options.root_path else {}
    place: dict[str, object] = {"host": options.host, "port": options.port}
    if options.uds is not None:
        place = {"unix_socket": options.uds, "unix_socket_perms": f"{_FOR_EVERYBODY:o}"}
    elif options.fd is not None:
        place = {"sockets": [socket.socket(fileno=options.fd)]}
    import_module("waitress").serve(
        target.app, threads=8, clear_untrusted_proxy_headers=False, **place, **prefix
    )


def _wsgiref(target: Target, options: Options) -> None:
    files = options.ssl_certfile, options.ssl_keyfile
    with open_server(target.app, (options.host, options.port), files, options.root_path) as server:
        server.serve_forever()


_GRANIAN = (WORKERS, SSL, UDS)

# The servers in order of preference. A server that supports both protocols is listed twice, because
# it may have other features with WSGI than with ASGI.
SERVERS = (
    Server("uvicorn", "uvicorn", ASGI, ("asyncio", "uvloop"), ALL, _uvicorn),
    Server("hypercorn", '"hypercorn[trio]"', ASGI, ("asyncio", "trio", "uvloop"), ALL, _hypercorn),
    Server("granian", "granian", ASGI, ("asyncio", "uvloop"), _GRANIAN, partial(_granian, "asgi")),
    Server("daphne", "daphne", ASGI, ("asyncio",), (UDS, FD), _daphne),
    Server("gunicorn", "gunicorn", WSGI, (), ALL, _gunicorn),
    Server("waitress", "waitress", WSGI, (), (UDS, FD), _waitress),
    Server("granian", "granian", WSGI, (), _GRANIAN, partial(_granian, "wsgi")),
    Server("wsgiref", None, WSGI, (), (SSL,), _wsgiref),
)
