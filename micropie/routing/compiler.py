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
from micropie.routing.config import Config
from micropie.routing.discovery import SOCKET_PREFIX, find_handlers
from micropie.routing.inheritance import AppDefinition, make_config
from micropie.routing.patterns import Pattern
from micropie.routing.providers import check_providers
from micropie.routing.router import Node, Resource, Router
from micropie.routing.routes import Route, RouteMark, marks_of
from micropie.routing.site import Mounted, MountRoute, Site

logger = logging.getLogger("micropie")

_THREADS = 4  # of a route with hooks of its own, as an endpoint for health: one for each check of a backend that hangs


def build_site(root: AppDefinition, shutdown: ShutdownSignal, blocking: RouteKind = HANDLER) -> Site:
    """Return the ``Site`` of a tree of applications. Raises ``SetupError`` for one that can't be served.

    ``shutdown`` ends the tree's event streams. ``blocking`` is the kind of step for ``def`` handlers: HANDLER, or
    INLINE where the flow's thread may block.
    """
    config = make_config(root, None, "", shutdown)
    compiler = _compiled(root, config, blocking, "", "")
    return Site(config, compiler.http, compiler.sockets, compiler.mounted)


def _compiled(definition: AppDefinition, config: Config, blocking: RouteKind, base: str, names: str) -> _Compiler:
    """Return the compiler that has filled two routers with the tree of applications that begins with ``definition``."""
    http, sockets = Router(config), Router(config)
    compiler = _Compiler(http, sockets, blocking, base, config, names, http.root, sockets.root)
    compiler.compile(definition)
    http.freeze()
    sockets.freeze()
    return compiler


@dataclass(slots=True)
class _Compiler:
    """Compiles one application into the two routers of its tree."""

    http: Router
    sockets: Router
    blocking: RouteKind
    base: str
    """The prefix of the tree's mount, "" for the outermost."""
    config: Config
    names: str
    """The beginning of its routes' names: "" or "blog."."""
    handlers: Node
    """The application's node in the router of HTTP."""
    socket_handlers: Node
    """Its node in the router of WebSockets."""
    prefix: str = ""
    """The path of the application within the tree: "" or "/blog"."""
    mounted: list[Mounted] = field(default_factory=list)
    """The mounts in the tree."""
    stated_names: dict[str, str] = field(default_factory=dict)
    """The paths of the tree's routes by the names that authors gave them."""

    def compile(self, definition: AppDefinition) -> None:
        """Add the routes of an application and of those inside it. Raises ``SetupError`` for the author's mistakes."""
        _check_middlewares(definition)
        config = self.config
        check_providers(config.providers)
        config.tree.setdefault(id(definition.app), config)
        explicit = config.settings.expose == "explicit"
        package = type(definition.app).__module__.partition(".")[0]
        handlers, socket_handlers = find_handlers(definition.app, definition.framework, explicit)
        for name, function in handlers.items():
            self._add_method(name, function)
            origin = getattr(inspect.unwrap(getattr(function, "func", function)), "__module__", package)
            if config.settings.debug and origin.partition(".")[0] != package:
                logger.info("%s/%s is a URL: its function is from %s", self.prefix, name, origin)
        for function, mark in definition.registered.functions:
            self._add_explicit(function, mark, _name_of(function))
        for name, function in socket_handlers.items():
            if marks_of(function):
                raise SetupError(f"{name} answers WebSockets: write @websocket above it, and not @route, @get, @post")
            for mark in marks_of(function, "__micropie_sockets__") or [RouteMark(None, (), None)]:
                self._add_socket(function, mark, name)
        for function, mark in definition.registered.sockets:
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
            self._add_name(name, name, function, RouteMark(None, methods, None))

    def _add_name(
        self, name: str, segment: str, function: Callable[..., object], mark: RouteMark, takes_socket: bool = False
    ) -> None:
        """Add a route that is found by its handler's name: ``segment``, or ``index`` and ``default``."""
        node = self.socket_handlers if takes_socket else self.handlers
        path = f"{self.prefix}/{segment}" if segment not in ("index", "default") else self.prefix or "/"
        name = self.names + name
        route = Route(function, name, self.config, mark, self.base + path, self.blocking, takes_socket)
        if segment == "default":
            node.default = Resource(route.as_fallback())
            return
        if segment == "index":
            node.add(route)
            node.index = Resource(route.as_fallback()) if route.most_segments else None
        named = node.child(segment)
        named.add(route)
        named.arguments = Resource(route)
        (self.sockets if takes_socket else self.http).add_name(name, quote(path.rstrip("/")))

    def _add_explicit(
        self, function: Callable[..., object], mark: RouteMark, name: str, takes_socket: bool = False
    ) -> None:
        pattern = mark.path or Pattern(f"/{name}")
        mark = mark._replace(path=pattern)
        route_name, path = self.names + (mark.name or name), self.prefix + pattern.text
        if mark.name is not None and self.stated_names.setdefault(route_name, path) != path:
            paths = f"{self.stated_names[route_name]} and {path}"
            raise SetupError(f"two routes state the name {mark.name!r}: {paths}; give one of them another name=...")
        config = self.config
        if mark.hooks is not None:  # with threads of its own: it must answer while all others are busy
            config = replace(config, middlewares=[*mark.hooks], threads=Threads(_THREADS))
        route = Route(function, route_name, config, mark, self.base + path, self.blocking, takes_socket)
        (self.socket_handlers if takes_socket else self.handlers).descend(pattern).add(route)
        (self.sockets if takes_socket else self.http).add_name(route_name, quote(self.prefix), pattern)

    def _add_socket(self, function: Callable[..., object], mark: RouteMark, name: str) -> None:
        if mark.path is not None:
            self._add_explicit(function, mark, name, takes_socket=True)
        else:
            self._add_name(mark.name or name, name.removeprefix(SOCKET_PREFIX), function, mark, takes_socket=True)

    def _add_child(self, name: str, definition: AppDefinition) -> None:
        prefix = f"{self.prefix}/{name}"
        config = make_config(definition, self.config, self.base + prefix, self.config.shutdown)
        handlers, sockets = self.handlers.child(name), self.socket_handlers.child(name)
        handlers.config = sockets.config = config
        names = f"{self.names}{name}."
        inner = replace(self, config=config, prefix=prefix, names=names, handlers=handlers, socket_handlers=sockets)
        inner.compile(definition)

    def _add_mount(self, mount: Mount, shared: AppDefinition | None) -> None:
        prefix = self.base + self.prefix + mount.prefix
        if shared is not None:
            config = make_config(shared, self.config, prefix, self.config.shutdown)
            names = f"{self.names}{mount.prefix[1:].replace('/', '.')}."  # of routes: "api.v1." below "/api/v1"
            inner = _compiled(shared, config, self.blocking, prefix, names)
            self.mounted += [Site(config, inner.http, inner.sockets, prefix=prefix), *inner.mounted]
        else:
            self.mounted.append(MountRoute(mount, prefix, self.config))


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
