"""The ``micropie.App`` inside of a tree or an application (``native``): it runs CherryPy's handlers
("old") and its own.

Servers call this ``App``, so lifespan, threads, streams and WebSockets are micropie's. Its ``Site``
looks for a native route first; any other request goes through CherryPy's steps (``life.py``), in a
thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol, TypeAlias

from micropie import Request, Response
from micropie.compat.carrier import NO_VALUES, CarryingSite, refused_method, status_of
from micropie.compat.cherrypy.lib.httputil import HeaderMap
from micropie.compat.cherrypy.life import Life, answer, begin
from micropie.compat.cherrypy.serving import Exchange
from micropie.compat.core import (
    Config,
    EncodedAnswer,
    FileRange,
    MountRoute,
    OutsideRoute,
    SearchResult,
    Site,
    ThreadStream,
    checked_headers,
    slots_of,
)
from micropie.compat.environs import path_of
from micropie.compat.originals import watch
from micropie.middleware import Threads

_Answer: TypeAlias = EncodedAnswer | Response

_HTML = "text/html;charset=utf-8"

_THREADS = Threads(40)  # for the steps that follow an awaited handler


class Applications(Protocol):
    """The methods that a tree and an application share."""

    def find(self, path: str) -> Any:
        """Return the target for a path: an ``Application``, an application of another kind, or
        None.
        """

    def check(self, config: Config) -> None:
        """Raise ``SetupError`` for configuration that contradicts settings of native handlers."""


class CherryPySite(CarryingSite):
    """Finds a native route, else asks the tree or the application (``owner``)."""

    __slots__ = ("_grafted", "_owner", "_route")

    def __init__(self, owner: Applications, inner: Site) -> None:
        super().__init__(inner)
        watch("cherrypy")
        owner.check(inner.config)
        self._owner = owner
        # The only route for all handlers that CherryPy's dispatchers find.
        self._route = OutsideRoute(inner.config, _call, 3)
        self._grafted: dict[str, MountRoute] = {}

    def find(self, request: Request, takes_socket: bool = False) -> SearchResult:
        """Return the native route or mount for a request, else the target in the tree."""
        received = request._exchange.literal_path or path_of(request)
        path = received if received.isascii() else _decoded(received)
        native = self.find_native(request, path) if self.finds_native else None
        if native is not None:
            return native
        request.method = request.method.upper()  # ``MethodDispatcher`` compares with capitals
        root = request.root_path
        app = self._owner.find(root + path)
        is_own = hasattr(app, "plans")  # an application of the original CherryPy has none
        if is_own and not received.isascii():
            path = _decoded(received, app.find_config(root + path, "request.uri_encoding", "utf-8"))
        # Hooks see the path by which the handler is found, which has no empty segments.
        is_bare = path[-1] != "/" and "//" not in path
        request.path = path if is_bare else "/" + "/".join(filter(None, path.split("/")))
        # Relative links on a page at the bare prefix would lead elsewhere: the tool
        # ``trailing_slash`` must see that there is no slash.
        path = root if request._exchange.is_at_prefix else root + path
        if app is not None and not is_own:
            return self._graft(request, app, path)
        return self._route, (request, app, path), NO_VALUES

    def _graft(self, request: Request, target: object, path: str) -> SearchResult:
        prefix = self._owner.script_name(path).removeprefix(request.root_path)  # type: ignore[attr-defined]
        route = self._grafted.get(prefix)
        if route is None or route.mount.target is not target:
            self._grafted[prefix] = route = MountRoute.to(target, prefix, self.config)
        return route.find(request)


def _decoded(latin1: str, encoding: str = "utf-8") -> str:
    """Return a path decoded from ``encoding``; its bytes are given as latin-1 text.

    If that fails, the latin-1 text itself is the path.
    """
    try:
        return latin1.encode("latin-1").decode(encoding)
    except UnicodeDecodeError:
        return latin1


def _call(native: Request, app: Any, path: str) -> _Answer | Awaitable[_Answer]:
    if app is None:
        refused = refused_method(native)
        if refused is not None:
            raise refused
        return EncodedAnswer((404, None, 0, (), b"", None))
    exchange, begun = begin(native, app, path)
    if (
        begun.is_called
        and begun.failure is None
        and native.method != "HEAD"
        and not app.log.notes_requests
    ):
        # The short way for most requests: the result is text or JSON, nothing is set on the
        # response, and no hook looks at it.
        body, own = begun.body, exchange.response.__dict__
        if "hooks" not in exchange.request.__dict__:
            if type(body) is str and not own:
                data = body.encode()
                return EncodedAnswer((200, _HTML, len(data), (), data, None))
            if type(body) is bytes and len(own) == 1 and "media_type" in own:
                return EncodedAnswer((200, "application/json", len(body), (), body, None))
    life = answer(exchange, begun)
    is_over, result = _advance(life.send, None)
    return (
        to_native(native, result, is_encoded=True)
        if is_over
        else _await_handler(native, life, result)
    )


def _advance(resume: Callable[[Any], object], value: object) -> tuple[bool, Any]:
    """Resume the generator ``life.answer``. Return (whether it has ended, the value that it yielded
    or returned).
    """
    try:
        return False, resume(value)
    except StopIteration as end:
        return True, end.value


async def _await_handler(native: Request, life: Life, waiting: Any) -> _Answer:
    """Await an ``async def`` handler on the event loop.

    The steps after it run in a thread again.
    """
    while True:
        resume: Callable[[Any], object] = life.send
        try:
            value: object = await waiting
        except BaseException as error:  # a cancellation too: hooks must run, locks be released
            resume, value = life.throw, error
        try:
            is_over, waiting = await slots_of(_THREADS).call(_advance, (resume, value), None)
        finally:
            del value  # or the traceback and this frame would refer to each other
        if is_over:
            return to_native(native, waiting, is_encoded=False)


def to_native(native: Request, exchange: Exchange, is_encoded: bool) -> _Answer:
    """Return micropie's response for that of CherryPy's exchange.

    ``is_encoded``: return an ``EncodedAnswer``, which needs no further step, where that is
    possible.
    """
    request, response = exchange.request, exchange.response
    status = status_of(response.status)
    body = response._body
    hooks = (
        request.hooks
        if request.micropie_plan is None
        else request.__dict__.get("hooks") or request.micropie_plan.hooks
    )
    if hooks.get("on_end_request"):
        if native.environ is not None:
            native.on_close(partial(copy_context().run, request.close))
        else:
            native.after_response(request.close)
    else:
        request.closed = True
    pairs = [(_sendable(name), _sendable(value)) for name, value in response.header_list]
    if is_encoded and type(body) is bytes and native.method != "HEAD" and status not in _EMPTY:
        headers, content_type, _ = checked_headers(pairs, is_given=True)
        return EncodedAnswer((status, content_type, len(body), headers, body, None))
    if native.method == "HEAD":
        close = getattr(body, "close", None)
        if close is not None:
            close()
        length = checked_headers(pairs, is_given=True)[2]
        body = iter(()) if length is None else FileRange(None, "", 0, 0, length)
    elif type(body) is list or type(body) is tuple:
        body = b"".join(body)
    elif type(body) is not bytes and type(body) is not FileRange:
        body = ThreadStream(iter(body), owner=body)
    return Response(body, status, pairs, "")


_EMPTY = frozenset({204, 304})


def _sendable(value: object) -> str:
    if type(value) is int:
        return str(value)
    if type(value) is str and value.isascii() and value.isprintable():
        return value
    return HeaderMap.encode(value).decode("latin-1")
