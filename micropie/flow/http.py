"""The life of a request, once, for every protocol and every server.

Plain synchronous Python; what may have to wait is a step (``steps.py``), which a driver (``asgi/``, ``wsgi/``)
performs. A flow is a generator that yields steps and is sent the results.

    1. the driver makes a ``Request``                        5. arguments are bound, the handler runs
    2. the path leads to a route                             6. the result becomes an answer
    3. the session is opened, ``before_request`` hooks run;     (hooks, first chunk of a stream, session saved)
       the first to answer ends it                           7. the driver sends it
    4. the body is received, if it is a form or JSON

``respond`` does stage 2. Where nothing is around the handler and its body has arrived, as with most requests, what is
left is a single step: it gives that, and the driver asks ``answered`` for the answer to its result, or ``failed``.
Anything else is a flow, ``_in_full``.
Only ``Exception`` is ever caught: cancellation and the interpreter's end pass through, and nothing yields then.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from inspect import isawaitable
from ipaddress import ip_address
from types import AsyncGeneratorType, GeneratorType, NoneType
from typing import Any

from micropie.errors import ClientDisconnect, HTTPError, MethodNotAllowed, Redirect
from micropie.execution.steps import (
    AWAIT,
    INLINE,
    MOUNT,
    POOL,
    Flow,
    Limited,
    RouteStep,
    TookTooLong,
    itself,
    no_function,
)
from micropie.files.static import open_file
from micropie.flow.hooks import run_after, run_before
from micropie.http.forms.receiving import receive_body
from micropie.http.json import dumps
from micropie.http.request import Request
from micropie.http.response import (
    HTML,
    JSON,
    VARY_COOKIE,
    Answer,
    FileReference,
    PendingResponse,
    Response,
    add_vary,
    as_response,
    encode,
    error_response,
    merge_pending,
    redirect_response,
    states_status,
)
from micropie.http.streams import PENDING, Stream, stream_of
from micropie.routing.route import Route
from micropie.routing.site import Handover, Site, delegate_route
from micropie.sessions import Session

logger = logging.getLogger("micropie")

_NO_ARGUMENTS: Sequence[Any] = ()
_NO_VALUES: dict[str, Any] = {}
_NO_ROUTES: dict[str | None, Route] = {}
_NO_PAIRS: Sequence[tuple[str, str]] = ()
_VARIES: Sequence[tuple[str, str]] = (VARY_COOKIE,)

# Results that are a response, or become one, without a step; and bodies that are neither streams nor files.
_RESPONSES = frozenset({Response, tuple, bytes, NoneType})
_PLAIN_BODIES = frozenset({str, bytes, dict, list, NoneType})


def start(site: Site, request: Request) -> RouteStep | Flow[Answer] | Handover:
    """Begin to answer one request: the step that runs its handler, or the flow of stages 3 to 6.

    A step alone saves what a generator costs, a quarter of such a request under WSGI.
    """
    try:
        # 2. Route. One look-up finds a path without arguments; others are walked.
        route = site.exact.get(request.method, _NO_ROUTES).get(request._literal_path)
        if route is None:
            found = site.find(request)
            if not isinstance(found, tuple):
                return found
            route, arguments, values = found
        else:
            arguments, values = _NO_ARGUMENTS, _NO_VALUES
        request.route = route
        request.config = config = route.config
    except Exception as error:  # not raised on: the hooks see the request first
        request.config = site.config_of(request)
        return _run_all_stages(request, None, _NO_ARGUMENTS, _NO_VALUES, site.refusal(request, error))
    if config.middlewares or config.sessions.opens_ahead:
        return _run_all_stages(request, route, arguments, values, None)
    try:
        # GET's body, and HEAD's, has no meaning: RFC 9110, sections 9.3.1, 9.3.2.
        if request.method != "GET" and request.method != "HEAD":
            receiving = receive_body(request, route.reads_body)
            if receiving is not None:
                return _run_all_stages(request, route, arguments, values, None, receiving)
        if len(arguments) != route.plain_args:
            arguments = route.bind(request, arguments, values)
    except Exception as error:
        return fail(request, error)
    return route.step_kind, route.call, arguments


def finish(request: Request, result: Any) -> Answer | Flow[Answer]:
    """What is sent for a handler's result if no hook is around it: stage 6, or the flow of it."""
    # Text and JSON with nothing around them, or a session that was only read, are the common cases.
    session = request._loaded_session
    if request._pending_response is not None or (session is not None and session.changed) or request.method == "HEAD":
        return _or_failed(request, _finish_response(request, result, ()))
    kind = type(result)
    pairs = _NO_PAIRS if session is None or not session.accessed else _VARIES
    try:
        if kind is str:
            body = result.encode()
            return 200, HTML, len(body), pairs, body, None
        if kind is dict or kind is list:
            body = dumps(result)
            return 200, JSON, len(body), pairs, body, None
        if kind in _RESPONSES and session is None:
            response = result if kind is Response else as_response(result)
            if type(response.body) in _PLAIN_BODIES:
                return _settled(request, response, None)
        elif (kind is AsyncGeneratorType or kind is GeneratorType) and session is None:
            request._answer_stream = stream = Stream(result, kind is AsyncGeneratorType)
            chunk = stream.next_nowait() if request._is_on_loop else PENDING
            if (
                chunk.__class__ is bytes
                and chunk
                and request._pending_response is None
                and request._loaded_session is None
            ):
                stream.first = chunk
                return 200, HTML, None, _NO_PAIRS, b"", stream
            return _or_failed(request, _finish_stream(request, stream, chunk))
    except Exception as error:
        return fail(request, error)
    return _or_failed(request, _finish_response(request, result, ()))


def fail(request: Request, failure: Exception) -> Flow[Answer]:
    """The flow of an error's answer if no hook is around it."""
    return _finish_failed(request, failure, ())


def _run_all_stages(
    request: Request,
    route: Route | None,
    arguments: Sequence[Any],
    values: Mapping[str, object],
    failure: Exception | None,
    receiving: Flow[None] | None = None,
) -> Flow[Answer]:
    """Run stages 3 to 6: a straight line as long as nothing special happens.

    ``failure`` is why there is no route. ``receiving`` receives the body, if that has begun (``receive_body``).
    """
    hooks: Sequence[Any] = ()
    config = request.config
    result: Any = None
    try:
        # 3. Session and hooks: a hook that lets nobody in looks at the session.
        if config.middlewares:
            hooks = begun = list(config.middlewares)
        if config.sessions.opens_ahead:
            yield from _open_session(request)
        if hooks:
            result = yield from run_before(begun, request)
            if result is None and request._subapp is not None:
                result = yield (MOUNT, no_function, delegate_route(request))
        if result is None:
            if route is None:
                assert failure is not None  # noqa: S101
                raise failure
            # 4. Body.
            if receiving is None and request.method != "GET" and request.method != "HEAD":
                receiving = receive_body(request, route.reads_body)
            if receiving is not None:
                yield from receiving
            # 5. Bind and run.
            if len(arguments) != route.plain_args:
                arguments = route.bind(request, arguments, values)
            if hooks and request._time_limit is not None:
                result = yield from _call_limited(request, route, arguments, request._time_limit)
            else:
                step_kind = route.step_kind
                result = route.call(*arguments) if step_kind is INLINE else (yield step_kind, route.call, arguments)
        # 6. Answer.
        if hooks:
            return (yield from _finish_response(request, result, hooks))
        answer = finish(request, result)
        return answer if isinstance(answer, tuple) else (yield from answer)
    except Exception as error:
        failure = error
    # Outside of ``except``, so that what goes wrong from here on gets no false ``__context__``.
    try:
        return (yield from _finish_failed(request, failure, hooks))
    finally:
        failure = None  # the traceback refers to this frame: without this the request would be a cycle


def _open_session(request: Request) -> Flow[None]:
    session_id = request.config.sessions.find_id(request._cookie_header())
    if session_id:
        request._loaded_session = yield from request.config.sessions.open(session_id)


def _call_limited(request: Request, route: Route, arguments: Sequence[Any], seconds: float) -> Flow[Any]:
    if route.limited_step_kind is INLINE:  # what runs on the event loop itself can't be interrupted by it
        return route.call(*arguments)
    if route.limited_step_kind is POOL:  # which ends a process itself
        return (yield POOL, route.call, arguments)
    try:
        result = yield Limited(route.limited_step_kind, seconds), route.call, arguments
        if isawaitable(result):  # a decorated ``async def`` has done nothing yet
            result = yield Limited(AWAIT, seconds), itself, (result,)
    except TookTooLong:
        pass
    else:
        return result
    logger.error("%s: %s took longer than %g seconds and was given up", request.label, route.name, seconds)
    raise HTTPError(503, "The answer took too long. Please try again later.")


# -- stage 6, in full --------------------------------------------------------------------------------------------------


def _or_failed(request: Request, finishing: Flow[Answer]) -> Flow[Answer]:
    """``finishing``, or the answer to its failure."""
    try:
        return (yield from finishing)
    except Exception as error:
        failure = error
    try:
        return (yield from _finish_failed(request, failure, ()))
    finally:
        del failure


def _finish_stream(request: Request, stream: Stream, chunk: Any) -> Flow[Answer]:
    """The answer of a generator, of which ``chunk`` has been fetched; one that fails has closed itself."""
    yield from stream.fetch_first(request._is_on_loop, chunk)
    if request._pending_response is None and request._loaded_session is None:
        return 200, HTML, None, _NO_PAIRS, b"", stream
    return (yield from _run_after_hooks(request, Response(), stream, ()))


def _finish_response(request: Request, result: Any, hooks: Sequence[Any]) -> Flow[Answer]:
    """What is set on ``self.response``, the hooks, the session, the encoding, the first chunk of a stream."""
    if isawaitable(result):  # a ``def`` that returns a coroutine: a decorator around an ``async def``
        result = yield (AWAIT, itself, (result,))
    response = as_response(result)
    if request._pending_response is not None:
        response = merge_pending(response, request._pending_response, states_status(result))
        request._pending_response = None  # a generator may set headers anew before its first chunk
    if type(response.body) is FileReference:
        response = yield from open_file(request, response)
    return (yield from _run_after_hooks(request, response, stream_of(response.body), hooks))


def _run_after_hooks(request: Request, response: Response, stream: Stream | None, hooks: Sequence[Any]) -> Flow[Answer]:
    request._answer_stream = stream
    try:
        if hooks:
            body, request._before_head = response.body, ()
            response = yield from run_after(hooks, request, response, _response_to)
            if type(response.body) is FileReference:
                response = yield from open_file(request, response)
            if response.body is not body:
                request._answer_stream = stream = yield from _replaced(stream, response.body)
        return (yield from _seal(request, response, stream))
    except Exception as error:
        failure = error
    if stream is not None:
        yield from stream.close()
    try:
        raise failure
    finally:
        del failure


def _replaced(stream: Stream | None, body: Any) -> Flow[Stream | None]:
    """The stream of the body that a hook put in another's place, which is closed unless it may live in the new one."""
    new = stream_of(body)
    if stream is not None and new is None:
        yield from stream.close()
    return new


def _seal(request: Request, response: Response, stream: Stream | None) -> Flow[Answer]:
    """What no hook changes any more: a stream begun, the session saved, the headers checked."""
    if stream is not None:
        yield from stream.fetch_first(request._is_on_loop)
    if request._pending_response is not None:  # what hooks and a generator set on ``self.response``
        response = merge_pending(response, request._pending_response, keeps_status=True)
        if stream is not None:
            request._pending_response = None  # too late for another one
    if stream is not None:
        for change in request._before_head:
            change(response)
    session = request._loaded_session
    if session is not None:
        return (yield from _seal_session(request, session, response, stream))
    return _settled(request, response, stream)


def _settled(request: Request, response: Response, stream: Stream | None) -> Answer:
    """The answer, and on the request what middleware may want to know of it ``on_close``."""
    answer = encode(response, stream, request.method == "HEAD")
    request.status = None if request.broken_off else answer[0]
    request.length = answer[2]
    return answer


def _seal_session(request: Request, session: Session, response: Response, stream: Stream | None) -> Flow[Answer]:
    """The session saved, last of all: an answer that can't be sent must not leave a session behind."""
    changed = session.changed
    if session.accessed:  # no cache may give it to somebody else (RFC 9111, section 4.1)
        add_vary(response.headers, "Cookie")
    if changed and "Cache-Control" not in response.headers:
        response.headers.add("Cache-Control", "private")
    answer = _settled(request, response, stream)
    if changed:
        request._loaded_session = None  # saved once: should that fail, the error's answer must not try again
        cookie = yield from request.config.sessions.close(session, request.scheme, request.root_path)
        if cookie is not None:
            status, content_type, length, pairs, body, stream = answer
            answer = status, content_type, length, [*pairs, ("set-cookie", cookie)], body, stream
    if stream is not None or request._tasks:
        session.seal()
        request._loaded_session = session
    return answer


# -- errors ----------------------------------------------------------------------------------------------------------


def _finish_failed(request: Request, failure: Exception, hooks: Sequence[Any]) -> Flow[Answer]:
    """An error's answer. What goes wrong on the way there is answered by a plain 500, without asking anybody."""
    try:
        response = yield from _response_to(request, failure)
        if request._pending_response is not None and isinstance(failure, HTTPError | Redirect):
            response = merge_pending(response, _without_content(request._pending_response), keeps_status=True)
        request._pending_response = None
        if type(response.body) is FileReference:  # the author's page for this error
            response = yield from open_file(request, response)
        if isinstance(failure, ClientDisconnect):
            hooks, request.broken_off = (), True
        return (yield from _run_after_hooks(request, response, stream_of(response.body), hooks))
    except HTTPError as error:  # a session backend's 503, which is in the log, or from an error's own stream
        response = error_response(error.status, error.message)
    except Exception as error:
        _log(request, error)
        response = error_response(500, _plain_sentence(request))
    request._loaded_session = None
    return _settled(request, response, None)


def _without_content(pending_response: PendingResponse) -> PendingResponse:
    """What was set on ``self.response``, less what described a body that is not sent."""
    kept = PendingResponse()
    kept.headers.pairs = [pair for pair in pending_response.headers.pairs if not pair[0].lower().startswith("content-")]
    return kept


def _response_to(request: Request, failure: Exception) -> Flow[Response]:
    """What an exception is answered with: the author's handler for it, or a plain sentence."""
    try:
        return (yield from _author_response(request, failure))
    except (HTTPError, Redirect) as error:  # raised by the handler of an error, or by a redirect's malformed Host
        failure = error
    return _plain_response(request, failure)


def _author_response(request: Request, failure: Exception) -> Flow[Response]:
    status = failure.status if isinstance(failure, HTTPError) else 500
    handler, expected = request.config.error_handler_for(failure, status)
    options = isinstance(failure, MethodNotAllowed) and request.method == "OPTIONS"
    if handler is None or options or isinstance(failure, ClientDisconnect | Redirect):
        return _plain_response(request, failure)
    if not expected and not isinstance(failure, HTTPError):
        _log(request, failure)
    response = yield from handler.respond(failure, status)
    if isinstance(failure, HTTPError):  # Allow, WWW-Authenticate, Retry-After: part of what the status means
        for name, value in failure.headers:
            response.headers.setdefault(name, value)
    return response


def _plain_response(request: Request, failure: Exception) -> Response:
    if isinstance(failure, ClientDisconnect):
        return error_response(400, "The request's body ended too early.")
    if isinstance(failure, Redirect):
        return redirect_response(failure, lambda: request.host)
    if isinstance(failure, MethodNotAllowed) and request.method == "OPTIONS":
        return Response(None, 204, failure.headers)
    if isinstance(failure, HTTPError):
        return error_response(failure.status, failure.message, failure.headers)
    _log(request, failure)
    return error_response(500, _debug_page(request, failure) or _plain_sentence(request))


def _log(request: Request, failure: Exception) -> None:
    logger.error("%s failed", request.label, exc_info=failure)


def _plain_sentence(request: Request) -> str:
    """All that a client is told of a failure: what to name when asking about it."""
    return f"500 Internal Server Error. Request id: {request.id}" if request.id else "500 Internal Server Error"


def _debug_page(request: Request, failure: Exception) -> str | None:
    """The traceback, if ``debug`` is on and the client is on this machine."""
    client = request.client
    if not request.config.settings.debug or client is None or not _is_loopback(client.host):
        return None
    return "".join(traceback.format_exception(failure))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
