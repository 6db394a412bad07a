"""A pytest plugin that sends the requests of another project's test suite through micropie's mounts
or compatibility modules.

``scripts/peer-suites`` runs pytest with it. The variable ``PEER_WORLD`` is the protocol of the
outer application: ``asgi`` or ``wsgi``. If the suite's client uses the other protocol, a second
mount is added in between, so that all four bridges are tested. Each path gets the mount's prefix,
which is removed again before the suite's application gets the request.

With ``PEER_WORLD=stand-in`` the suite runs on the module of ``micropie_compat`` instead of its own
framework.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

from anyio import to_thread

from micropie import App

PREFIX = "/mounted"
WORLD = os.environ.get("PEER_WORLD", "asgi")


class Mounted:
    """An application with the protocol ``kind``, mounted in a micropie application that is called
    with the protocol ``world``.

    The suite's client calls the application that ``entry()`` returns.
    """

    def __init__(self, app: Any, kind: str, entry: str, world: str) -> None:
        self.app, self.kind, self.protocol = app, kind, entry
        # Exceptions of the mounted application. ``entry`` raises them in the suite's client.
        self.failures: list[BaseException] = []
        self.runs_lifespan = False
        self.site: Any = App(mount_timeout=20.0)
        self.site.mount(PREFIX, self.inside(), kind=kind)
        self.target, self.prefix, self.is_wsgi_inside = self.site, PREFIX, False
        if entry != world:
            self.target, self.prefix, self.is_wsgi_inside = (
                App(mount_timeout=20.0),
                PREFIX + PREFIX,
                world == "wsgi",
            )
            self.target.mount(PREFIX, _only(self.site, world), kind=world)

    def entry(self) -> Any:
        """Return an application that adds the prefix to each path, and raises the exceptions of the
        mounted application.
        """
        return self.wsgi if self.protocol == "wsgi" else self.asgi_entry()

    def wsgi(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.failures.clear()
        answer = self.target(
            {**environ, "PATH_INFO": self.prefix + environ.get("PATH_INFO", "")}, start_response
        )
        if self.failures:
            if hasattr(answer, "close"):
                answer.close()
            raise self.failures[0]
        return answer

    def asgi_entry(self) -> Any:
        async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                await self.lifespan(scope, receive, send)
                return
            root = scope.get("root_path", "").rstrip("/")
            path = (
                scope["path"].removeprefix(root)
                if (scope["path"] + "/").startswith(root + "/")
                else scope["path"]
            )
            scope = {**scope, "path": root + self.prefix + path}
            if scope.get("raw_path") is not None:
                raw = scope["raw_path"].partition(b"?")[0].removeprefix(root.encode())
                scope["raw_path"] = root.encode() + self.prefix.encode() + raw
            self.failures.clear()
            await self.target(scope, receive, send)
            if self.failures and scope["type"] == "http":
                raise self.failures[0]

        return asgi

    async def lifespan(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the lifespan. WSGI has none, so the application is started and stopped directly."""
        self.runs_lifespan = True
        if self.is_wsgi_inside:
            await to_thread.run_sync(self.site._micropie_wsgi.start, self.site)
        await self.target(scope, receive, send)
        if self.is_wsgi_inside:
            await to_thread.run_sync(self.site.wsgi_shutdown)

    def inside(self) -> Any:
        """Return the application to mount. It calls ``app`` with the path and the prefix that the
        suite's client has sent.
        """

        def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
            root = environ["SCRIPT_NAME"]
            while root.endswith(PREFIX):
                root = root.removesuffix(PREFIX)
            try:
                return self.app({**environ, "SCRIPT_NAME": root}, start_response)
            except BaseException as error:
                self.failures.append(error)
                raise

        async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan" and not self.runs_lifespan:
                raise NotImplementedError  # the suite's client does not run it either
            if scope["type"] != "lifespan":
                mounted = root = scope["root_path"]
                while root.endswith(PREFIX):
                    root = root.removesuffix(PREFIX)
                scope = {
                    **scope,
                    "root_path": root,
                    "path": root + scope["path"].removeprefix(mounted),
                }
                scope["raw_path"] = root.encode() + scope["raw_path"].removeprefix(mounted.encode())
            try:
                await self.app(scope, receive, send)
            except Exception as error:
                self.failures.append(error)
                raise

        return wsgi if self.kind == "wsgi" else asgi


def through(app: Any, kind: str, entry: str, world: str = WORLD) -> Any:
    """Return an application with the protocol ``entry`` that calls ``app`` through a mount. See
    ``Mounted``.
    """
    return Mounted(app, kind, entry, world).entry()


def _only(site: Any, protocol: str) -> Any:
    def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
        return site(environ, start_response)

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await site(scope, receive, send)

    return wsgi if protocol == "wsgi" else asgi


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Write a line for each failed test, with the last line of its exception."""
    reports = [*terminalreporter.stats.get("failed", ()), *terminalreporter.stats.get("error", ())]
    with Path(os.environ["PEER_RESULT"]).open("w") as file:
        for report in reports:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = crash.message if crash is not None else str(report.longrepr)
            file.write(f"{report.nodeid}\t{' '.join(message.split())[:300]}\n")


def _starlette() -> None:
    """Patch Starlette's test client, which FastAPI's tests use too."""
    client: Any = importlib.import_module("starlette.testclient").TestClient
    original = client.__init__

    def init(self: Any, app: Any, *arguments: Any, **options: Any) -> None:
        inspected = importlib.import_module("starlette.testclient")
        asgi = app if inspected._is_asgi3(app) else inspected._WrapASGI2(app)
        original(self, through(asgi, "asgi", "asgi"), *arguments, **options)

    client.__init__ = init


def _bottle() -> None:
    sys.path.insert(0, str(Path.cwd() / "test"))
    for name in ("tools", "test.tools"):
        try:
            base: Any = importlib.import_module(name).ServerTestBase
        except ImportError:
            continue
        _mount_bottle(base)


def _mount_bottle(base: Any) -> None:
    original = base.setUp

    def set_up(self: Any) -> None:
        original(self)
        self.wsgiapp = importlib.import_module("wsgiref.validate").validator(
            through(self.app, "wsgi", "wsgi")
        )

    base.setUp = set_up


def _bottle_stand_in() -> None:
    importlib.import_module("micropie_compat").install("bottle")


class _CherryPySources(MetaPathFinder):
    """An import finder for CherryPy's test modules and tutorials, which come from its sources. All
    other modules are the compatibility module's.
    """

    names = ("cherrypy.test", "cherrypy.tutorial")

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if not f"{fullname}.".startswith(tuple(f"{name}." for name in self.names)):
            return None
        return PathFinder.find_spec(fullname, [str(Path.cwd().joinpath(*fullname.split(".")[:-1]))])


def _cheroot(settings: Any) -> Any:
    """Start cheroot, CherryPy's own server, with CherryPy's settings. It serves the suite's current
    ``cherrypy.tree``.
    """
    cherrypy: Any = importlib.import_module("cherrypy")

    class Server(importlib.import_module("cheroot.wsgi").Server):  # type: ignore[misc]
        name = "cheroot"
        port = property(lambda self: self.bind_addr[1])

        def stop(self, wait: bool = True) -> None:
            super().stop()

        def serve_until_interrupted(self) -> None:
            try:
                self.serve()
            except KeyboardInterrupt:  # raised by a handler to end the program
                cherrypy.engine.exit()

    server: Any = Server(
        settings.socket_file or settings.bind_addr,
        lambda *request: cherrypy.tree(*request),  # noqa: PLW0108 - the suite sets another tree while it serves
        settings.thread_pool,
        request_queue_size=settings.socket_queue_size,
        timeout=settings.socket_timeout,
        shutdown_timeout=settings.shutdown_timeout,
        accepted_queue_size=settings.accepted_queue_size,
        accepted_queue_timeout=settings.accepted_queue_timeout,
    )
    server.protocol = settings.protocol_version
    server.max_request_header_size = settings.max_request_header_size
    server.max_request_body_size = settings.max_request_body_size
    request_class = importlib.import_module("cheroot.server").HTTPRequest
    server.ConnectionClass.RequestHandlerClass = partial(request_class, proxy_mode=True)
    server.prepare()
    Thread(target=server.serve_until_interrupted).start()
    return server


def _start(settings: Any) -> None:
    """Start cheroot, unless it runs: ``cherrypy.server.start``."""
    if not settings.running:
        settings.bus.serves_itself = True
        settings.httpserver = _cheroot(settings)
        settings.bus.log(f"Serving on {settings.base()} (cheroot)")


_start.priority = 75  # type: ignore[attr-defined]


def _cherrypy_stand_in() -> None:
    """Run CherryPy's tests on the compatibility module, served by cheroot.

    ``gctools``, which counts private objects of CherryPy, is replaced by an empty module.
    """
    importlib.import_module("micropie_compat").install("cherrypy")
    sys.meta_path.insert(0, _CherryPySources())
    cherrypy: Any = importlib.import_module("cherrypy")
    os.environ["WEBTEST_INTERACTIVE"] = "False"  # don't ask what to do after a failure
    cherrypy.server.unsubscribe()
    type(cherrypy.server).start = _start
    cherrypy.server.subscribe()
    cherrypy.lib.gctools = SimpleNamespace(GCRoot=object)


def _a2wsgi() -> None:
    """Replace a2wsgi's two wrappers with micropie's mounts."""
    importlib.import_module("a2wsgi.asgi").__dict__["ASGIMiddleware"] = lambda app, **_: through(
        app, "asgi", "wsgi", "wsgi"
    )
    importlib.import_module("a2wsgi.wsgi").__dict__["WSGIMiddleware"] = lambda app, **_: through(
        app, "wsgi", "asgi", "asgi"
    )


def _asgiref() -> None:
    """Replace asgiref's wrapper for WSGI applications with micropie's mount."""
    importlib.import_module("asgiref.wsgi").__dict__["WsgiToAsgi"] = lambda app, **_: through(
        app, "wsgi", "asgi", "asgi"
    )


if WORLD == "stand-in":
    {"bottle": _bottle_stand_in, "cherrypy": _cherrypy_stand_in}[os.environ["PEER_SUITE"]]()
elif WORLD != "alone":
    {
        "starlette": _starlette,
        "fastapi": _starlette,
        "bottle": _bottle,
        "a2wsgi": _a2wsgi,
        "asgiref": _asgiref,
    }[os.environ["PEER_SUITE"]]()
