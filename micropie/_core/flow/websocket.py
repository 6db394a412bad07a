"""The life of a WebSocket, written once for every server, as ``flow/http.py`` is for requests.

A driver (``asgi/websocket.py``) creates the request and finds the route (stage 1). If a mounted
application serves the path, the driver passes the WebSocket to it. Otherwise, the driver creates
the socket, performs the steps of ``prepare``, runs the handler, performs the steps of ``conclude``,
and ends the WebSocket as described by the ``CloseInfo`` that ``conclude`` returns. The handler runs
between the two flows, because inside a flow, this flow and the coroutine that performs its steps
would take memory for hours. There are six stages:

    1. The route is found.
    2. HTTP hooks whose ``guards`` is True run, and the session is opened.
    3. The page's origin is checked, and ``before_websocket`` hooks run.
    4. The arguments are bound, and the handler runs.
    5. ``after_websocket`` hooks run, and the session is saved.
    6. The driver closes the socket, or refuses a handshake that was not accepted.

A handshake can be refused like a request: with a status and a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from micropie._core.errors import (
    ClientDisconnect,
    HTTPError,
    RaisedAnswer,
    Redirect,
    ResponseError,
    alone_in,
    failure_in,
    logger,
)
from micropie._core.execution.steps import HANDLER, RELEASE, Flow, call
from micropie._core.flow.errors import drop_traceback, plain_response
from micropie._core.flow.hooks import no_method, part_of, planned_hooks, run_before
from micropie._core.flow.resources import close_resources, end_resources, with_resources
from micropie._core.http import (
    Answer,
    Request,
    Response,
    as_response,
    encode,
    error_response,
    redirect_response,
    websockets,
)
from micropie._core.http.websockets import WebSocketRequest
from micropie._core.mounts import APP
from micropie._core.routing import (
    Config,
    Handover,
    RouteMatch,
    config_of,
)


class CloseInfo(NamedTuple):
    """How to end a WebSocket: with a close frame or, if it was not accepted, with an HTTP response
    to its handshake.
    """

    code: int
    reason: str
    answer: Answer | None  # None if the handshake was accepted


_ENDING = "The server is shutting down. Please try again."
_NORMAL_END = CloseInfo(websockets.NORMAL, "", None)


def prepare(
    found: RouteMatch, request: WebSocketRequest, socket: object
) -> Flow[Sequence[Any] | CloseInfo]:
    """Take a WebSocket through stages 1 to 3, and bind the arguments of its handler. Return the
    handler and its arguments, or the ``CloseInfo`` with which the handshake is refused. Raises the
    exceptions that refuse it.
    """
    exchange = request._exchange
    # 1. Route.
    route, arguments, values = found
    if not route.is_found:
        route.call(*arguments)  # raises the refusal
    exchange.route = route
    exchange.outside.update(route.for_tools)
    exchange.config = config = route.config
    # 2. Run the HTTP hooks with ``guards``, and open the session.
    if config.shutdown.is_over:
        return _close_info(request, websockets.GOING_AWAY, "", error_response(503, _ENDING))
    if config.middlewares or config.sessions.opens_ahead:
        refusal = yield from _run_guards(request)
        if refusal is not None:
            return refusal
        yield from exchange.open_session()
    # 3. Check the origin first, so that the WebSocket hooks never see a handshake from a page of
    # another site. Then run the hooks.
    _check_origin(request, config)
    if config.ws_middlewares:
        refusal = yield from _run_websocket_hooks(request, config)
        if refusal is not None:
            return refusal
    # 4. Bind. The handler may run for hours, so first close the resources that only access checks
    # depend on.
    if exchange.resources:
        yield from close_resources(exchange, None, route.providers)
    if len(arguments) != route.plain_args:
        arguments = route.bind(request, arguments, values)
    if route.providers:
        arguments = yield from with_resources(request, route, arguments)
    return route.call, socket, *arguments


def conclude(
    request: WebSocketRequest, result: object, failure: Exception | None
) -> Flow[CloseInfo]:
    """Take a WebSocket through stage 5. Return the ``CloseInfo`` with which the driver ends it if
    it is still open.

    - ``result``: the result of its handler, or the ``CloseInfo`` that ``prepare`` has returned.
    - ``failure``: the exception that ``prepare`` or the handler has raised.
    """
    exchange = request._exchange
    try:
        if result.__class__ is CloseInfo:
            close_info = result
        elif result is not None and isinstance(result, RaisedAnswer):
            failure = result  # an error that is returned counts as raised
        elif failure is None:
            close_info = _close_info_after_return(request, result)
        if exchange.resources:
            failure = yield from exchange.resources.close(failure)
        if failure is not None:
            close_info = _close_info_after_failure(request, failure)
            drop_traceback(failure)
    finally:
        del failure, result  # avoid a reference cycle between the exception and this frame
    if exchange.hooks_begun or exchange.answer.session is not None:
        try:
            yield from cleanup(request)
        except Exception as error:
            close_info = _close_info_after_failure(request, error)
    if exchange.generators:
        yield from exchange.clean_up(exchange.cleanup_steps())
    return close_info


def cleanup(request: WebSocketRequest) -> Flow[None]:
    """Run the ``after_websocket`` hooks and save the session (stage 5), unless that has been done
    already. Drivers also call this for a WebSocket that was cancelled.
    """
    exchange = request._exchange
    if exchange.hooks_begun:
        yield from run_after_websocket(exchange.hooks_begun, request)
    session = exchange.answer.take_session()
    # A session without an id is new, and it is too late to send its cookie. So don't save it.
    if (
        session is not None
        and session.changed
        and (session.id is not None or session.reserved_id is not None)
    ):
        yield from config_of(exchange).sessions.close(session, exchange)


def _run_websocket_hooks(request: WebSocketRequest, config: Config) -> Flow[CloseInfo | None]:
    """Run each ``before_websocket`` until one refuses the handshake. Return the ``CloseInfo`` of
    the refusal, or None.

    Every middleware whose hook was called is added to ``hooks_begun``, so its ``after_websocket``
    runs later.
    """
    request._exchange.hooks_begun = begun = []
    for middleware in [*config.ws_middlewares]:
        begun.append(middleware)
        before, kind = part_of(middleware, "before_websocket", HANDLER)
        refusal = None if before is no_method else (yield from call(kind, before, request))
        if refusal is None:
            continue
        if not isinstance(refusal, dict) or not refusal.keys() <= {"code", "reason"}:
            raise ResponseError(
                f"{type(middleware).__name__}.before_websocket returned {refusal!r}: return None, "
                "or a dict with code and reason to refuse the WebSocket"
            )
        code, reason = refusal.get("code", websockets.POLICY), str(refusal.get("reason") or "")
        websockets.check_code(code)
        page = error_response(403, reason or "This WebSocket was refused.")
        return _close_info(request, code, reason, page)
    return None


def run_after_websocket(begun: list[object], request: Request) -> Flow[None]:
    """Run ``after_websocket`` of each middleware in ``begun``, the last one first. Exceptions are
    logged, so the remaining hooks still run.

    A middleware leaves the list when its ``after_websocket`` begins: if a cancellation comes before
    that, the driver runs it later.
    """

    def begin(request: Request) -> object:
        begun.pop()
        return after(request)

    while begun:
        middleware, count = begun[-1], len(begun)
        after, kind = part_of(middleware, "after_websocket", RELEASE)
        if after is no_method:
            begun.pop()
            continue
        try:
            yield from call(kind, begin, request)
        except Exception:
            logger.exception("after_websocket of %s failed", type(middleware).__name__)
            if len(begun) == count:  # it could not begin
                begun.pop()


def _check_origin(request: WebSocketRequest, config: Config) -> None:
    """Raise a 403 if the handshake comes from a page of another site."""
    origin = request._exchange.header("origin")
    if origin is not None and not websockets.is_allowed_origin(
        origin, request.scheme, request.host, config.settings.websocket_origins
    ):
        logger.info(
            "rejected a WebSocket from a page on %r, which is not in websocket_origins", origin
        )
        raise HTTPError(403, "Pages of this origin may not open WebSockets here.")


def run_mount_guards(request: WebSocketRequest, handover: Handover) -> Flow[CloseInfo | None]:
    """For a WebSocket of a mounted application, run the HTTP hooks whose ``guards`` is True, and
    check the origin, and save the session that the hooks have changed. Return the ``CloseInfo``
    with which to refuse the handshake, or None to allow it.
    """
    exchange = request._exchange
    exchange.config = handover.config
    try:
        refusal = yield from _run_guards(request)
        # For an isolated App, the origin isn't checked here, because the App checks it by its own
        # settings.
        is_foreign = handover.mount.kind != APP
        if refusal is None and is_foreign and handover.config.settings.websocket_origins_for_mounts:
            _check_origin(request, handover.config)
    except Exception as error:
        refusal = _close_info_after_failure(request, error)
    if exchange.answer.session is not None:
        try:
            yield from cleanup(request)
        except Exception as error:
            refusal = _close_info_after_failure(request, error)
    if exchange.resources:
        yield from end_resources(exchange)
    if exchange.generators:
        yield from exchange.clean_up(exchange.cleanup_steps())
    return refusal


def _run_guards(request: WebSocketRequest) -> Flow[CloseInfo | None]:
    """Run the HTTP hooks whose ``guards`` is True. Return the ``CloseInfo`` with which to refuse
    the handshake, or None if no hook refuses it.
    """
    guards = planned_hooks(config_of(request._exchange)).guards
    answer = yield from run_before(guards.before, request)
    if answer is None:
        return None
    response = as_response(answer)
    if response.status < 300:  # such a status would mean that the handshake succeeded
        response.status = 403
    return _close_info(request, websockets.POLICY, "", response)


def _close_info_after_return(request: WebSocketRequest, result: object) -> CloseInfo:
    if result is not None:  # it is discarded
        advisor = config_of(request._exchange).advisor
        if advisor is not None:
            advisor.review_websocket_result(request._exchange, result)
    if request._exchange.answer.is_accepted:
        return _NORMAL_END
    return _close_info(
        request, websockets.NORMAL, "", error_response(403, "This WebSocket was not accepted.")
    )


def _close_info_after_failure(request: WebSocketRequest, failure: Exception) -> CloseInfo:
    failure = alone_in(failure)
    if isinstance(failure, RaisedAnswer) and failure.is_foreign:
        failure = failure.as_native(in_socket=True)
    # If the failure only means that the WebSocket is closed, no error response is needed.
    is_end = failure_in(failure) is None or isinstance(failure, ClientDisconnect)
    if is_end and not isinstance(failure, Redirect):
        logger.debug("%s: %s", request._exchange.label, failure)
        return _close_info_after_return(request, None)
    try:
        if isinstance(failure, HTTPError):
            code = websockets.POLICY if failure.status < 500 else websockets.FAILED
            message = failure.message
            response = error_response(failure.status, message, failure.headers)
            # A close frame has text only, so the client of an accepted WebSocket gets no document.
            reason = message if isinstance(message, str) else f"{HTTPError(failure.status)}"
            return _close_info(request, code, reason, response)
        if isinstance(failure, Redirect) and not request._exchange.answer.is_accepted:
            return _close_info(request, websockets.POLICY, "", redirect_response(failure, request))
    except Exception as error:  # a header can't be sent, or a redirect points to another site
        failure = error
    if isinstance(failure, HTTPError):  # raised for an invalid redirect
        return _close_info_after_failure(request, failure)
    reason = f"Request id: {request.id}" if request.id else ""
    return _close_info(request, websockets.FAILED, reason, plain_response(request, failure))


def _close_info(request: WebSocketRequest, code: int, reason: str, response: Response) -> CloseInfo:
    """Return the ``CloseInfo`` with which to end the WebSocket. ``response`` is sent only if the
    handshake was not accepted.
    """
    is_accepted = request._exchange.answer.is_accepted
    return CloseInfo(code, reason, None if is_accepted else encode(response, None, head_only=False))
