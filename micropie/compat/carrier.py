"""The ``App`` inside of an application that has moved in: it carries the old handlers, and native
ones beside them.

Servers call it, so lifespan, threads, streams and WebSockets are micropie's. Its ``Site`` looks for
a native route first. What it does for any other request is each framework's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from micropie import App, HTTPError, Request, SetupError
from micropie.compat.core import (
    GivenStatus,
    MethodNotAllowed,
    SearchResult,
    Site,
    Tree,
    current,
    marked_layer,
)
from micropie.compat.results import LONGEST_KEPT
from micropie.config import Settings
from micropie.extensions import is_on_this_machine
from micropie.sessions import SessionBackend

Function = TypeVar("Function", bound=Callable[..., Any])

# The keyword arguments of what a search finds: the old handlers take none of micropie's.
NO_VALUES: Mapping[str, object] = {}


class CarryingSite(Site):
    """``inner`` has the native routes, mounts and WebSockets."""

    def __init__(self, inner: Site) -> None:
        super().__init__(inner.config, inner.router, inner.sockets)
        self.exact, self.has_mounts = inner.exact, inner.has_mounts
        self.inner = inner
        self.finds_native = inner.has_mounts or bool(inner.router.entries())

    def find_native(self, request: Request, path: str) -> SearchResult | None:
        """Return the native route or mount of a request.

        None, and ``request.path`` is ``path``, if there is none: ``refused_method`` has the 405.

        Only to be called if ``finds_native``.
        """
        found = self.inner.find_own(request)
        if not isinstance(found, HTTPError):
            return found
        if isinstance(found, MethodNotAllowed):
            carrier: Any = request
            carrier.micropie_refusal = found
        request.path = path
        return None

    def entries(self, takes_socket: bool = False) -> list[Any]:
        """See ``Site``."""
        return self.inner.entries(takes_socket)

    def find_socket(self, request: Request) -> SearchResult:
        """See ``Site``."""
        return self.inner.find_socket(request)


def refused_method(request: Request, allowed: Iterable[str] = ()) -> MethodNotAllowed | None:
    """Return the 405 for a request whose path has native routes for other methods, and no old
    handler; None without such routes.

    ``allowed``: the methods of the old handlers of the path.
    """
    refusal: MethodNotAllowed | None = getattr(request, "micropie_refusal", None)
    if refusal is None:
        return None
    return MethodNotAllowed({*refusal.headers[0][1].split(", "), *allowed})


class CarryingTree(Tree):
    """The tree of an application that has moved in."""

    carry: Callable[[Site], CarryingSite]
    """Makes the site with the old handlers beside those of the given one."""
    moved_from: str
    """The framework that the application was written for."""
    unshared: Callable[[], SessionBackend | None] | None = None
    """Makes the backend of native handlers if old ones have sessions that are not shared."""
    in_memory: Callable[[], Iterable[tuple[str, str]]] = staticmethod(tuple)
    """See ``MovedApp.kept_in_memory``."""

    def session_backend(self) -> SessionBackend:
        """See ``Tree``."""
        if self.unshared is None or self.app.session_backend is not None:
            return super().session_backend()
        return self.unshared() or super().session_backend()

    @property
    def is_blank(self) -> bool:
        """Whether nothing has been set on the application or registered with it."""
        stated = (self.settings, self.functions, self.mounts, self.error_handlers, self.providers)
        return not any(stated) and not self.app.middlewares

    def around(self, site: Site) -> Site:
        """Return the site with both kinds of handlers."""
        return self.carry(site)

    def inside(self, ancestors: tuple[Any, ...]) -> Any:
        if ancestors:
            raise SetupError(
                "mount a migrated application itself: app.mount(prefix, old), without .native"
            )
        if not all(mount.prefix for mount in self.mounts):
            raise SetupError(
                'the old application handles "/": mount the other one below it, at /shop'
            )
        return super().inside(ancestors)


class MovedApp(App):
    """The application's ``native``. Its class is named in the log."""

    _micropie_is_framework = True
    _micropie_tree = CarryingTree
    _micropie: CarryingTree

    def kept_in_memory(self) -> Iterable[tuple[str, str]]:
        """Return what old handlers keep in memory, "sessions", with the words that share it between
        workers.
        """
        return self._micropie.in_memory()

    def configure(self, **arguments: Any) -> None:
        """State what ``App(...)`` takes, once: ``app.native.configure(templates="views",
        session_cookie="shop_id")``.

        Raises ``SetupError`` as ``App`` does.
        """
        super().__init__(**arguments)
        self._micropie.changed()

    def __setattr__(self, name: str, value: object) -> None:
        if name in _ARGUMENTS and not isinstance(value, App):  # which answers below its name
            raise SetupError(
                f"{name!r} is a setting, and no attribute: write native.configure({name}=...)"
            )
        super().__setattr__(name, value)


_ARGUMENTS = frozenset({*vars(Settings()), "docs", "security"})


_NATIVE = "__micropie_native__"  # see tests/compat/CARRYING.md


class Carried:
    """An application that has moved in.

    ``native`` is the ``micropie.App`` that carries it, and that servers call.

    Routes, mounts, WebSockets and middleware of ``native`` stand beside the old handlers, and come
    first.
    """

    def __init__(self, framework: str, carry: Callable[[Site], CarryingSite]) -> None:
        self.native = MovedApp()
        self.native._micropie.carry = carry
        self.native._micropie.moved_from = framework
        vars(self)[_NATIVE] = self.native
        # by this servers know an ASGI application
        vars(self)["__call__"] = vars(self.native)["__call__"]

    def __call__(self, scope: object, receive: object, send: object = None) -> Any:
        """ASGI's ``app(scope, receive, send)`` and WSGI's ``app(environ, start_response)``."""
        return self.native(scope, receive, send)

    def wsgi_shutdown(self) -> None:
        """See ``App.wsgi_shutdown``."""
        self.native.wsgi_shutdown()

    def websocket(self, path: str, *, name: str | None = None) -> Callable[[Function], Function]:
        """Answer WebSockets at ``path`` with the ``async def`` below: ``self.native.websocket``."""
        return self.native.websocket(path, name=name)


def migrated_request(framework: str) -> Request | None:
    """Return the current request if an application that was written for ``framework`` handles it,
    by an old handler, a native one, or a hook.
    """
    request: Any = current.get(None)
    # a handler in a process has left the application behind
    if request is None or request._exchange.is_pooled:
        return None
    app = request._exchange.config.tree[0].app
    is_of = isinstance(app, MovedApp) and app._micropie.moved_from == framework
    return request if is_of else None


def refuse_marks(handler: Callable[..., object]) -> None:
    """Raise ``SetupError`` for a handler of the old framework with marks above it or its class: it
    would pass them.
    """
    layer = marked_layer(handler)
    if layer is not None:
        raise SetupError(
            f"middleware or @requires above {getattr(layer, '__qualname__', layer)} protects only "
            "micropie's handlers: append it to native.middlewares of the application, or rewrite "
            "the handler"
        )


def may_see_tracebacks() -> bool:
    """Return whether the client of the current request may see tracebacks: one on this machine.

    True outside of one.
    """
    request = current.get(None)
    return request is None or is_on_this_machine(request)


def status_of(line: str) -> GivenStatus:
    """Return the status of a status line, "200 OK", with its reason.

    Raises ``ResponseError``, see ``GivenStatus``.
    """
    # a reason may have a client's text
    return _status_of(line) if len(line) <= LONGEST_KEPT else _status_of.__wrapped__(line)


@lru_cache(256)
def _status_of(line: str) -> GivenStatus:
    number, _, reason = line.partition(" ")
    return GivenStatus(number, reason.encode().decode("latin-1"))
