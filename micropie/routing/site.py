"""What flows and drivers are given of a tree of applications: one frozen ``Site``, where each path leads."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

from micropie.errors import HTTPError
from micropie.execution.placement import Threads
from micropie.execution.steps import MOUNT, no_function
from micropie.http.paths import DOTS_AND_EMPTY
from micropie.http.request import Request
from micropie.mounts.prefixes import Mount, MountedPath, PrefixTable, kind_of_target, mounted_path_of
from micropie.routing.config import AppConfig
from micropie.routing.patterns import Pattern
from micropie.routing.route import Route
from micropie.routing.router import Router

_NO_ROUTES: dict[str, Route] = {}
_NO_VALUES: dict[str, Any] = {}


class Site:
    """A whole tree of applications, frozen. ``level`` is the outermost application's.

    ``exact[method][path]`` is the short cut for paths without arguments, ``below[method][path]`` for those with one
    segment more, its argument; ``find`` does the others. WebSockets have tables of their own, ``sockets``: no handler
    is reached by the other protocol.
    """

    __slots__ = ("__weakref__", "below", "config", "exact", "has_isolated_mounts", "mounts", "router", "sockets")

    def __init__(self, config: AppConfig, router: Router, sockets: Router) -> None:
        self.config = config
        self.mounts: PrefixTable[Mounted] | None = None
        self.has_isolated_mounts = False  # whether something is mounted that shares nothing
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
        for config in self.config.tree.values():
            config.pool.close()

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

    def config_of(self, request: Request) -> AppConfig:
        """The level of a request that has no route: of the deepest application that its path leads into."""
        try:
            return self.router.config_of(request.segments())
        except HTTPError:  # a path that leads nowhere
            return self.config


class MountedApp(NamedTuple):
    """An application of a tree that lies at a prefix of its own, with tables of its own."""

    prefix: str
    config: AppConfig
    router: Router
    sockets: Router


class MountRoute(Route):
    """The route of an application that is no part of the tree; it has hooks and errors around it as a handler has."""

    __slots__ = ("mount", "prefix", "threads")

    def __init__(self, mount: Mount, prefix: str, config: AppConfig) -> None:
        self.mount = mount
        self.prefix = prefix
        self.threads = Threads(config.settings.threads)
        self.name = prefix
        # It limits bodies itself, or does not.
        self.config = replace(config, settings=replace(config.settings, max_body_size=sys.maxsize))
        self.methods, self.pattern, self.is_fallback, self.reads_body = (), None, False, True
        self.step_kind = self.limited_step_kind = MOUNT
        self.call, self.plain_args = no_function, -1  # -1: always bound
        self.bind = lambda request, *_: (self, request, mounted_path_of(request.root_path, prefix, request.raw_path))


class IsolatedMount(NamedTuple):
    """An application that shares nothing, and is called before any request is made of it."""

    mount: Mount
    prefix: str


# What a path below a mount leads to.
Mounted: TypeAlias = MountedApp | MountRoute | IsolatedMount


class MountingSite(Site):
    """A site with mounts, which are looked for before its routes."""

    __slots__ = ()

    def __init__(self, config: AppConfig, router: Router, sockets: Router, mounted: list[tuple[str, Mounted]]) -> None:
        super().__init__(config, router, sockets)
        self.mounts = PrefixTable(mounted)
        self.has_isolated_mounts = any(isinstance(entry, IsolatedMount) for _, entry in mounted)
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

    def config_of(self, request: Request) -> AppConfig:
        """The level of a request that has no route, see ``Site``."""
        entry = self._entry_of(request)
        if not isinstance(entry, MountedApp):
            return super().config_of(request)
        try:
            return entry.router.config_of(request.segments()[entry.prefix.count("/") :])
        except HTTPError:
            return entry.config

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


def isolated_mount_of(site: Site, request: Request) -> IsolatedMount | None:
    """The application that answers a request by itself, if it is one's that shares nothing; the site has such."""
    entry = site.mounts.find(request.raw_path) if site.mounts is not None else None
    return entry if isinstance(entry, IsolatedMount) else None


def mount_of(site: Site, request: Request) -> tuple[Mount, str] | None:
    """What is mounted where a path leads, and at which prefix, if it is no part of the tree."""
    entry = site.mounts.find(request.raw_path) if site.mounts is not None else None
    return None if entry is None or isinstance(entry, MountedApp) else (entry.mount, entry.prefix)


def delegate_route(request: Request) -> tuple[MountRoute, Request, MountedPath]:
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
    mounted_path = MountedPath(request.root_path + above.rstrip("/"), quote(below).encode())
    return MountRoute(mount, above, request.config), request, mounted_path


def _name_routes(outer: Router, prefix: str, router: Router) -> None:
    """Give the routes of a mounted application their names in the outer one's."""
    for name, (path, pattern) in router.routes.items():
        if pattern is not None:
            outer.routes.setdefault(name, (path, Pattern(prefix + pattern.text)))
        else:
            outer.routes.setdefault(name, (quote(prefix) + ("" if path == "/" else path), None))
