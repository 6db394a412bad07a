"""The base classes for running another framework's application on a ``micropie.App``. The ``App``
runs that framework's handlers (called "migrated") and micropie's handlers (called "native").

Servers call this ``App``, so lifespan, threads, streams and WebSockets are micropie's. The ``Site``
of the ``App`` tries the native routes first. The compatibility module of each framework handles all
other requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial, wraps
from typing import Any, Final, TypeAlias, TypeVar

from micropie import App, MethodNotAllowed, Request, Response, SetupError
from micropie.config import Settings
from micropie.extensions import is_on_this_machine
from micropie.sessions import SessionBackend
from micropie_compat.core import (
    EncodedAnswer,
    GivenStatus,
    MountRoute,
    RouteMatch,
    Site,
    Tree,
    current,
    marked_layer,
)
from micropie_compat.originals import enter_pool
from micropie_compat.overrides import Overridable, refuse
from micropie_compat.results import LONGEST_KEPT, AnyFunction, Values

Answer: TypeAlias = EncodedAnswer | Response
"""The response that a migrated handler's route returns."""

Function = TypeVar("Function", bound=Callable[..., Any])

Handler: TypeAlias = tuple[str, str, AnyFunction]
"""The methods of a migrated handler ("*" for all), its path and its function."""

# The keyword arguments of a migrated handler: always empty, because micropie doesn't bind request
# parameters to it.
NO_VALUES: Values = {}


CALLED: Final = "micropie.called"
"""A key of the environ or scope whose value is the application that the server has called."""


def has_own_call(app: object) -> bool:
    """Return whether a program's class has a ``__call__`` of its own."""
    owner = next(one for one in type(app).__mro__ if "__call__" in vars(one))
    return not owner.__module__.startswith(f"{__package__}.")


class CarryingSite(Site):
    """A site that tries native routes first; subclasses then find migrated handlers.

    ``app``: the author's application.
    ``inner``: the site with the native routes, mounts and WebSockets.
    ``finds_native``: whether ``inner`` has any routes or mounts.
    ``own_call``: ``app`` if it has a ``__call__`` of its own, otherwise None.
    """

    def __init__(self, app: Any, inner: Site) -> None:
        super().__init__(inner.config, inner.router, inner.sockets)
        self.exact, self.has_mounts = inner.exact, inner.has_mounts
        self.own_call = app if has_own_call(app) else None
        if self.own_call is not None:
            self.exact = type(self.exact)()  # ``find`` finds native routes, too
        self.inner = inner
        self.finds_native = inner.has_mounts or bool(inner.router.entries())

    def refuse_uncalled(self, request: Request) -> None:
        """Raise ``SetupError`` if the server hasn't called ``own_call``, which may protect the
        pages, for this request. Call this first, unless ``own_call`` is None.
        """
        if request._exchange.outside.get(CALLED) is not self.own_call:
            refuse(type(self.own_call), "__call__")

    def find_native(self, request: Request, path: str) -> RouteMatch | None:
        """Return the native route or mount for a request, or None if there is none. Call this only
        if ``finds_native`` is true.

        If this method returns None, it has set ``request.path`` to ``path``. If the path has native
        routes for other methods only, it has also stored a 405 on the request. ``refused_method``
        returns this 405.
        """
        found = self.inner.find(request)
        # only the outermost application leaves a request that it refuses to migrated handlers
        if found[0].is_found or found[0].config is not self.config:
            return found
        if isinstance(found[1][0], MethodNotAllowed):
            carrier: Any = request
            carrier.micropie_refusal = found[1][0]
        request.path = path
        return None

    def entries(self, takes_socket: bool = False) -> list[Any]:
        """Return the native route entries, see ``Site.entries``."""
        return self.inner.entries(takes_socket)

    def find_socket(self, request: Request) -> RouteMatch:
        """Return the native WebSocket handler, see ``Site.find_socket``, or if there is none, that
        of a mounted application.
        """
        if self.own_call is not None:
            self.refuse_uncalled(request)
        found = self.inner.find_socket(request)
        if found[1] and getattr(found[1][0], "status", 0) == 404:
            mounted = self.find_mounted(request)
            return found if mounted is None else mounted.find(request, takes_socket=True)
        return found

    def find_mounted(self, request: Request) -> MountRoute | None:
        """Return the route to the application that the framework itself has mounted at a request's
        path, or None.
        """
        raise NotImplementedError


def refused_method(request: Request, allowed: Iterable[str] = ()) -> MethodNotAllowed | None:
    """Return a 405 if the request's path has native routes but none for the request's method;
    otherwise None.

    ``allowed``: the methods of the migrated handlers for the path.
    """
    refusal: MethodNotAllowed | None = getattr(request, "micropie_refusal", None)
    if refusal is None:
        return None
    return MethodNotAllowed({*refusal.headers[0][1].split(", "), *allowed})


class CarryingTree(Tree):
    """The tree of a ``MovedApp``. Its site also finds the migrated handlers."""

    carry: Callable[[Site], CarryingSite]
    """A function that takes a site and returns one that also finds the migrated handlers."""
    moved_from: str
    """The name of the framework that the application was written for."""
    unshared: Callable[[], SessionBackend | None] | None = None
    """A function that returns the session backend for native handlers. If it returns None, the
    default backend is used. It is set for CherryPy, whose handlers may have a session store of
    their own.
    """
    in_memory: Callable[[], Iterable[tuple[str, str]]] = staticmethod(tuple)
    """See ``MovedApp.kept_in_memory``."""
    migrated_routes: Callable[[], Iterable[Handler]] = staticmethod(tuple)
    """See ``MovedApp.migrated_routes``."""

    def session_backend(self) -> SessionBackend:
        """See ``Tree.session_backend``."""
        if self.unshared is None or self.app.session_backend is not None:
            return super().session_backend()
        return self.unshared() or super().session_backend()

    own_error_handler: AnyFunction | None = None
    """The error handler that the compatibility module has registered."""

    @property
    def is_blank(self) -> bool:
        """Whether the program has set nothing on the ``App``: no settings, handlers, mounts,
        providers, middleware or lifespan.
        """
        stated = (self.settings, self.functions, self.mounts, self.providers, self.lifespan)
        own = self.own_error_handler
        errors = [one for one in self.error_handlers.values() if one is not own]
        return not any((*stated, errors, self.app.middlewares))

    def around(self, site: Site) -> Site:
        """Return a site that finds native and migrated handlers."""
        return self.carry(site)

    def inside(self, ancestors: tuple[Any, ...]) -> Any:
        if ancestors:
            raise SetupError(
                "mount a migrated application itself: app.mount(prefix, old), without .native"
            )
        if not all(mount.prefix for mount in self.mounts):
            raise SetupError(
                'the migrated application already handles "/": mount the other application at a '
                'longer prefix, such as "/shop"'
            )
        return super().inside(ancestors)


# The class of the ``App`` in a migrated application's attribute ``native``. Log messages contain
# its name. It has no docstring, because OpenAPI documents would contain it.
class MovedApp(App):
    _micropie_is_framework = True
    _micropie_tree = CarryingTree
    _micropie: CarryingTree

    def kept_in_memory(self) -> Iterable[tuple[str, str]]:
        """Return pairs of strings: what migrated handlers store in each worker's memory, such as
        "sessions", and advice on how to share it between workers.
        """
        return self._micropie.in_memory()

    def migrated_routes(self) -> Iterable[Handler]:
        """Return the migrated handlers, as far as they are known before a request; see ``micropie
        routes``.
        """
        return self._micropie.migrated_routes()

    def configure(self, **arguments: Any) -> None:
        """Set the arguments that ``App(...)`` takes, as in
        ``app.native.configure(templates="views", session_cookie="shop_id")``.

        Call this only once. Raises ``SetupError`` as ``App`` does.
        """
        super().__init__(**arguments)
        self._micropie.changed()

    def __setattr__(self, name: str, value: object) -> None:
        if name in _ARGUMENTS and not isinstance(value, App):
            # An ``App`` isn't refused, because it is mounted under the attribute's name.
            raise SetupError(
                f"{name!r} is a setting, not an attribute: write native.configure({name}=...)"
            )
        super().__setattr__(name, value)


_ARGUMENTS = frozenset({*vars(Settings()), "docs", "security"})


_NATIVE = "__micropie_native__"  # explained in compat/CARRYING.md


class CarriedType(Overridable):
    """The class of ``Carried``. Monitors replace the method ``__call__`` with a WSGI application,
    which ASGI servers must not call.
    """

    _inner: str
    _calls: list[object]  # the class's own ``__call__``, and functions of ``_wsgi_only``

    def __init__(self, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> None:
        super().__init__(name, bases, namespace)
        self._calls = [namespace.get("__call__")]

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "__call__" and all(value is not one for one in self._calls):
            value = _wsgi_only(value, self._inner)
            self._calls.append(value)
        super().__setattr__(name, value)


def _wsgi_only(function: Any, key: str) -> AnyFunction:
    """Return a function that calls ``function`` for WSGI only.

    ``key``: if it isn't "", call ``function`` only if the environ has this key.
    """

    @wraps(function)
    def call(self: Any, scope: Any, receive: Any, send: object = None) -> object:
        if send is None and (not key or key in scope):
            # A monitor's wrapper may look at the instance to which it is bound.
            return function.__get__(self, type(self))(scope, receive)
        return self.native(scope, receive, send)

    return call


class Carried(metaclass=CarriedType):
    """The base class of other frameworks' applications that run on micropie.

    ``native`` is the ``micropie.App`` that servers call. Its routes, mounts, WebSockets and
    middleware come before the migrated handlers.
    """

    _inner = ""  # see ``_wsgi_only``

    def __init__(self, framework: str, carry: Callable[[Site], CarryingSite]) -> None:
        self.native = MovedApp()
        self.native._micropie.carry = carry
        self.native._micropie.moved_from = framework
        self.native._micropie.enter_in_pool = (partial(enter_pool, framework),)
        vars(self)[_NATIVE] = self.native
        self._has_own_call = has_own_call(self)
        # Use the ``App``'s ``__call__``, by which servers recognize an ASGI application.
        vars(self)["__call__"] = vars(self.native)["__call__"]

    def __setattr__(self, name: str, value: object) -> None:
        if name in type(self).uncalled:
            refuse(type(self), name)
        super().__setattr__(name, value)

    def __call__(self, scope: Any, receive: Any, send: object = None) -> Any:
        """Handle ASGI's ``app(scope, receive, send)`` and WSGI's ``app(environ,
        start_response)``.
        """
        if self._has_own_call:
            scope[CALLED] = self
        return self.native(scope, receive, send)

    def wsgi_shutdown(self) -> None:
        """Run the shutdown handlers, see ``App.wsgi_shutdown``."""
        self.native.wsgi_shutdown()

    def websocket(self, path: str, *, name: str | None = None) -> Callable[[Function], Function]:
        """Register the decorated ``async def`` for WebSockets at ``path``, with
        ``self.native.websocket``.
        """
        return self.native.websocket(path, name=name)


def refuse_marks(handler: AnyFunction) -> None:
    """Raise ``SetupError`` for a migrated handler if it or its class has one of micropie's
    decorators, such as ``@requires``, which would have no effect.
    """
    layer = marked_layer(handler)
    if layer is not None:
        raise SetupError(
            f"{getattr(layer, '__qualname__', layer)} is a migrated handler, so decorating it or "
            "its class with middleware or @requires has no effect: append middleware to the "
            "application's native.middlewares, or rewrite the handler as a native one"
        )


def may_see_tracebacks() -> bool:
    """Return whether the current request's client may see tracebacks. Only clients on this machine
    may see them.

    Outside of requests, return True.
    """
    request = current.get(None)
    return request is None or is_on_this_machine(request)


def status_of(line: str) -> GivenStatus:
    """Return the status and the reason of a status line such as "200 OK".

    Raises ``ResponseError`` if it is malformed, see ``GivenStatus``.
    """
    # Long lines aren't cached, since a reason may contain a client's text.
    return _status_of(line) if len(line) <= LONGEST_KEPT else _status_of.__wrapped__(line)


@lru_cache(256)
def _status_of(line: str) -> GivenStatus:
    number, _, reason = line.partition(" ")
    return GivenStatus(number, reason.encode().decode("latin-1"))
