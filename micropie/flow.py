"""The life of a request, once, for every protocol and every server.

``respond`` is a generator: plain synchronous Python that yields what may have to wait (``steps.py``) and is sent
the result. A driver (``asgi/``, ``wsgi/``) made the request, performs the steps and sends the answer:

    1. the driver makes a ``Request``                        5. arguments are bound, the handler runs
    2. the path leads to a route                             6. the result becomes an answer
    3. ``before_request`` hooks; the first to answer ends it    (hooks, session, first chunk of a stream)
    4. the body is received, if it is a form or JSON         7. the driver sends it

It is a straight line as long as nothing special happens; what does, a hook or an error, is a function below.
Only ``Exception`` is ever caught: cancellation and the interpreter's end pass through, and nothing yields then.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from inspect import isawaitable
from ipaddress import ip_address
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from micropie.codec import dumps
from micropie.errors import ClientDisconnect, HTTPError, MethodNotAllowed, Redirect
from micropie.middleware.base import HttpMiddleware
from micropie.middleware.hooks import run_after, run_before
from micropie.receiving import receive_parameters
from micropie.request import Request
from micropie.response import (
    HTML,
    JSON,
    Answer,
    Draft,
    Response,
    as_response,
    encode,
    error_response,
    redirect_response,
)
from micropie.routing import INLINE, Route
from micropie.sessions.store import COOKIE
from micropie.site import Site
from micropie.steps import AWAIT, Flow
from micropie.streams import Stream

logger = logging.getLogger("micropie")

_NO_ARGUMENTS: Sequence[Any] = ()
_NO_VALUES: dict[str, Any] = {}
_NO_ROUTES: dict[str | None, Route] = {}


def respond(site: Site, request: Request) -> Flow[Answer]:
    """Answer one request: the flow of stages 2 to 6. Returns what the driver sends."""
    hooks: Sequence[HttpMiddleware] = ()
    failure: Exception | None = None
    result: Any = None
    try:
        # 2. Route. One look-up finds a path without arguments; others are walked.
        route = site.exact.get(request.method, _NO_ROUTES).get(request.literal_path)
        arguments, values = _NO_ARGUMENTS, _NO_VALUES
        if route is None:
            route, arguments, values = site.find(request)
        request.route = route
        request.level = level = route.level
    except HTTPError as error:  # not raised on: the hooks see the request first
        request.level = level = site.level
        failure = error
    try:
        # 3. Hooks.
        if level.middlewares:
            hooks = list(level.middlewares)
            result = yield from run_before(hooks, request)
        if result is None:
            if failure is not None:
                raise failure
            # 4. Session and body.
            if level.sessions.opens_ahead:
                yield from _open_session(request)
            method = request.method
            if method != "GET" and method != "HEAD":  # whose body has no meaning: RFC 9110, sections 9.3.1, 9.3.2
                yield from receive_parameters(request)
            # 5. Bind and run.
            if len(arguments) != route.texts:
                arguments = route.bind(request, arguments, values)
            run = route.run
            result = route.call(*arguments) if run is INLINE else (yield run, route.call, arguments)
            # 6. Answer. Text and JSON with nothing around them are the common cases.
            if not hooks and request.draft is None and request.loaded_session is None and method != "HEAD":
                kind = type(result)
                if kind is str:
                    body = result.encode()
                    return 200, HTML, len(body), [], body, None
                if kind is dict or kind is list:
                    body = dumps(result)
                    return 200, JSON, len(body), [], body, None
                if kind is AsyncGeneratorType or kind is GeneratorType:
                    stream = Stream(result, kind is AsyncGeneratorType)
                    yield from stream.fetch_first()  # a generator that fails has closed itself
                    return 200, HTML, None, [], b"", stream
            if isawaitable(result):  # a ``def`` that returns a coroutine: a decorator around an ``async def``
                result = yield (AWAIT, _itself, (result,))
        return (yield from _finish(request, result, hooks))
    except Exception as error:
        failure = error
    # Outside of ``except``, so that what goes wrong from here on gets no false ``__context__``.
    try:
        return (yield from _finish_failed(request, failure, hooks))
    finally:
        failure = None  # the traceback refers to this frame: without this the request would be a cycle


def _itself(value: Any) -> Any:
    return value


def _open_session(request: Request) -> Flow[None]:
    session_id = request.cookies.get(COOKIE)
    if session_id:
        request.loaded_session = yield from request.level.sessions.open(session_id)


# -- stage 6, in full --------------------------------------------------------------------------------------------------


def _finish(request: Request, result: Any, hooks: Sequence[HttpMiddleware]) -> Flow[Answer]:
    """The hooks, the session, the encoding and the first chunk."""
    if isinstance(result, HTTPError | Redirect):
        raise result
    response = as_response(result)
    if hooks:
        response = yield from run_after(hooks, request, response)
    return (yield from _seal(request, response, request.draft))


def _seal(request: Request, response: Response, draft: Draft | None) -> Flow[Answer]:
    """What no hook changes any more: the session saved, the headers checked, a stream begun."""
    session = request.loaded_session
    if session is not None and session.changed:
        cookie = yield from request.level.sessions.close(session, request.scheme == "https")
        if cookie is not None:
            response.headers.add("Set-Cookie", cookie)
    answer = encode(response, draft, request.method == "HEAD")
    stream = answer[5]
    if stream is not None:
        yield from _begin(stream)
    return answer


def _begin(stream: Stream) -> Flow[None]:
    """Fetch the first chunk before the head is sent; a stream that fails here still gets an error's answer."""
    try:
        yield from stream.fetch_first()
        return
    except Exception as error:
        failure = error
    yield from stream.close()
    try:
        raise failure
    finally:
        del failure


# -- errors ----------------------------------------------------------------------------------------------------------


def _finish_failed(request: Request, failure: Exception, hooks: Sequence[HttpMiddleware]) -> Flow[Answer]:
    """An error's answer. What goes wrong on the way there is answered by a plain 500, without asking anybody."""
    try:
        response = yield from _response_to(request, failure)
        if hooks and not isinstance(failure, ClientDisconnect):
            response = yield from run_after(hooks, request, response)
        return (yield from _seal(request, response, _kept_draft(request, failure)))
    except Exception as error:
        _log(request, error)
    request.loaded_session = None
    return encode(error_response(500, "500 Internal Server Error"), None, request.method == "HEAD")


def _response_to(request: Request, failure: Exception) -> Flow[Response]:
    """What an exception is answered with: the author's handler for it, or a plain sentence."""
    if isinstance(failure, ClientDisconnect):
        return error_response(400, "The request's body ended too early.")
    if isinstance(failure, Redirect):
        return redirect_response(failure, request.host if "//" in failure.location else "")
    if isinstance(failure, MethodNotAllowed) and request.method == "OPTIONS":
        return Response(None, 204, failure.headers)
    status = failure.status if isinstance(failure, HTTPError) else 500
    handler, expected = request.level.error_handler_for(failure, status)
    if not expected and not isinstance(failure, HTTPError):
        _log(request, failure)
    if handler is not None:
        return (yield from handler.respond(failure, status))
    if isinstance(failure, HTTPError):
        return error_response(status, failure.message, failure.headers)
    return error_response(500, _debug_page(request, failure) or "500 Internal Server Error")


def _kept_draft(request: Request, failure: Exception) -> Draft | None:
    """What was set on ``self.response`` stays with a redirect and an intended error, save what described the body."""
    if request.draft is None or not isinstance(failure, HTTPError | Redirect):
        return None
    draft = Draft()
    draft.headers.pairs = [
        (name, value) for name, value in request.draft.headers.pairs if not name.lower().startswith("content-")
    ]
    return draft


def _log(request: Request, failure: Exception) -> None:
    # repr of the path: a line end in it must not begin a line of its own in the log.
    logger.error("%s %r failed", request.method, request.path, exc_info=failure)


def _debug_page(request: Request, failure: Exception) -> str | None:
    """The traceback, if ``debug`` is on and the client is on this machine."""
    client = request.client
    if not request.level.settings.debug or client is None or not _is_loopback(client.host):
        return None
    return "".join(traceback.format_exception(failure))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
