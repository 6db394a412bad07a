"""``Site``: a compiled tree of applications, in which the flow and the drivers find routes. Once
compiled, a site doesn't change.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import partial
from posixpath import normpath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, final
from urllib.parse import quote, unquote

from micropie._core import mounts
from micropie._core.errors import HTTPError, ResponseError, websockets_need_asgi
from micropie._core.execution.placement import Threads
from micropie._core.execution.steps import AWAIT, HANDLER, INLINE, Kind
from micropie._core.http import AHEAD, Exchange, Request
from micropie._core.http.addresses import DOTS_AND_EMPTY, HostTable, split_host
from micropie._core.http.headers import make_private
from micropie._core.http.protocols import Environ, HeaderPairs, Pairs, Scope
from micropie._core.http.settings import METHODS, Settings
from micropie._core.mounts import (
    APP,
    ASGI,
    WSGI,
    Mount,
    MountedPath,
    PrefixTable,
    kind_of_target,
    mounted_path_of,
)
from micropie._core.routing.config import Config, config_of, with_marks
from micropie._core.routing.discovery import AnyFunction, marks_above
from micropie._core.routing.router import NO_VALUES, ByMethod, RouteMatch, Router
from micropie._core.routing.routes import Refusal, Route, place_of

if TYPE_CHECKING:
    from micropie._core.routing.listing import RouteEntry


class Site:
    """A compiled tree of applications: the whole tree, or a tree that is mounted in another one.

    Mounts are searched before routes. Only an application mounted at the root (``Config.fallback``)
    is searched last.

    - ``config``: the config of the tree's outermost application.
    - ``router``: the routes for HTTP.
    - ``sockets``: the routes for WebSockets. They are separate from those for HTTP, so that a
      request never reaches a handler for the other protocol.
    - ``mounted``: the mounts in the tree, whose routes are not in the routers.
    - ``prefix``: the path below which the tree is mounted, or "".
    - ``exact[method][path]``: the routes of paths without arguments, for a fast look-up. ``find``
      finds these and all other routes.
    """

    def __init__(
        self, config: Config, router: Router, sockets: Router, mounted: Sequence[Mounted] = ()
    ) -> None:
        self.config, self.router, self.sockets, self.mounted = config, router, sockets, mounted
        self.prefix = split_host(config.prefix)[1]
        # the application mounted at the root, if there is nothing else to search
        is_empty = not (router.has_nodes or sockets.has_nodes)
        self._alone: MountRoute | None = config.fallback if is_empty else None
        self.has_mounts = bool(mounted) or self._alone is not None
        self._depth = self.prefix.count("/")  # the number of segments in the prefix
        self._mounts = PrefixTable([(entry.prefix, entry) for entry in mounted])
        # the sites whose routes ``entries`` returns
        self._sites = [self, *(entry for entry in mounted if isinstance(entry, Site))]
        self.exact = self._reached(router)
        self._exact_sockets = {
            path: (route, (), NO_VALUES) for path, route in self._reached(sockets)["GET"].items()
        }
        router.drop_short_cuts(split_host(one.route.pattern)[1] for one in sockets.entries())

    def _reached(self, router: Router) -> ByMethod:
        """Return the ``exact`` routes of a router, without the paths that belong to a mount."""
        return ByMethod(
            {
                method: {
                    path: one
                    for path, one in routes.items()
                    if not self.mounted or self._mounts.find(quote(path or "").encode()) is None
                }
                for method, routes in router.exact.items()
            }
        )

    def entries(self, takes_socket: bool = False) -> list[RouteEntry]:
        """Return each route for HTTP once, with its methods, including the routes of mounts and
        hosts in this tree. With ``takes_socket``, return the routes for WebSockets instead.
        """
        found = []
        for site in self._sites:
            for entry in (site.sockets if takes_socket else site.router).entries():
                route = entry.route
                mount = site._mounts.find(quote(split_host(route.pattern)[1]).encode())
                if mount is not None:
                    place = f"{place_of(route.function)}: {route.name}"
                    entry = entry._replace(
                        hidden=f"{place} is never reached: the mount at {mount.prefix} comes first"
                    )
                found.append(entry)
        return found

    def find_socket(self, request: Request) -> RouteMatch:
        """Return the route for a WebSocket's handshake, see ``find``."""
        return self._exact_sockets.get(request._exchange.literal_path) or self.find(
            request, takes_socket=True
        )

    def find(self, request: Request, takes_socket: bool = False) -> RouteMatch:
        """Return the route for a request. It is a ``Handover`` for a mounted application that sends
        its response directly to the server, and a ``Refusal`` with a 400, 404 or 405 for a request
        that nothing handles.

        ``takes_socket``: whether the request is for a WebSocket.
        """
        exchange, segments = request._exchange, None
        router = self.sockets if takes_socket else self.router
        try:
            if self.has_mounts and (inside := self._inside(request)) is not None:
                return inside.find(request, takes_socket)
            path = exchange.literal_path
            if path is not None:
                head, _, last = path.rpartition("/")
                route = router.below[exchange.method].get(head)
                if route is not None and last not in DOTS_AND_EMPTY and "\0" not in last:
                    exchange.path_params = arguments = [last]
                    return route, arguments, NO_VALUES
            segments = exchange.segments()[self._depth :]
            found = router.find(exchange.method, segments)
        except HTTPError as error:  # the path or the host is malformed
            found = router.refusal, (error,), NO_VALUES
        if found[0].is_found:
            # The path of a WebSocket handler may also match an HTTP handler that takes further
            # segments as arguments. Under WSGI, refuse the handshake instead of calling the HTTP
            # handler.
            if (
                self.sockets.has_routes
                and found[1]
                and not takes_socket
                and not found[0].wildcards
                and exchange.method in ("GET", "HEAD")
                and self._takes_handshake(request)
            ):
                return Refusal(found[0].config), (websockets_need_asgi(),), NO_VALUES
            exchange.path_params = [*found[2].values()] if found[2] else found[1]
            return found
        if router.has_fallbacks:
            fallback = self._fallback(request, router, segments, found)
            if fallback is not None:
                return fallback.find(request, takes_socket)
        is_handshake = (
            not takes_socket
            and self.sockets.has_routes
            and exchange.method == "GET"  # a WebSocket's handshake is a GET
            and self._takes_handshake(request)
        )
        return (found[0], (websockets_need_asgi(),), NO_VALUES) if is_handshake else found

    def _takes_handshake(self, request: Request) -> bool:
        """Return whether a request is a handshake for one of this site's WebSockets."""
        is_upgrade = "websocket" in (request._exchange.header("upgrade") or "").lower()
        return is_upgrade and self.find_socket(request)[0].is_found

    @property
    def has_processes(self) -> bool:
        """Whether a pool may have processes, so that ``close`` may have to wait for their end."""
        return any(config.pool.is_made for config in self.config.tree)

    def close(self) -> None:
        """End the processes of the pools. Called after the application's shutdown."""
        for config in self.config.tree:
            config.pool.close()

    def _inside(self, request: Request) -> Mounted | None:
        """Return the mounted site, or the route of the mount, that serves a request. Return None if
        the path is below no mount.
        """
        found = self._mounts.find(request._exchange.raw_path()) if self.mounted else None
        return found or self._alone

    def _fallback(
        self, request: Request, router: Router, searched: Sequence[str] | None, refusal: RouteMatch
    ) -> MountRoute | None:
        """Return the route of the application mounted at the root, for a path that has no route
        here. Return None if there is no such application.

        Also return None if the mounted application might read the path as another path that has a
        route here. For example, it sees ``/admin%2Fusers`` as ``/admin/users``, and may ignore dots
        and doubled slashes. If the application got such a request, clients could get around the
        access checks of that route.

        ``searched``: the segments for which ``refusal`` was returned, or None if the path is
        malformed.
        """
        path = normpath(unquote(request.raw_path.decode("latin-1")))
        segments = [*filter(None, path.split("/"))][self._depth :]
        found = refusal if segments == searched else router.find(request.method, segments)
        return None if found[0].is_found else found[0].config.fallback


Hosts: TypeAlias = list[tuple[str, Site]]


class HostSite(Site):
    """A site for several hosts. It holds a site for each application with its own host, and
    ``others`` for all other hosts.
    """

    def __init__(self, hosts: Hosts, others: Site) -> None:
        super().__init__(others.config, others.router, others.sockets)
        self.exact, self._exact_sockets, self.has_mounts = ByMethod(), {}, True
        self._hosts, self._others = HostTable(hosts), others
        hooks: Iterable[Any] = others.config.middlewares
        self._host_setters = [hook for hook in hooks if getattr(hook, "sets_host", False)]
        compiled = (others, *(site for _, site in hosts))
        self._sites = [*dict.fromkeys(one for site in compiled for one in site._sites)]

    def _inside(self, request: Request) -> Site:
        """Return the site for a request's host, which may come from a trusted proxy's header.

        Raises 400 if the host is malformed.
        """
        exchange = request._exchange
        for hook in () if exchange.peer.by else self._host_setters:
            hook.before(request)
        exchange.set_peer(by=self._host_setters)
        return self._hosts.find(request.host) or self._others


class OutsideRoute(Route):
    """The route to an application that is not in the tree: a mounted one, or one written for
    another framework.

    - ``call``: the function that calls the application.
    - ``plain_args``: the number of arguments of ``call``. The search returns all of them, so
      ``bind`` is never needed.
    - ``kind``: the kind of step that calls the application.
    - ``reads_body``: see ``Route``.
    """

    def __init__(
        self,
        config: Config,
        call: AnyFunction,
        plain_args: int,
        kind: Kind = HANDLER,
        reads_body: bool | Literal["ahead"] = AHEAD,
        pattern: str = "",
    ) -> None:
        self.name = pattern
        self.methods = ()
        # Don't limit the body, because the application to call may have its own limit.
        self.config = config.changed({"max_body_size": sys.maxsize})
        self.show(pattern, call)
        self.step_kind, self.limited_step_kind = config.blocking if kind is HANDLER else kind, kind
        self.call, self.plain_args, self.reads_body = call, plain_args, reads_body


class MountRoute(OutsideRoute):
    """The route to a mounted application whose own routes are not part of this tree.

    Hooks and error pages apply to the mounted application, unless it is isolated. An isolated
    application is called without hooks and error pages.
    """

    def __init__(self, mount: Mount, prefix: str, config: Config) -> None:
        on_loop = config.blocking is not INLINE
        called = mount.under(ASGI if on_loop else WSGI)
        kind, call = _answering(called, config.settings, on_loop)
        # Under WSGI, receive a short body before an ASGI application runs, so that no other thread
        # has to read it.
        is_read_ahead = not on_loop and called.kind == ASGI
        super().__init__(config, call, 2, kind, AHEAD if is_read_ahead else True, prefix or "/")
        self.mount = mount
        self.prefix = split_host(prefix)[1]
        # Never log the warning that a GET changed the session, because its advice, to write @post
        # above the handler, makes no sense here.
        self.has_warned = True
        if mount.kind != APP:  # an ``App`` runs its own access checks
            self.config = with_marks(self.config, marks_above(mount.target))

    @classmethod
    def to(cls, target: object, prefix: str, config: Config) -> MountRoute:
        """Return a route to an application that a hook has chosen for this request."""
        return cls(Mount(prefix, target, kind_of_target(target, None), False), prefix, config)

    def find(self, request: Request, takes_socket: bool = False) -> RouteMatch:
        """Return this route for a request below its prefix. If the mounted application sends its
        response itself, return a ``Handover``.

        An ASGI application serves its WebSockets itself. A WebSocket below a WSGI application gets
        a 404, because WSGI has no WebSockets.
        """
        if takes_socket and self.mount.kind == WSGI:
            return Refusal(self.config), (HTTPError(404),), NO_VALUES
        exchange = request._exchange
        # Access checks must see the method in upper case, because most frameworks convert it to
        # upper case. Otherwise, a client could get around a check for POST by sending "post".
        if not exchange.method.isupper():
            request.method = exchange.method.upper()
        # If the server serves micropie under the prefix "/shop", an application mounted at the root
        # must be able to distinguish "/shop" and "/shop/".
        raw_path = b"" if not self.prefix and exchange.is_at_prefix else exchange.raw_path()
        path = mounted_path_of(exchange.root_path, self.prefix, raw_path)
        if self.mount.strip:
            path = MountedPath("", path.rest or b"/")
        is_whole = takes_socket or self.mount.isolated
        return (
            (Handover(self.mount, path, self.config), (), NO_VALUES)
            if is_whole
            else (self, (path, exchange), NO_VALUES)
        )


@final
class Handover(Route):
    """The route of one request to a mounted application that sends its response directly to the
    server.

    Only the access checks of ``config`` run for it. Its ``call`` returns this object, and the
    driver calls ``mount.target`` with the server's own arguments, but with the scope from
    ``scope_in`` or the environ from ``environ_of``.

    ``cookie``: the Set-Cookie value for a session that an access check has changed, or None.
    """

    is_found = False
    step_kind = limited_step_kind = INLINE
    plain_args, reads_body, without_body = 0, True, METHODS
    cookie: str | None = None

    def __init__(self, mount: Mount, path: MountedPath, config: Config) -> None:
        self.mount, self.mounted_path, self.config = mount, path, config

    def call(self) -> Handover:
        """Return this object."""
        return self

    def scope_in(self, scope: Scope) -> Scope:
        """Return a request's scope for the mounted application, with the paths changed."""
        return mounts.moved_scope(scope, self.mount, self.mounted_path)

    def environ_of(self, exchange: Exchange) -> Environ:
        """Return a request's environ for the mounted application, with the paths changed."""
        return mounts.environ_below(exchange, self.mounted_path)

    def private(self, pairs: Pairs, depends_on: Sequence[str]) -> HeaderPairs:
        """Return the headers of the mounted application's response, changed so that caches don't
        send it to other clients, because hooks have made it depend on the request headers
        ``depends_on``. The cookie is added.
        """
        named = [(name.lower(), value) for name, value in pairs]
        headers, _ = make_private(named, depends_on, has_own_cookie=self.cookie is not None)
        if self.cookie is not None:
            headers.append(("set-cookie", self.cookie))
        return headers


def _answering(mount: Mount, settings: Settings, on_loop: bool) -> tuple[Kind, AnyFunction]:
    """Return the kind of step that calls a mounted application, and the function to call with the
    ``MountedPath`` and the exchange.

    For an isolated application, the function is never called, because the search returns a
    ``Handover``.
    """
    if on_loop and mount.kind == WSGI:
        return AWAIT, partial(mounts.wsgi_under_asgi, mount, threads=Threads(settings.threads))
    if on_loop:
        return AWAIT, partial(mounts.call_asgi, mount)
    if mount.kind == WSGI:
        return INLINE, partial(mounts.wsgi_under_wsgi, mount)
    return AWAIT, partial(mounts.asgi_under_wsgi, mount, seconds=settings.mount_timeout)


# An entry in the table of mounts: an ``App``'s site, or the route to another application.
Mounted: TypeAlias = Site | MountRoute


def delegate_route(request: Request) -> tuple[MountRoute, MountedPath, Exchange]:
    """Return a route to the application that a hook has chosen (``request._subapp``), and the
    arguments to call it with.

    The hook may also have set ``request._subapp_path``, the end of the request's path. Then the
    application sees only this end, and the part before it becomes the application's prefix. If
    ``request._subapp_path`` is "/", the whole path is the prefix. The leading slash may be omitted.
    Without ``_subapp_path``, the application sees the whole path.
    """
    target, path = request._subapp, request.path
    below = path if request._subapp_path is None else request._subapp_path
    if below and below[0] != "/":
        below = "/" + below
    # ``request.path`` has no trailing slash. Add a slash if the client sent one, or if ``below`` is
    # "/".
    if not path.endswith("/") and (below == "/" or request.raw_path.endswith(b"/")):
        path += "/"
        below += "" if below.endswith("/") else "/"
    above = path.removesuffix(below) if path.endswith(below) else ""
    if marks_above(target) and not hasattr(target, "_micropie_is_framework"):
        # An ``App`` runs the checks above it. Any other object would be called without them.
        raise ResponseError(
            f"a hook passed the request to {target!r}, but then the middleware or @requires "
            "above this target would not run: mount the target with app.mount, or refuse the "
            "request in the hook"
        )
    mounted_path = MountedPath(request.root_path + above.rstrip("/"), quote(below).encode())
    exchange = request._exchange
    return MountRoute.to(target, above, config_of(exchange)), mounted_path, exchange


def handlers_route(exchange: Exchange) -> Route | None:
    """Return the route of the handler for a request. Return None if there is no handler, or if an
    application outside the tree handles the request.
    """
    route = exchange.route
    return route if isinstance(route, Route) and not isinstance(route, OutsideRoute) else None
