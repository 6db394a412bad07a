"""``native``, an attribute of trees and applications: the ``micropie.App`` that runs CherryPy
handlers and native handlers.

Servers call this ``App``, so lifespan, threads, streams and WebSockets are micropie's. The ``Site``
of the ``App`` tries the native routes first. If none matches, the request goes through CherryPy's
steps (``life.py``) in a thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextvars import copy_context
from functools import partial
from typing import Any

from micropie import ClientDisconnect, Request, Response
from micropie.middleware import Threads
from micropie_compat.carrier import (
    NO_VALUES,
    Answer,
    Carried,
    CarryingSite,
    refused_method,
    status_of,
)
from micropie_compat.cherrypy.lib.httputil import HeaderMap, urljoin
from micropie_compat.cherrypy.life import Life, answer, begin
from micropie_compat.cherrypy.log import log, notes_requests
from micropie_compat.cherrypy.messages import Response as Response_
from micropie_compat.cherrypy.process.wspbus import bus
from micropie_compat.cherrypy.serving import Exchange
from micropie_compat.core import (
    Config,
    EncodedAnswer,
    FileRange,
    MountRoute,
    OutsideRoute,
    RouteMatch,
    Site,
    ThreadStream,
    checked_headers,
    slots_of,
)
from micropie_compat.environs import path_of
from micropie_compat.originals import watch
from micropie_compat.results import NO_CONTENT, close_if_closable

# A program may replace the class or the method.
_USUAL = Response_, Response_.finalize

_HTML = "text/html;charset=utf-8"

_THREADS = Threads(40)  # the threads that run the steps after an awaited handler


class Servable(Carried):
    """The base class of trees and applications."""

    def find(self, path: str) -> Any:
        """Return the application for a path: an ``Application``, an application of another kind, or
        None. ``path``: the whole path in the URL.
        """
        raise NotImplementedError

    def check(self, config: Config) -> None:
        """Raise ``SetupError`` for configuration that contradicts settings of native handlers."""
        raise NotImplementedError


class CherryPySite(CarryingSite):
    """Finds a native route, or otherwise a CherryPy application: ``owner``, or if ``owner`` is a
    tree, one of its applications.
    """

    def __init__(self, owner: Servable, inner: Site) -> None:
        super().__init__(owner, inner)
        watch("cherrypy")
        owner.check(inner.config)
        self._owner = owner
        # One route for all handlers, because CherryPy's dispatchers find the handler.
        self._route = OutsideRoute(inner.config, _call, 3)
        self._grafted: dict[str, MountRoute] = {}

    def find(self, request: Request, takes_socket: bool = False) -> RouteMatch:
        """Return the native route or mount for a request, or otherwise the application for it."""
        if self.own_call is not None:
            self.refuse_uncalled(request)
        sent = request._exchange.literal_path or path_of(request)
        # As in CherryPy, because programs may protect pages by ``path_info``.
        received = urljoin(sent) if "//" in sent else sent
        path = received if received.isascii() else _decoded(received)
        native = self.find_native(request, path) if self.finds_native else None
        if native is not None:
            return native
        request.method = request.method.upper()  # ``MethodDispatcher`` looks up methods in capitals
        root = request.root_path
        app = self._owner.find(root + path)
        is_own = hasattr(app, "plans")  # False for applications of other kinds, see ``Tree.graft``
        if is_own and not received.isascii():
            path = _decoded(received, app.find_config(root + path, "request.uri_encoding", "utf-8"))
        # Hooks get the path by which the dispatcher finds the handler.
        request.path = path.rstrip("/") or "/"
        # If the URL is the application's prefix without a slash, don't add a slash. The tool
        # ``trailing_slash`` then redirects to the URL with a slash, which makes relative links on
        # the page right.
        path = root if request._exchange.is_at_prefix else root + path
        if app is not None and not is_own:
            if app is self._owner.find(root + _decoded(sent)):
                return self._route_to(app, path, root).find(request)
            app = None  # a mount's path begins with its prefix as it is
        return self._route, (request, app, path), NO_VALUES

    def find_mounted(self, request: Request) -> MountRoute | None:
        """See ``CarryingSite.find_mounted``."""
        root = request.root_path
        path = root + _decoded(path_of(request))
        app = self._owner.find(path)
        return None if app is None or hasattr(app, "plans") else self._route_to(app, path, root)

    def _route_to(self, grafted: object, path: str, root: str) -> MountRoute:
        prefix = self._owner.script_name(path).removeprefix(root)  # type: ignore[attr-defined]
        route = self._grafted.get(prefix)
        if route is None or route.mount.target is not grafted:
            self._grafted[prefix] = route = MountRoute.to(grafted, prefix, self.config)
        return route


def _decoded(latin1: str, encoding: str = "utf-8") -> str:
    """Decode a path from ``encoding``. If it can't be decoded, return ``latin1``.

    ``latin1``: the path's bytes, decoded as latin-1.
    """
    try:
        return latin1.encode("latin-1").decode(encoding)
    except UnicodeDecodeError:
        return latin1


def _call(native: Request, app: Any, path: str) -> Answer | Awaitable[Answer]:
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
        and (type(exchange.response), Response_.finalize) == _USUAL
        and not notes_requests(app.log)
        and not bus.watches_requests
    ):
        # A shortcut for most requests: the result is text or JSON, nothing else was set on the
        # response, and no hook or listener reads the response.
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
    """Resume the generator ``life.answer``. Return whether it has ended, and the value that it
    yielded or returned.
    """
    try:
        return False, resume(value)
    except StopIteration as end:
        return True, end.value


async def _await_handler(native: Request, life: Life, waiting: Any) -> Answer:
    """Await an ``async def`` handler on the event loop, then continue ``life`` in a thread. Repeat
    both until ``life`` ends, because it may yield several awaitables.
    """
    while True:
        resume: Callable[[Any], object] = life.send
        try:
            value: object = await waiting
        # Catch cancellations, too, because hooks must run and locks must be released.
        except BaseException as error:
            resume, value = life.throw, error
        try:
            is_over, waiting = await slots_of(_THREADS).call(_advance, (resume, value), None)
        finally:
            del value  # avoids a reference cycle between the traceback and this frame
        if is_over:
            return to_native(native, waiting, is_encoded=False)


def to_native(native: Request, exchange: Exchange, is_encoded: bool) -> Answer:
    """Convert the response of CherryPy's exchange to micropie's.

    ``is_encoded``: whether the result may be an ``EncodedAnswer``, which is sent without further
        steps.
    """
    request, response = exchange.request, exchange.response
    status = status_of(response._status_line)
    body = response._body
    # The code of a stream may attach a hook.
    if response.stream or request.micropie_hooks.get("on_end_request"):
        if native.environ is not None:
            native.on_close(partial(copy_context().run, request.close))
        else:
            native.after_response(request.close)
    else:
        request.closed = True
    pairs = [(_sendable(name), _sendable(value)) for name, value in response.header_list]
    if is_encoded and type(body) is bytes and native.method != "HEAD" and status not in NO_CONTENT:
        headers, content_type, _ = checked_headers(pairs, is_given=True)
        return EncodedAnswer((status, content_type, len(body), headers, body, None))
    if native.method == "HEAD":
        close_if_closable(body)
        length = checked_headers(pairs, is_given=True)[2]
        body = iter(()) if length is None else FileRange(None, "", 0, 0, length)
    elif type(body) is list or type(body) is tuple:
        body = b"".join(body)
    elif type(body) is not bytes and type(body) is not FileRange:
        body = ThreadStream(_logged(body), owner=body)
    return Response(body, status, pairs, "")


def _logged(body: Iterable[Any]) -> Iterator[Any]:
    """Yield the chunks of a body. An exception is written to CherryPy's error log, too."""
    try:
        for chunk in body:  # noqa: UP028 - ``yield from`` would close the body, which is the owner
            yield chunk
    except ClientDisconnect:
        raise
    except Exception:
        log(traceback=True, severity=40)
        raise


def _sendable(value: object) -> str:
    if type(value) is int:
        return str(value)
    if type(value) is str and value.isascii() and value.isprintable():
        return value
    return HeaderMap.encode(value).decode("latin-1")
