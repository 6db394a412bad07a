"""The life of a WebSocket, once, for every server; ``flow.py`` is its like for requests.

``converse`` is a generator that yields what may have to wait. A driver (``asgi/``) made the request and the socket,
performs the steps and does what the flow returns:

    1. the path leads to a route                    4. arguments are bound, the handler runs
    2. the session is opened                        5. ``after_websocket`` hooks run, the session is saved
    3. the page's origin is checked,                6. the driver closes, or refuses what was not accepted
       ``before_websocket`` hooks run

Until it is accepted it can be refused like a request, by a status and a sentence.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

from micropie.errors import ConnectionClosed, HTTPError, Redirect
from micropie.execution.steps import AWAIT, Flow, Step
from micropie.flow.websocket_hooks import run_after_websocket, run_before_websocket
from micropie.http.request import WebSocketRequest
from micropie.http.response import Answer, Response, encode, error_response, redirect_response
from micropie.http.websocket import FAILED, NORMAL, POLICY, is_allowed_origin
from micropie.routing.site import Site

logger = logging.getLogger("micropie")


class CloseInfo(NamedTuple):
    """How a WebSocket ends: by a close frame if it was accepted, else by an answer to its handshake."""

    code: int
    reason: str
    answer: Answer


class Socket(Protocol):
    """What the flow knows of the driver's socket."""

    accepted: bool

    def run(self, handler: Callable[..., Any], /, *arguments: Any) -> Awaitable[None]:
        """Run a handler with this socket, then its arguments, and see to it that it ends."""


def handle_websocket(site: Site, request: WebSocketRequest, socket: Socket) -> Flow[CloseInfo]:
    """One WebSocket: the flow of stages 1 to 5. Returns how it ends, if it has not ended by itself."""
    request.config = site.config
    try:
        # What is done before may not stay with the socket for hours: it is a generator of its own.
        found = yield from _handshake(site, request, socket)
        if isinstance(found, CloseInfo):
            close_info = found
        else:
            yield found
            close_info = _returned()
    except Exception as error:
        failure = error
    else:
        return (yield from _finish(request, close_info))
    # Outside of ``except``, so that what goes wrong from here on gets no false ``__context__``.
    try:
        close_info = _close_info_of(request, failure, socket.accepted)
    finally:
        del failure  # its traceback refers to this frame: without this it would be a cycle
    return (yield from _finish(request, close_info))


def cleanup(request: WebSocketRequest) -> Flow[None]:
    """Stage 5, however it ended; also what a driver performs for a WebSocket that was cancelled. Runs once."""
    yield from run_after_websocket(request.hooks_begun, request)
    session, request.loaded_session = request.loaded_session, None
    # A new one that was refused has no way to its client; one of an accepted socket can't have been changed.
    if session is not None and session.changed and session.id is not None:
        yield from request.config.sessions.close(session, request.scheme, request.root_path)


def _handshake(site: Site, request: WebSocketRequest, socket: Socket) -> Flow[Step | CloseInfo]:
    """Stages 1 to 4: the step that runs the handler, or how a hook refused it."""
    # 1. Route.
    route, arguments, values = site.find_socket(request)
    request.path_params = [*values.values()] if values else arguments
    request.route = route
    request.config = config = route.config
    # 2. Session.
    if config.sessions.opens_ahead:
        session_id = config.sessions.find_id(request.cookie_header())
        if session_id:
            request.loaded_session = yield from config.sessions.open(session_id)
    # 3. Origin and hooks: what another site's page opened is no hook's business.
    for hook in config.middlewares:
        if getattr(hook, "sees_handshakes", False):
            hook.before(request)
    _check_origin(request)
    if config.ws_middlewares:
        refusal = yield from run_before_websocket(list(config.ws_middlewares), request.hooks_begun, request)
        if refusal is not None:
            code, reason = refusal
            return _close_info(code, reason, error_response(403, reason or "This WebSocket was refused."))
    # 4. Bind.
    if len(arguments) != route.plain_args:
        arguments = route.bind(request, arguments, values)
    return AWAIT, socket.run, (route.call, *arguments)


def _check_origin(request: WebSocketRequest) -> None:
    origin = request.origin()
    others = request.config.settings.websocket_origins
    if origin is not None and not is_allowed_origin(origin, request.scheme, request.host, others):
        logger.info("a WebSocket from a page of %r was refused; see websocket_origins", origin)
        raise HTTPError(403, "Pages of this origin may not open WebSockets here.")


def _finish(request: WebSocketRequest, close_info: CloseInfo) -> Flow[CloseInfo]:
    """Stage 5. What fails in it is the ending."""
    try:
        yield from cleanup(request)
    except Exception as error:
        failure = error
    else:
        return close_info
    try:
        return _close_info_of(request, failure, True)
    finally:
        del failure


def _close_info_of(request: WebSocketRequest, failure: Exception, accepted: bool) -> CloseInfo:
    """The end that an exception means."""
    if _is_farewell(failure):
        logger.debug("WebSocket %r: %s", request.path, failure)
        return _returned()
    try:
        if isinstance(failure, HTTPError):
            response = error_response(failure.status, failure.message, failure.headers)
            return _close_info(POLICY if failure.status < 500 else FAILED, failure.message, response)
        if isinstance(failure, Redirect) and not accepted:
            return _close_info(POLICY, "", redirect_response(failure, lambda: request.host))
    except Exception as error:  # a header that can't be sent, a redirect to another site
        failure = error
    # repr of the path: a line end in it must not begin a line of its own in the log.
    logger.error("WebSocket %r failed", request.path, exc_info=failure)
    return _close_info(FAILED, "", error_response(500, "500 Internal Server Error"))


def _returned() -> CloseInfo:
    """The end of a handler that left it to us."""
    return _close_info(NORMAL, "", error_response(403, "This WebSocket was not accepted."))


def _close_info(code: int, reason: str, response: Response) -> CloseInfo:
    return CloseInfo(code, reason, encode(response, None, head_only=False))


def _is_farewell(failure: Exception) -> bool:
    """Whether it only says that the WebSocket is closed, alone or as what ended a task group."""
    if isinstance(failure, ExceptionGroup):
        return failure.split(ConnectionClosed)[1] is None
    return isinstance(failure, ConnectionClosed)
