"""Compile a tree of applications into its ``Site``: at the first request, and again when the author changes the tree.

There are two routers, one for HTTP and one for WebSockets; an application that is mounted gets two of its own. Each
application adds its handlers and explicit routes at its own node of each. Every mistake of the author is found here and
raised as a ``SetupError`` that says what to write.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from micropie.errors import SetupError
from micropie.execution import HANDLER, RouteKind, ShutdownSignal, Threads
from micropie.mounts import Mount
from micropie.routing.config import AppConfig
from micropie.routing.discovery import SOCKET_PREFIX, find_handlers
from micropie.routing.inheritance import AppDefinition, child_config, root_config
from micropie.routing.patterns import Pattern
from micropie.routing.providers import check_providers
from micropie.routing.router import Node, Resource, Router
from micropie.routing.routes import Route, RouteMark, marks_of
from micropie.routing.site import Mounted, MountedApp, MountingSite, MountRoute, Site

logger = logging.getLogger("micropie")

_THREADS = 4  # of a route with hooks of its own, as an endpoint for health: one for each check of a backend that hangs


def build_site(root: AppDefinition, shutdown: ShutdownSignal, blocking: RouteKind = HANDLER) -> Site:
    """Return the ``Site`` of a tree of applications. Raises ``SetupError`` for one that can't be served.

    ``shutdown`` ends the tree's event streams. ``blocking`` is the kind of step for ``def`` handlers: HANDLER, or
    INLINE where the flow's thread may block.
    """
    config = root_config(root, shutdown)
    tables = _Tables(Router(config), Router(config), blocking)
    tables.compile(root, config, "")
    if tables.mounted:
        return MountingSite(config, tables.http, tables.sockets, tables.mounted)
    return Site(config, tables.http, tables.sockets)


@dataclass(slots=True)
class _Tables:
    """The routers of one tree of applications, and the mounts in it, while its applications are compiled.

    ``base`` is the prefix of the tree's mount, "" for the outermost. ``stated_names``: the paths of the routes by the
    names that authors gave them.
    """

    http: Router
    sockets: Router
    blocking: RouteKind
    base: str = ""
    mounted: list[Mounted] = field(default_factory=list)
    stated_names: dict[str, str] = field(default_factory=dict)

    def compile(self, definition: AppDefinition, config: AppConfig, names: str) -> None:
        """Fill the routers with the tree of applications that begins with ``definition``."""
        _AppCompiler(self, config, "", names, self.http.root, self.sockets.root).compile(definition)
        self.http.freeze()
        self.sockets.freeze()


@dataclass(slots=True)
class _AppCompiler:
    """Compiles one application into the two routers."""

    tables: _Tables
    config: AppConfig
    prefix: str
    """The path of the application within the tree: "" or "/blog"."""
    names: str
    """The beginning of its routes' names: "" or "blog."."""
    handlers: Node
    """The application's place in the router of HTTP."""
    sockets: Node
    """Its place in the router of WebSockets."""

    def compile(self, definition: AppDefinition) -> None:
        """Add the routes of an application and of those inside it. Raises ``SetupError`` for the author's mistakes."""
        _check_middlewares(definition)
        config = self.config
        check_providers(config.providers)
        config.tree.setdefault(id(definition.app), config)
        explicit = config.settings.expose == "explicit"
        package = type(definition.app).__module__.partition(".")[0]
        for name, function in find_handlers(definition.app, definition.framework, explicit=explicit).items():
            self._add_method(name, function)
            origin = getattr(inspect.unwrap(getattr(function, "func", function)), "__module__", package)
            if config.settings.debug and origin.partition(".")[0] != package:
                logger.info("%s/%s is a URL: its function is from %s", self.prefix, name, origin)
        for function, mark in definition.functions:
            self._add_explicit(function, mark, _name_of(function))
        for name, function in find_handlers(definition.app, definition.framework, True, explicit).items():
            if marks_of(function):
                raise SetupError(f"{name} answers WebSockets: write @websocket above it, and not @route, @get, @post")
            for mark in marks_of(function, "__micropie_sockets__") or [RouteMark(None, (), None)]:
                self._add_socket(function, mark, name)
        for function, mark in definition.socket_functions:
            self._add_socket(function, mark, _name_of(function))
        for name, child in definition.children.items():
            self._add_child(name, child)
        for mount, shared in definition.mounts:
            self._add_mount(mount, shared)

    def _add_method(self, name: str, function: Callable[..., object]) -> None:
        """Add a method's explicit routes, and the one by its name if it has no mark or a mark without a path."""
        marks = marks_of(function)
        by_name = [mark for mark in marks if mark.path is None]
        for mark in marks:
            if mark.path is not None:
                self._add_explicit(function, mark, name)
        if by_name or not marks:
            methods = tuple(method for mark in by_name for method in mark.methods)
            placement = next((mark.run_in for mark in by_name if mark.run_in), None)
            self._add_name(name, name, function, RouteMark(None, methods, None, placement))

    def _add_name(
        self, name: str, segment: str, function: Callable[..., object], mark: RouteMark, takes_socket: bool = False
    ) -> None:
        """Add a route that is found by its handler's name: ``segment``, or ``index`` and ``default``."""
        tables, node = self.tables, self.sockets if takes_socket else self.handlers
        path = f"{self.prefix}/{segment}" if segment not in ("index", "default") else self.prefix or "/"
        name = self.names + name
        route = Route(function, name, self.config, mark, tables.base + path, tables.blocking, takes_socket)
        if segment == "default":
            node.default = Resource(route.as_fallback())
            return
        if segment == "index":
            node.add(route)
            node.index = Resource(route.as_fallback()) if route.most_segments else None
        named = node.child(segment)
        named.add(route)
        named.arguments = Resource(route)
        (tables.sockets if takes_socket else tables.http).add_name(name, quote(path.rstrip("/")))

    def _add_explicit(
        self, function: Callable[..., object], mark: RouteMark, name: str, takes_socket: bool = False
    ) -> None:
        tables = self.tables
        pattern = mark.path or Pattern(f"/{name}")
        mark = mark._replace(path=pattern)
        route_name, path = self.names + (mark.name or name), self.prefix + pattern.text
        if mark.name is not None and tables.stated_names.setdefault(route_name, path) != path:
            paths = f"{tables.stated_names[route_name]} and {path}"
            raise SetupError(f"two routes state the name {mark.name!r}: {paths}; give one of them another name=...")
        config = self.config
        if mark.hooks is not None:  # with threads of its own: it must answer while all others are busy
            config = replace(config, middlewares=mark.hooks, threads=Threads(_THREADS))
        route = Route(function, route_name, config, mark, tables.base + path, tables.blocking, takes_socket)
        (self.sockets if takes_socket else self.handlers).descend(pattern).add(route)
        (tables.sockets if takes_socket else tables.http).add_name(route_name, quote(self.prefix), pattern)

    def _add_socket(self, function: Callable[..., object], mark: RouteMark, name: str) -> None:
        if mark.path is not None:
            self._add_explicit(function, mark, name, takes_socket=True)
        else:
            self._add_name(mark.name or name, name.removeprefix(SOCKET_PREFIX), function, mark, takes_socket=True)

    def _add_child(self, name: str, definition: AppDefinition) -> None:
        prefix = f"{self.prefix}/{name}"
        config = child_config(definition, self.config, self.tables.base + prefix)
        handlers, sockets = self.handlers.child(name), self.sockets.child(name)
        handlers.config = sockets.config = config
        _AppCompiler(self.tables, config, prefix, f"{self.names}{name}.", handlers, sockets).compile(definition)

    def _add_mount(self, mount: Mount, shared: AppDefinition | None) -> None:
        prefix = self.tables.base + self.prefix + mount.prefix
        mounted = self.tables.mounted
        if shared is not None:
            config = child_config(shared, self.config, prefix)
            tables = _Tables(Router(config), Router(config), self.tables.blocking, prefix)
            names = f"{self.names}{mount.prefix[1:].replace('/', '.')}."  # of routes: "api.v1." below "/api/v1"
            tables.compile(shared, config, names)
            mounted += [MountedApp(prefix, config, tables.http, tables.sockets), *tables.mounted]
        else:
            mounted.append(MountRoute(mount, prefix, self.config))


def _name_of(function: Callable[..., object]) -> str:
    return getattr(function, "__name__", type(function).__name__)


_SOCKET_HOOKS = ("before_websocket", "after_websocket")
_HOOKS = ("before_request", "after_request", "before", "after")


def _check_middlewares(definition: AppDefinition) -> None:
    for middleware in [*definition.middlewares, *definition.ws_middlewares]:
        if isinstance(middleware, type):
            raise SetupError(f"middlewares holds objects, not classes: append({middleware.__name__}())")
    for middleware in definition.ws_middlewares:
        if not _has_method(middleware, _SOCKET_HOOKS):
            raise SetupError(
                f"{middleware!r} is no WebSocket middleware: append an object with before_websocket or after_websocket"
            )
    for middleware in definition.middlewares:
        functions = [inspect.unwrap(middleware), vars(type(middleware)).get("__call__")] if callable(middleware) else []
        is_generator = any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in functions)
        if not is_generator and not _has_method(middleware, _HOOKS):
            raise SetupError(
                f"{middleware!r} is no middleware: append an object with before_request or after_request, or a "
                "generator function, def or async def, with one yield in it"
            )
        if is_generator and callable(middleware):
            try:
                inspect.signature(middleware).bind(None)
            except TypeError:
                name = getattr(middleware, "__name__", repr(middleware))
                raise SetupError(f"{name} in middlewares takes one argument, the request") from None


def _has_method(middleware: object, names: tuple[str, ...]) -> bool:
    return any(callable(getattr(middleware, name, None)) for name in names)
