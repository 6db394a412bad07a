"""Compile a tree of applications to its ``Site``, at the first request, and again after the tree
has been changed.

A tree has two routers, one for HTTP and one for WebSockets. A mounted application has two routers
of its own. Any other inner application adds its handlers and explicit routes to the routers of the
tree, below its own node. Certain errors, such as two routes for the same path, raise a
``SetupError`` whose message says what to write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from micropie._core.errors import SetupError
from micropie._core.execution.placement import Threads
from micropie._core.execution.steps import HANDLER, Kind
from micropie._core.http.addresses import quoted_address, split_host
from micropie._core.mounts import APP, Mount
from micropie._core.routing.config import Config, Registrations
from micropie._core.routing.discovery import (
    FINGERPRINT,
    SOCKET_PREFIX,
    AnyFunction,
    Pattern,
    RouteMark,
    check_middlewares,
    find_handlers,
    marks_of,
)
from micropie._core.routing.misplaced_decorators import reject_misplaced_decorators
from micropie._core.routing.router import Node, Router
from micropie._core.routing.routes import Refusal, Route
from micropie._core.routing.site import Hosts, HostSite, Mounted, MountRoute, Site
from micropie._core.streams import ShutdownSignal

# The number of worker threads for a route with its own hooks, such as a health endpoint. One thread
# would not be enough, because a health check blocks its thread while a backend doesn't respond.
_THREADS = 4


def build_site(root: Registrations, shutdown: ShutdownSignal, blocking: Kind = HANDLER) -> Site:
    """Return the ``Site`` for a tree of applications. Raises ``SetupError`` if the tree can't be
    served.

    - ``root``: the settings and registrations of the outermost application.
    - ``shutdown``: the signal that ends the tree's event streams.
    - ``blocking``: the kind of step that calls ``def`` handlers: HANDLER, or INLINE to call them in
      the thread that runs the flow, if this thread may block.
    """
    config = Config(root, None, "", "", shutdown, blocking)
    hosts: Hosts = []
    site = _compiled(root, config, hosts)
    others = Site(config, Router(config), Router(config)) if root.hosts else site
    whole = HostSite(hosts, others) if hosts else site
    if config.advisor is not None:
        config.advisor.review_site(whole)
    return whole


def _compiled(registered: Registrations, config: Config, hosts: Hosts) -> Site:
    """Return a new site, with its own routers, for the application ``registered`` and those inside
    it. If the application has its own hosts, add the site to ``hosts`` once for each host.
    """
    routers = Router(config), Router(config)
    mounted: list[Mounted] = []
    nodes = routers[0].root, routers[1].root
    _Compiler(config, nodes, hosts, mounted, {}).compile(registered)
    has_short_cuts = not split_host(config.prefix)[1]
    router, sockets = (router.freeze(has_short_cuts) for router in routers)
    site = Site(config, router, sockets, mounted)
    hosts += [(host, site) for host in registered.hosts]
    return site


class _Compiler(NamedTuple):
    """Compiles one application into the two routers of its tree."""

    config: Config
    nodes: tuple[Node, Node]
    """The application's node in the router for HTTP, followed by its node in the router for
    WebSockets: ``nodes[mark.takes_socket]``.
    """
    hosts: Hosts
    """The sites of those applications in the tree that have their own host."""
    mounted: list[Mounted]
    """The mounts of the site to which the routers belong."""
    explicit_names: dict[str, str]
    """The route names that the application has set with ``name=...``, with the path of each."""

    def compile(self, registered: Registrations) -> None:
        """Add the routes of an application and of the applications inside it.

        Raises ``SetupError`` for errors in the application.
        """
        config = self.config
        # check all providers, including those that no handler uses
        config.providers.needed_for(config.providers.functions)
        check_middlewares(
            config.providers, registered.app.middlewares, registered.app.ws_middlewares
        )
        config.tree.append(config)
        explicit = config.settings.expose == "explicit"
        handlers = find_handlers(registered.app, registered.framework, explicit)
        reject_misplaced_decorators(registered, handlers)
        if config.advisor is not None:
            config.advisor.review_application(config)
        for handler in handlers:
            self._add_handler(*handler)
        for function, mark in registered.functions:
            self._add_explicit(
                function, mark, getattr(function, "__name__", type(function).__name__)
            )
        for name, child in registered.inside(config.ancestors).items():
            self._add_child(name, child)
        for mount in registered.mounts:
            self._add_mount(mount)

    def _add_handler(self, name: str, function: AnyFunction, marks: Sequence[RouteMark]) -> None:
        """Add a handler's explicit routes. If one of its decorators sets no path, or it has no
        decorator, also add a route for the handler's name. The name is a segment of the path,
        unless it is "index" or "default".
        """
        by_name = [mark for mark in marks if mark.path is None]
        for mark in marks:
            if mark.path is not None:
                self._add_explicit(function, mark, name)
        if not by_name:
            return
        methods = tuple(method for mark in by_name for method in mark.methods)
        mark = by_name[0]._replace(methods=methods)
        node, segment = self.nodes[mark.takes_socket], name
        if mark.takes_socket:
            name, segment = mark.name or name, name.removeprefix(SOCKET_PREFIX)
        prefix = self.config.prefix
        path = f"{prefix}/{segment}" if segment not in ("index", "default") else prefix or "/"
        name = self.config.scope + name
        # An ``index`` with a decorator handles only its own path.
        takes_segments = segment != "index" or not marks_of(function)
        route = Route(function, name, self.config, mark, path, takes_segments)
        if segment == "default":
            node.default = route.as_fallback()
            return
        if segment == "index":
            node.add(route)
            if route.most_segments:
                node.index = route.as_fallback()
        named = node.child(segment)
        named.add(route)
        named.arguments = route
        self.config.names.add(
            name,
            quoted_address(path.rstrip("/")),
            takes_socket=mark.takes_socket,
            plan=route.plan,
            bounds=route.bounds,
        )

    def _add_explicit(self, function: AnyFunction, mark: RouteMark, name: str) -> None:
        pattern = mark.path or Pattern(f"/{name}")
        mark = mark._replace(path=pattern)
        config = self.config
        route_name, path = config.scope + (mark.name or name), config.prefix + pattern.text
        if mark.name is not None and self.explicit_names.setdefault(route_name, path) != path:
            paths = f"{self.explicit_names[route_name]} and {path}"
            raise SetupError(
                f"two routes have the name {mark.name!r}: {paths}; give "
                "one of them another name=..."
            )
        if hasattr(function, FINGERPRINT):
            config.names.fingerprints[route_name] = getattr(function, FINGERPRINT)
        names = config.names
        # A route with its own hooks gets its own threads, because it must respond even while all
        # other threads are busy.
        if mark.hooks is not None:
            config = config.changed(middlewares=[*mark.hooks], threads=Threads(_THREADS))
        route = Route(function, route_name, config, mark, path, takes_segments=False)
        names.add(
            route_name,
            quoted_address(config.prefix),
            pattern,
            takes_socket=mark.takes_socket,
            plan=route.plan,
            bounds=route.bounds,
        )
        self.nodes[mark.takes_socket].descend(pattern).add(route)

    def _add_child(self, name: str, registered: Registrations) -> None:
        outer = self.config
        names = f"{outer.scope}{name}."
        config = Config(
            registered, outer, f"{outer.prefix}/{name}", names, outer.shutdown, outer.blocking
        )
        if registered.hosts:
            _compiled(registered, config, self.hosts)
            return
        nodes = self.nodes[0].child(name), self.nodes[1].child(name)
        for node in nodes:
            node.refusal = Refusal(config)
        self._replace(config=config, nodes=nodes).compile(registered)

    def _add_mount(self, mount: Mount) -> None:
        outer, prefix = self.config, self.config.prefix + mount.prefix
        if mount.kind == APP and not mount.isolated:
            # An ``App`` that is not isolated shares this application's sessions and hooks.
            shared: Registrations = mount.target._micropie
            # the beginning of the names of the mount's routes: "api.v1." for a mount at "/api/v1"
            names = f"{outer.scope}{mount.prefix[1:].replace('/', '.')}."
            config = Config(shared, outer, prefix, names, outer.shutdown, outer.blocking)
            inner = _compiled(shared, config, self.hosts)
            # All mounts of a site are in one table, which raises an error if two mounts have the
            # same prefix.
            self.mounted.extend([inner, *inner.mounted])
        elif mount.prefix:
            self.mounted.append(MountRoute(mount, prefix, outer))
        else:
            outer.fallback = MountRoute(mount, prefix, outer)
