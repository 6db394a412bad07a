"""A tree of applications compiled into what flows and drivers are given: one frozen ``Site``.

Built at the first request, and anew when the author changes the tree afterwards. Whatever is wrong with it is a
``SetupError`` here, with a sentence that says what to write.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

from micropie.endings import Ending
from micropie.error_handlers import ErrorHandler, ErrorKey
from micropie.errors import HTTPError, SetupError
from micropie.executors import ExecutorPool
from micropie.forms import Limits
from micropie.level import Level, Threads
from micropie.mounting import Mount, Place, Table, dotted, kind_of_target, place_of
from micropie.patterns import DOTS_AND_EMPTY, Pattern
from micropie.pool import Pool
from micropie.request import Request
from micropie.routing import SOCKET_PREFIX, Node, Resource, Route, RouteMark, Router, marks_of, public_handlers
from micropie.sessions import SessionBackend, SessionStore
from micropie.settings import Settings
from micropie.steps import HANDLER, MOUNT, no_function
from micropie.templates import Templates


@dataclass(slots=True)
class Branch:
    """One ``App`` of a tree as its author wrote it: what is compiled."""

    app: object
    framework: tuple[type, ...]
    """The classes whose methods are no handlers."""
    settings: dict[str, Any]
    session_backend: SessionBackend | None
    """None: that of the application around this one; the outermost has one."""
    channels: Any
    """None: those of the application around this one; the outermost has some."""
    middlewares: list[Any]
    error_handlers: dict[ErrorKey, ErrorHandler]
    functions: list[tuple[Callable[..., Any], RouteMark]]
    """Plain functions with an explicit route."""
    ws_middlewares: list[Any]
    socket_functions: list[tuple[Callable[..., Any], RouteMark]]
    """Plain functions that answer WebSockets."""
    template_names: dict[str, Any]
    """What its templates see without being given it."""
    children: dict[str, Branch]
    mounts: list[tuple[Mount, Branch | None]]
    """What is mounted on it; with a branch, what shares sessions and hooks with it."""


_NO_ROUTES: dict[str, Route] = {}
_NO_VALUES: dict[str, Any] = {}


class Site:
    """A whole tree of applications, frozen. ``level`` is the outermost application's.

    ``exact[method][path]`` is the short cut for paths without arguments, ``below[method][path]`` for those with one
    segment more, its argument; ``find`` does the others. WebSockets have tables of their own, ``sockets``: no handler
    is reached by the other protocol.
    """

    __slots__ = ("__weakref__", "below", "exact", "level", "mounts", "router", "sockets")

    def __init__(self, level: Level, router: Router, sockets: Router) -> None:
        self.level = level
        self.mounts: Table[Mounted] | None = None
        self.router = router
        self.sockets = sockets
        self.exact = router.exact
        self.below = router.below

    def find(self, request: Request) -> tuple[Route, Sequence[str], dict[str, Any]]:
        """The route of a request, and what of its path becomes arguments. Raises 400, 404 and 405."""
        path = request.literal_path
        if path is not None:
            head, _, last = path.rpartition("/")
            route = self.below.get(request.method, _NO_ROUTES).get(head)
            if route is not None and last not in DOTS_AND_EMPTY and "\0" not in last:
                request.path_params = arguments = [last]
                return route, arguments, _NO_VALUES
        found = self.router.find(request.method, request.segments())
        _, segments, values = found
        request.path_params = [*values.values()] if values else segments
        return found

    def close(self) -> None:
        """End the processes of its pools; called when the application has been shut down."""
        for level in self.level.tree.values():
            level.pool.close()

    def refusal(self, request: Request, error: Exception) -> Exception:
        """Why a request has no route: ``error``, or 426 for a WebSocket that the server passed on as a request."""
        if not isinstance(error, HTTPError) or "websocket" not in request.headers.get("upgrade", "").lower():
            return error
        try:
            self.find_socket(request)
        except HTTPError:
            return error
        # Without the Upgrade header that RFC 9110, section 15.5.22, asks for: PEP 3333 forbids it.
        return HTTPError(426, "This is for WebSockets, which need an ASGI server.")

    def find_socket(self, request: Request) -> tuple[Route, Sequence[str], dict[str, Any]]:
        """Where a WebSocket's path leads; raises 404."""
        return self.sockets.find("GET", request.segments())

    def url_for(self, name: str, segments: Sequence[Any], values: dict[str, Any]) -> str:
        """The path of a route by its name, one of HTTP or of WebSockets. Raises ``LookupError``, ``ValueError``."""
        is_socket = name in self.sockets.routes and name not in self.router.routes
        return (self.sockets if is_socket else self.router).url_for(name, segments, values)

    def level_of(self, request: Request) -> Level:
        """The level of a request that has no route: of the deepest application that its path leads into."""
        try:
            return self.router.level_of(request.segments())
        except HTTPError:  # a path that leads nowhere
            return self.level


class MountedApp(NamedTuple):
    """An application of a tree that lies at a prefix of its own, with tables of its own."""

    prefix: str
    level: Level
    router: Router
    sockets: Router


class MountRoute(Route):
    """The route of an application that is no part of the tree; it has hooks and errors around it as a handler has."""

    __slots__ = ("mount", "prefix", "threads")

    def __init__(self, mount: Mount, prefix: str, level: Level) -> None:
        self.mount = mount
        self.prefix = prefix
        self.threads = Threads(level.settings.threads)
        self.name = prefix
        # It limits bodies itself, or does not.
        self.level = replace(level, settings=replace(level.settings, max_body_size=sys.maxsize))
        self.methods, self.pattern, self.is_fallback, self.reads_body = (), None, False, True
        self.run = self.run_limited = MOUNT
        self.call, self.texts = no_function, -1  # -1: always bound
        self.bind = lambda request, *_: (self, request, place_of(request.root_path, prefix, request.raw_path))


class Apart(NamedTuple):
    """An application that shares nothing, and is called before any request is made of it."""

    mount: Mount
    prefix: str


# What a path below a mount leads to.
Mounted: TypeAlias = MountedApp | MountRoute | Apart


class MountingSite(Site):
    """A site with mounts, which are looked for before its routes."""

    __slots__ = ()

    def __init__(self, level: Level, router: Router, sockets: Router, mounted: list[tuple[str, Mounted]]) -> None:
        super().__init__(level, router, sockets)
        self.mounts = Table(mounted)
        self.exact = {method: self._visible(method) for method in router.exact}
        for _, entry in mounted:
            if isinstance(entry, MountedApp):
                _name_routes(router, entry.prefix, entry.router)
                _name_routes(sockets, entry.prefix, entry.sockets)

    def find(self, request: Request) -> tuple[Route, Sequence[str], dict[str, Any]]:
        """The route of a request, see ``Site``."""
        entry = self._entry_of(request)
        if isinstance(entry, MountRoute):
            return entry, (), {}
        if not isinstance(entry, MountedApp):
            return super().find(request)
        segments = request.segments()[entry.prefix.count("/") :]
        route, arguments, values = entry.router.find(request.method, segments)
        request.path_params = [*values.values()] if values else arguments
        return route, arguments, values

    def level_of(self, request: Request) -> Level:
        """The level of a request that has no route, see ``Site``."""
        entry = self._entry_of(request)
        if not isinstance(entry, MountedApp):
            return super().level_of(request)
        try:
            return entry.router.level_of(request.segments()[entry.prefix.count("/") :])
        except HTTPError:
            return entry.level

    def find_socket(self, request: Request) -> tuple[Route, Sequence[str], dict[str, Any]]:
        """Where a WebSocket's path leads, see ``Site``."""
        entry = self._entry_of(request)
        if not isinstance(entry, MountedApp):
            return super().find_socket(request)
        return entry.sockets.find("GET", request.segments()[entry.prefix.count("/") :])

    def _entry_of(self, request: Request) -> Mounted | None:
        assert self.mounts is not None  # noqa: S101
        return self.mounts.find(request.raw_path)

    def _visible(self, method: str) -> dict[str | None, Route]:
        """The short cuts that no mount hides."""
        assert self.mounts is not None  # noqa: S101
        paths = self.router.exact[method].items()
        return {path: route for path, route in paths if path is None or self.mounts.find(quote(path).encode()) is None}


def apart_of(site: Site, request: Request) -> Apart | None:
    """The application that answers a request by itself, if it is one's that shares nothing."""
    entry = site.mounts.find(request.raw_path) if site.mounts is not None else None
    return entry if isinstance(entry, Apart) else None


def mount_of(site: Site, request: Request) -> tuple[Mount, str] | None:
    """What is mounted where a path leads, and at which prefix, if it is no part of the tree."""
    entry = site.mounts.find(request.raw_path) if site.mounts is not None else None
    return None if entry is None or isinstance(entry, MountedApp) else (entry.mount, entry.prefix)


def handed_over(request: Request) -> tuple[MountRoute, Request, Place]:
    """Where a hook leads that sets ``request._subapp``, and with ``_subapp_path`` what of the path is for that one.

    What stands before that in the request's path becomes the prefix. A slash at its beginning may be left out, and the
    bare prefix be "/".
    """
    target, path = request._subapp, request.path
    below = path if request._subapp_path is None else request._subapp_path
    if below and below[0] != "/":
        below = "/" + below
    if below == "/" and path[-1:] != "/":
        path += "/"
    above = path.removesuffix(below) if path.endswith(below) else ""
    mount = Mount(above, target, kind_of_target(target, None), isolated=False)
    place = Place(request.root_path + above.rstrip("/"), quote(below).encode())
    return MountRoute(mount, above, request.level), request, place


def _name_routes(outer: Router, prefix: str, router: Router) -> None:
    """Give the routes of a mounted application their names in the outer one's."""
    for name, (path, pattern) in router.routes.items():
        if pattern is not None:
            outer.routes.setdefault(name, (path, Pattern(prefix + pattern.text)))
        else:
            outer.routes.setdefault(name, (quote(prefix) + ("" if path == "/" else path), None))


def build_site(root: Branch, ending: Ending, blocking: str = HANDLER) -> Site:
    """Compile a tree of applications. Raises ``SetupError`` for what can't be served.

    ``ending`` is what its streams of events are ended by. ``blocking`` is how ``def`` handlers run: by a step
    (HANDLER), or INLINE where the flow's thread may block.
    """
    builder = _Builder(blocking)
    level = _root_level(root, ending)
    node, socket_node = builder.add(root, level, "", "")
    router, sockets = Router(node, builder.explicit), Router(socket_node, builder.explicit_sockets)
    if builder.mounted:
        return MountingSite(level, router, sockets, builder.mounted)
    return Site(level, router, sockets)


def _check_middlewares(branch: Branch) -> None:
    for middleware in [*branch.middlewares, *branch.ws_middlewares]:
        if isinstance(middleware, type):
            raise SetupError(f"middlewares holds objects, not classes: append({middleware.__name__}())")
    for middleware in branch.ws_middlewares:
        if not any(callable(getattr(middleware, name, None)) for name in _SOCKET_HOOKS):
            raise SetupError(
                f"{middleware!r} is no WebSocket middleware: append an object with before_websocket or after_websocket"
            )
    for middleware in branch.middlewares:
        if not _is_middleware(middleware):
            raise SetupError(
                f"{middleware!r} is no middleware: append an object with before_request or after_request, or a "
                "generator function, def or async def, with one yield in it"
            )


_SOCKET_HOOKS = ("before_websocket", "after_websocket")
_HOOKS = ("before_request", "after_request", "before", "after")


def _is_middleware(value: Any) -> bool:
    if any(callable(getattr(value, name, None)) for name in _HOOKS):
        return True
    functions = [inspect.unwrap(value), vars(type(value)).get("__call__")] if callable(value) else []
    return any(inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function) for function in functions)


def _root_level(root: Branch, ending: Ending) -> Level:
    settings = Settings().overridden(root.settings)
    assert root.session_backend is not None  # noqa: S101
    pool, pool_threads = _pool(settings)
    return Level(
        settings=settings,
        threads=_threads(settings),
        pool=pool,
        pool_threads=pool_threads,
        limits=_limits(settings),
        sessions=_store(root.session_backend, settings, ""),
        middlewares=root.middlewares,
        ws_middlewares=root.ws_middlewares,
        error_handlers=root.error_handlers,
        app=root.app,
        prefix="",
        templates=_templates(root, settings),
        channels=root.channels,
        ending=ending,
        tree={},
    )


def _inner_level(branch: Branch, outer: Level, prefix: str) -> Level:
    settings = outer.settings.overridden(branch.settings)
    shares_pool = _POOL_SETTINGS.isdisjoint(branch.settings)
    pool, pool_threads = (outer.pool, outer.pool_threads) if shares_pool else _pool(settings)
    return replace(
        outer,
        settings=settings,
        threads=outer.threads if _THREAD_SETTINGS.isdisjoint(branch.settings) else _threads(settings),
        pool=pool,
        pool_threads=pool_threads,
        limits=_limits(settings),
        sessions=_inner_store(branch, outer, settings, prefix),
        middlewares=_Chain(outer.middlewares, branch.middlewares),
        ws_middlewares=_Chain(outer.ws_middlewares, branch.ws_middlewares),
        error_handlers={**outer.error_handlers, **branch.error_handlers},
        app=branch.app,
        prefix=prefix,
        templates=_templates(branch, settings),
        channels=outer.channels if branch.channels is None else branch.channels,
    )


def _inner_store(branch: Branch, outer: Level, settings: Settings, prefix: str) -> SessionStore:
    if branch.session_backend is not None:
        return _store(branch.session_backend, settings, prefix)
    if any(name.startswith("session_") for name in branch.settings):
        return _store(outer.sessions.backend, settings, outer.sessions.prefix)
    return outer.sessions


_THREAD_SETTINGS = frozenset({"threads", "thread_queue"})


def _threads(settings: Settings) -> Threads:
    return Threads(settings.threads, settings.thread_queue)


_POOL_SETTINGS = frozenset({"processes", "pool"})


def _pool(settings: Settings) -> tuple[Pool | ExecutorPool, Threads]:
    if settings.pool is not None:
        return ExecutorPool(settings.pool), _threads(settings)
    pool = Pool(settings.processes or _cpus())
    return pool, Threads(pool.size, settings.thread_queue)


def _cpus() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _store(backend: SessionBackend, settings: Settings, prefix: str) -> SessionStore:
    return SessionStore(
        backend,
        settings.session_timeout,
        id_factory=settings.session_id_factory,
        id_validator=settings.session_id_validator,
        secure=settings.session_cookie_secure,
        prefix=prefix,
    )


def _templates(branch: Branch, settings: Settings) -> Templates:
    names = {**branch.template_names, **settings.template_globals}
    return Templates(settings.templates, settings.template_filters, names, reload=settings.debug)


class _Chain:
    """Two lists of middleware as one, each as it is at the moment."""

    def __init__(self, outer: Iterable[Any], inner: Iterable[Any]) -> None:
        self._parts = (outer, inner)

    def __iter__(self) -> Iterator[Any]:
        return (middleware for part in self._parts for middleware in part)

    def __bool__(self) -> bool:
        return any(self._parts)


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_form_field_size=settings.max_form_field_size,
        max_fields=settings.max_form_fields,
        max_files=settings.max_form_files,
    )


class _Builder:
    """Collects explicit routes while it makes two ``Node`` of each application, one of them for WebSockets."""

    def __init__(self, blocking: str, base: str = "") -> None:
        self._blocking = blocking
        self._base = base  # where the outermost application of these tables is mounted
        self.explicit: list[Route] = []
        self.explicit_sockets: list[Route] = []
        self.mounted: list[tuple[str, Mounted]] = []
        self._stated: dict[str, str] = {}

    def add(self, branch: Branch, level: Level, prefix: str, outer_names: str) -> tuple[Node, Node]:
        _check_middlewares(branch)
        node, sockets = Node(level), Node(level)
        level.tree.setdefault(id(branch.app), level)
        for name, function in public_handlers(branch.app, branch.framework).items():
            self._add_handler(node, name, function, marks_of(function), level, prefix, outer_names)
        for function, mark in branch.functions:
            self._add_explicit(function, mark, _name_of(function), level, prefix, outer_names)
        self._add_sockets(sockets, branch, level, prefix, outer_names)
        for name, child in branch.children.items():
            node.names.pop(name, None)
            sockets.names.pop(name, None)
            below = f"{prefix}/{name}"
            inner = _inner_level(child, level, self._base + below)
            nodes = self.add(child, inner, below, f"{outer_names}{name}.")
            node.children[name], sockets.children[name] = nodes
        for mount, shared in branch.mounts:
            self._add_mount(mount, shared, level, self._base + prefix + mount.prefix, outer_names)
        return node, sockets

    def _add_sockets(self, node: Node, branch: Branch, level: Level, prefix: str, outer_names: str) -> None:
        for name, function in public_handlers(branch.app, branch.framework, sockets=True).items():
            if marks_of(function):
                raise SetupError(f"{name} answers WebSockets: write @websocket above it, and not @route, @get, @post")
            marks = marks_of(function, "__micropie_sockets__")
            for mark in marks or [RouteMark(None, (), None)]:
                self._add_socket(node, function, mark, name, level, prefix, outer_names)
        for function, mark in branch.socket_functions:
            self._add_socket(node, function, mark, _name_of(function), level, prefix, outer_names)

    def _add_socket(
        self,
        node: Node,
        function: Callable[..., Any],
        mark: RouteMark,
        name: str,
        level: Level,
        prefix: str,
        outer_names: str,
    ) -> None:
        route_name = outer_names + (mark.name or name)
        if mark.path is not None:
            pattern = Pattern(prefix + mark.path)
            self._state_name(route_name, mark, pattern.text)
            self.explicit_sockets.append(Route(function, route_name, level, pattern=pattern, takes_socket=True))
        else:
            resource = Resource(Route(function, route_name, level, takes_socket=True))
            node.add(name.removeprefix(SOCKET_PREFIX), resource)

    def _add_mount(self, mount: Mount, shared: Branch | None, level: Level, prefix: str, outer_names: str) -> None:
        if shared is None:
            self.mounted.append((prefix, Apart(mount, prefix) if mount.isolated else MountRoute(mount, prefix, level)))
            return
        inner = _inner_level(shared, level, prefix)
        builder = _Builder(self._blocking, prefix)
        node, socket_node = builder.add(shared, inner, "", outer_names + dotted(mount.prefix))
        router, sockets = Router(node, builder.explicit), Router(socket_node, builder.explicit_sockets)
        self.mounted.append((prefix, MountedApp(prefix, inner, router, sockets)))
        self.mounted += builder.mounted

    def _add_handler(
        self,
        node: Node,
        name: str,
        function: Callable[..., Any],
        marks: Sequence[RouteMark],
        level: Level,
        prefix: str,
        outer_names: str,
    ) -> None:
        by_name = [mark for mark in marks if mark.path is None]
        for mark in marks:
            if mark.path is not None:
                self._add_explicit(function, mark, name, level, prefix, outer_names)
        if by_name or not marks:
            methods = tuple(method for mark in by_name for method in mark.methods)
            place = next((mark.run for mark in by_name if mark.run), None)
            resource = _resource(Route(function, outer_names + name, level, methods, None, self._blocking, place))
            node.add(name, resource)

    def _add_explicit(
        self, function: Callable[..., Any], mark: RouteMark, name: str, level: Level, prefix: str, outer_names: str
    ) -> None:
        pattern = Pattern(prefix + (mark.path or f"/{name}"))
        route_name = outer_names + (mark.name or name)
        self._state_name(route_name, mark, pattern.text)
        self.explicit.append(Route(function, route_name, level, mark.methods, pattern, self._blocking, mark.run))

    def _state_name(self, route_name: str, mark: RouteMark, path: str) -> None:
        if mark.name is not None and self._stated.setdefault(route_name, path) != path:
            raise SetupError(f"two routes state the name {mark.name!r}: {self._stated[route_name]} and {path}")


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _resource(route: Route) -> Resource:
    if not route.methods:
        return Resource(route)
    resource = Resource()
    resource.add(route, route.name)
    return resource
