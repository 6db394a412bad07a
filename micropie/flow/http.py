"""The life of a request, written once for every protocol and every server.

This is plain synchronous Python. What may have to wait is a step (``execution/steps.py``), which a driver (``asgi/``,
``wsgi/``) performs. A flow is a generator that yields steps and is sent their results.

    1. The driver makes a ``Request``.
    2. The path leads to a route, or to a mounted application that answers by itself (``Handover``).
    3. The session is opened and ``before_request`` hooks run. If a hook answers, stages 4 and 5 are left out.
    4. The body is received, if it is a form or JSON.
    5. The arguments are bound, in a thread if they come from a large body, and the handler runs.
    6. The result becomes an ``Answer``, the tuple that is sent (``http/response.py``): ``after_request`` hooks run,
       the first chunk of a stream is fetched unless it takes long, the session is saved.
    7. The driver sends the answer, closes the request and starts the functions given to ``after_response``.

``start`` does stage 2, and what comes before the handler if nothing of that has to wait: most hooks never wait, and
most bodies have arrived. Then a single step is left, the handler's, which ``start`` returns. The driver performs it and
calls ``finish`` with its result, or ``fail`` with its exception; both give an ``Answer``, or a flow that returns one.
For any other request ``start`` returns a flow of all the stages, ``_run_all_stages``. A request that is refused before
its handler has a step that raises the refusal.

An exception is caught in one stage and answered after the ``except`` block, so that later exceptions get no false
``__context__``, and it is deleted then: its traceback refers to the frame, and the request would be a cycle. Only
``Exception`` is caught. Cancellation and the interpreter's end pass through, and nothing yields on their way.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from inspect import isawaitable
from types import AsyncGeneratorType, GeneratorType, NoneType
from typing import Any, NoReturn, cast

from micropie.csrf import FIELD, deleting_cookie
from micropie.errors import ClientDisconnect, HTTPError, Redirect
from micropie.execution.steps import (
    AWAIT,
    INLINE,
    IO,
    MOUNT,
    POOL,
    Flow,
    Limited,
    RouteFunction,
    RouteStep,
    TookTooLong,
    itself,
    no_function,
)
from micropie.files.static import answer_nowait, open_file
from micropie.flow.errors import internal_error, plain_answer, plain_response
from micropie.flow.hooks import (
    open_session,
    planned_hooks,
    run_after,
    run_after_now,
    run_before,
    run_before_now,
)
from micropie.flow.resources import close_resources, close_unless_streamed, open_resources
from micropie.http.early_head import EarlyHead
from micropie.http.forms.receiving import receive_body
from micropie.http.json import dumps
from micropie.http.problem import error_answer
from micropie.http.request import Request
from micropie.http.response import (
    JSON,
    NO_OTHER_HEADERS,
    NOSNIFF,
    PRIVATE,
    VARY_COOKIE,
    Answer,
    EncodedAnswer,
    FileReference,
    Response,
    add_vary,
    answer_of_pair,
    as_response,
    encode,
    make_private,
    merge_pending,
    states_status,
)
from micropie.http.streams import PENDING, Stream, stream_of
from micropie.routing.route import Route
from micropie.routing.site import Handover, Site, delegate_route
from micropie.sessions import Session

logger = logging.getLogger("micropie")

_NO_ARGUMENTS: Sequence[Any] = ()
_NO_VALUES: Mapping[str, object] = {}
_NO_ROUTES: dict[str | None, Route] = {}
_PERSONAL: Sequence[tuple[str, str]] = (NOSNIFF, VARY_COOKIE, PRIVATE)
_FAILURES = range(500, 600)

# Results that are a response, or become one, without a step; and bodies that are neither streams nor files.
_RESPONSES = frozenset({Response, tuple, NoneType})
_PLAIN_BODIES = frozenset({str, bytes, dict, list, NoneType})


def start(site: Site, request: Request) -> RouteStep | Flow[Answer | Handover] | Handover:
    """Find the route. Return the step that runs its handler, a flow of stages 3 to 6, or the mount to hand over to.

    The flow returns the mount if hooks guard it.

    A step alone saves the cost of a generator, a quarter of such a request under WSGI.
    """
    try:
        # 2. Route. One look-up finds a path without arguments; the site looks for all others.
        route = site.exact.get(request.method, _NO_ROUTES).get(request._literal_path)
        if route is not None:
            arguments, values = _NO_ARGUMENTS, _NO_VALUES
        else:
            found = site.find(request)
            if type(found) is Handover:
                request.config = found.config
                return _ask_guards(request, found) if found.config.middlewares else found
            route, arguments, values = found
        request.route = route
        request.config = config = route.config
    except Exception as error:  # raised after stage 3: hooks see the request first
        request.config = config = site.config_of(request)
        if config.settings.debug:
            request._list_routes = site.entries
        # No variable keeps the refusal: its traceback refers to this frame.
        if config.middlewares or config.sessions.opens_ahead:
            hooks = planned_hooks(config, request._is_on_loop)
            if config.middlewares:
                request._hooks = hooks
            waiting = run_before(hooks.before, request)
            return _run_all_stages(request, None, _NO_ARGUMENTS, _NO_VALUES, site.refusal(request, error), waiting)
        return _refusal(site.refusal(request, error))
    try:
        if config.middlewares or config.sessions.opens_ahead:
            # 3. Session and hooks. Most hooks never wait: then the rest needs no flow either.
            hooks = planned_hooks(config, request._is_on_loop)
            if config.middlewares:
                request._hooks = hooks
            before = run_before_now(hooks, request)
            if before is not None or route.providers or request._time_limit is not None or request._subapp is not None:
                return _run_all_stages(request, route, arguments, values, None, before)
        # 4. Body. That of GET and HEAD has no meaning: RFC 9110, sections 9.3.1, 9.3.2.
        if request.method != "GET" and request.method != "HEAD":
            is_needed = len(arguments) != route.plain_args and (
                route.takes_body(arguments, values) if arguments or values else route.takes_body_alone
            )
            receiving = receive_body(request, route.reads_body, is_needed)
            if receiving is not None:
                return _run_all_stages(request, route, arguments, values, None, None, receiving)
        # 5. Bind.
        if len(arguments) != route.plain_args:
            arguments = route.bind(request, arguments, values)
    except Exception as error:
        return _refusal(error)
    return route.step_kind, route.call, arguments


def _run_all_stages(
    request: Request,
    route: Route | None,
    arguments: Sequence[Any],
    values: Mapping[str, object],
    failure: Exception | None,
    before: Flow[object] | None,
    receiving: Flow[None] | None = None,
) -> Flow[Answer]:
    """Run what is left of stages 3 to 6 and return the answer.

    ``failure`` is the exception to raise after stage 3 if ``route`` is None. ``before`` runs the hooks that have not
    run, and ``receiving`` receives the body, if that has begun (``receive_body``).
    """
    hooks, config = request._hooks, request.config
    result: Any = None
    try:
        # 3. Session and hooks.
        if before is not None:
            result = yield from before
            if result is None and config.sessions.opens_ahead:
                yield from open_session(request)
        if result is None and request._subapp is not None:
            result = yield MOUNT, no_function, delegate_route(request)  # the application that a hook chose
        if result is None:
            if route is None:
                assert failure is not None  # noqa: S101
                raise failure
            # 4. Body.
            if receiving is None and request.method != "GET" and request.method != "HEAD":
                is_needed = len(arguments) != route.plain_args and route.takes_body(arguments, values)
                receiving = receive_body(request, route.reads_body, is_needed)
            if receiving is not None:
                yield from receiving
            # 5. Bind and run.
            if len(arguments) != route.plain_args:
                if request._parse is not None and route.takes_body(arguments, values):  # a large body
                    arguments = yield IO, _parse_and_bind, (request, route, arguments, values)
                else:
                    arguments = route.bind(request, arguments, values)
            if hooks is not None and (route.providers or request._time_limit is not None):
                result = yield from _call_specially(request, route, arguments)
            else:
                step_kind = route.step_kind
                result = route.call(*arguments) if step_kind is INLINE else (yield step_kind, route.call, arguments)
        # 6. Answer.
        return (yield from _settled(finish(request, result) if hooks is None else _finish_response(request, result)))
    except Exception as error:
        failure = error
    try:
        if hooks is not None and request._resources:
            failure = (yield from close_resources(request, failure)) or failure
        return (yield from _settled(fail(request, failure)))
    finally:
        failure = None


def _refusal(failure: Exception) -> RouteStep:
    """Return the step that raises ``failure`` in the handler's place, so that the driver calls ``fail``."""
    return INLINE, cast("RouteFunction", _raise), ([failure],)


def _raise(failures: list[Exception]) -> NoReturn:
    raise failures.pop()  # the driver's frame, to which the traceback refers, keeps the list


def _call_specially(request: Request, route: Route, arguments: Sequence[Any]) -> Flow[Any]:
    """Run the handler with what its providers open, with a time limit, or with both. Return its result."""
    if route.providers:
        arguments = yield from open_resources(request, route, arguments)
    if request._time_limit is not None:
        result = yield from _call_limited(request, route, arguments, request._time_limit)
    elif route.step_kind is INLINE:
        result = route.call(*arguments)
    else:
        result = yield route.step_kind, route.call, arguments
    return (yield from close_unless_streamed(request, result)) if request._resources else result


def _parse_and_bind(
    request: Request, route: Route, arguments: Sequence[Any], values: Mapping[str, object]
) -> Sequence[Any]:
    request._parsed_document()
    return route.bind(request, arguments, values)


def _ask_guards(request: Request, handover: Handover) -> Flow[Answer | Handover]:
    """Run the hooks that guard an isolated mount. Return the mount, or the answer if one of them refuses."""
    request._hooks = guards = planned_hooks(request.config, request._is_on_loop).guards
    try:
        result = yield from run_before(guards.before, request)
        return handover if result is None else (yield from _settled(_finish_response(request, result)))
    except Exception as error:
        failure = error
    try:
        return (yield from _settled(fail(request, failure)))
    finally:
        del failure


def _call_limited(request: Request, route: Route, arguments: Sequence[Any], seconds: float) -> Flow[Any]:
    """Run the handler with a time limit, where it can be interrupted, and return its result. Raises 503 after it."""
    if route.limited_step_kind is INLINE:  # on the event loop itself, which can't interrupt it
        return route.call(*arguments)
    if route.limited_step_kind is POOL:  # the pool ends the process itself
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


# -- stage 6 -----------------------------------------------------------------------------------------------------------


def finish(request: Request, result: Any) -> Answer | Flow[Answer]:
    """Return the answer for a handler's result, or a flow that returns it.

    The common results are answered at once: text, JSON and bytes, also with a status, and responses without a session
    or with one that was only read, also with headers and cookies of ``self.response``, and streams that do not wait for
    their first chunk.
    """
    session, kind, pending = request._loaded_session, type(result), request._pending_response
    pairs = NO_OTHER_HEADERS if session is None or not session.accessed else _PERSONAL
    try:
        hooks = request._hooks
        has_hooks = hooks is not None and (hooks.after or request._closers is not None)
        if has_hooks or (session is not None and session.changed) or request.method == "HEAD":
            pass
        elif pending is not None:
            if session is None and kind in _PLAIN_BODIES:  # what was set is the response, with this body
                pending.body, request._pending_response = result, None
                return encode(pending, None, False, request.config.text_type)
        elif kind is str:
            body = result.encode()
            return 200, request.config.text_type, len(body), pairs, body, None
        elif kind is dict or kind is list:
            body = dumps(result)
            return 200, JSON, len(body), pairs, body, None
        elif kind is bytes:
            return 200, request.config.text_type, len(result), pairs, result, None
        elif kind is tuple and (given := answer_of_pair(result, pairs, request.config.text_type)) is not None:
            return given
        elif kind in _RESPONSES and session is None:
            response = result if kind is Response else as_response(result)
            if type(response.body) is FileReference:
                opened = answer_nowait(request, response)
                if type(opened) is tuple:
                    return opened
                result = response = opened or response
            if type(response.body) in _PLAIN_BODIES:
                return encode(response, None, False, request.config.text_type)
        elif (kind is AsyncGeneratorType or kind is GeneratorType) and session is None:
            request._answer_stream = stream = Stream(result, kind is AsyncGeneratorType)
            chunk = stream.next_nowait(request._is_on_loop)
            if (
                chunk.__class__ is bytes
                and chunk
                and request._pending_response is None
                and request._loaded_session is None
            ):
                stream.first = chunk
                return 200, request.config.text_type, None, NO_OTHER_HEADERS, b"", stream
            return _or_failed(request, _finish_stream(request, stream, chunk))
        elif kind is Redirect:  # as if it were raised, without the way of an exception
            return fail(request, result)
        elif kind is EncodedAnswer and session is None:
            return result  # type: ignore[no-any-return]
        answer = _finish_response(request, result)
    except Exception as error:
        return fail(request, error)
    return answer if isinstance(answer, tuple) else _or_failed(request, answer)


def _or_failed(request: Request, finishing: Flow[Answer]) -> Flow[Answer]:
    """Return the answer of ``finishing``, or the answer to its exception."""
    try:
        return (yield from finishing)
    except Exception as error:
        failure = error
    try:
        return (yield from _settled(fail(request, failure)))
    finally:
        del failure


def _settled(answer: Answer | Flow[Answer]) -> Flow[Answer]:
    """Return an answer that needs no step, or the one of a flow."""
    return answer if isinstance(answer, tuple) else (yield from answer)


def _finish_stream(request: Request, stream: Stream, chunk: object) -> Flow[Answer]:
    """Return the answer of a generator whose first ``chunk`` was fetched, or is PENDING."""
    response = Response()
    early = EarlyHead(request, response, partial(_complete_head, request, response, stream))
    yield from stream.fetch_first(request._is_on_loop, early, chunk)
    if early.answer is not None:
        return early.answer
    if request._pending_response is None and request._loaded_session is None:
        return 200, request.config.text_type, None, NO_OTHER_HEADERS, b"", stream
    return (yield from _settled(_run_after_hooks(request, response, None, stream)))


def _finish_response(request: Request, result: Any) -> Answer | Flow[Answer]:
    """Return the answer for any result, with what was set on ``self.response``; or a flow that returns it."""
    kind = type(result)
    if kind in _PLAIN_BODIES and request._pending_response is None:  # most
        return _run_after_hooks(request, Response(result), None, None)
    if kind is Redirect:  # as if it were raised, without the way of an exception
        return fail(request, result)
    if kind not in _PLAIN_BODIES and kind not in _RESPONSES and isawaitable(result):  # of a decorated ``async def``
        return _finish_awaited(request, result)
    response = as_response(result)
    if request._pending_response is not None:
        response = merge_pending(response, request._pending_response, states_status(result))
        request._pending_response = None  # a generator may set headers anew before its first chunk
    if type(response.body) is FileReference:
        return _finish_file(request, response)
    return _run_after_hooks(request, response, None, stream_of(response.body))


def _finish_awaited(request: Request, result: Awaitable[Any]) -> Flow[Answer]:
    return (yield from _settled(_finish_response(request, (yield AWAIT, itself, (result,)))))


def _finish_file(request: Request, response: Response) -> Flow[Answer]:
    response = yield from open_file(request, response)
    return (yield from _settled(_run_after_hooks(request, response, None, stream_of(response.body))))


def _run_after_hooks(
    request: Request, response: Response | None, failure: Exception | None, stream: Stream | None
) -> Answer | Flow[Answer]:
    """Run ``after_request`` hooks and return the answer, or a flow that does what is left, and returns it.

    ``response`` is the handler's, whose body is ``stream`` if it comes in chunks; None if there is ``failure`` to
    answer.
    """
    request._answer_stream = stream
    hooks = request._hooks
    if response is None or hooks is not None:
        if request._before_head:
            request._before_head = ()
        body = None if response is None else response.body
        changing: Response | Flow[Response]
        if response is None or hooks is None:
            changing = run_after(() if hooks is None else hooks.after, request, response, failure)
        else:
            changing = run_after_now(hooks, request, response)
        if not isinstance(changing, Response) or changing.body is not body:
            return _complete_changed(request, changing, body, stream)
        response = changing
    if stream is None and request._pending_response is None:
        session = request._loaded_session
        if session is None or not (session.changed or request._tasks):
            if session is not None:
                _keep_private(request, session, response, False)
            return _encode(request, response, None)
    chunk: object = PENDING
    if stream is not None and not stream.waits and request._is_on_loop and hooks is None:
        chunk = stream.next_nowait(True)  # without a step and a flow, 4 µs of the 20 of a short stream of events
        if chunk.__class__ is bytes and chunk:
            stream.first = chunk
            if request._pending_response is None and request._loaded_session is None and not request._before_head:
                with suppress(Exception):  # the flow meets it again, and closes the stream
                    return _encode(request, response, stream)
    return _complete_changed(request, response, response.body, stream, chunk)


def _complete_changed(
    request: Request,
    changing: Response | Flow[Response],
    body: object,
    stream: Stream | None,
    chunk: object = PENDING,
) -> Flow[Answer]:
    """Complete the response that hooks have changed, or are changing. Close the stream, ``body``, if that fails.

    ``chunk`` is one that was fetched of the stream already.
    """
    try:
        response = changing if isinstance(changing, Response) else (yield from changing)
        if type(response.body) is FileReference:
            response = yield from open_file(request, response)
        if response.body is not body:
            replaced, stream = request._answer_stream, stream_of(response.body)
            request._answer_stream = stream or replaced
            if replaced is not None and stream is None:  # a stream in its place may read from it
                yield from replaced.close()
        if stream is None and request._loaded_session is None and request._pending_response is None:
            return _encode(request, response, None)
        return (yield from _complete(request, response, stream, chunk))
    except Exception as error:
        failure = error
    if stream is not None:
        yield from stream.close()
    try:
        raise failure
    finally:
        del failure


def _complete(request: Request, response: Response, stream: Stream | None, chunk: object) -> Flow[Answer]:
    """Fetch the stream's first chunk, if it comes in time, and complete the head."""
    if stream is not None:
        early = EarlyHead(request, response, partial(_complete_head, request, response, stream))
        yield from stream.fetch_first(request._is_on_loop, early, chunk)
        if early.answer is not None:
            return early.answer
    return (yield from _complete_head(request, response, stream))


def _complete_head(request: Request, response: Response, stream: Stream | None) -> Flow[Answer]:
    """Apply what was set late, encode the answer and save the session."""
    if request._pending_response is not None:  # set on ``self.response`` by hooks or a generator
        response = merge_pending(response, request._pending_response, keeps_status=True)
        if stream is not None:
            request._pending_response = None  # too late for another one
    if stream is not None:
        for change in request._before_head:
            change(response)
    session = request._loaded_session
    if session is not None:
        return (yield from _complete_with_session(request, session, response, stream))
    return _encode(request, response, stream)


def _complete_with_session(
    request: Request, session: Session, response: Response, stream: Stream | None
) -> Flow[Answer]:
    """Encode the answer, then save the session: an answer that can't be sent must not leave a session behind."""
    store = request.config.sessions
    saves = session.changed and (response.status not in _FAILURES or store.saves_on_error)
    _keep_private(request, session, response, saves)
    answer = _encode(request, response, stream)
    if saves:
        if request.config.settings.debug and request.method in ("GET", "HEAD"):
            _warn_of_change(request, session)
        request._loaded_session = None  # if saving fails, the error's answer must not try again
        cookies = [(yield from store.close(session, request.scheme, request.root_path))]
        if session.renewed:
            cookies.append(deleting_cookie(request))
        status, content_type, length, pairs, body, stream = answer
        added = [("set-cookie", cookie) for cookie in cookies if cookie is not None]
        answer = status, content_type, length, [*pairs, *added], body, stream
    if stream is not None or request._tasks:
        session.seal()
        request._loaded_session = session
    return answer


def _keep_private(request: Request, session: Session, response: Response, saves: bool) -> None:
    """Set the headers that keep caches from giving the answer to another client (RFC 9111, section 4.1)."""
    if session.accessed:
        pairs = response.headers.pairs
        stated = {name.lower() for name, _ in pairs} if pairs else ()
        if "vary" in stated:
            add_vary(response.headers, "Cookie")
        else:
            pairs.append(VARY_COOKIE)
        if "cache-control" not in stated:
            pairs.append(PRIVATE)
    if (saves or request._csrf_token is not None) and make_private(response.headers):
        logger.warning("%s: an answer with a client's own cookie can't be public: it is sent as private", request.label)


def _warn_of_change(request: Request, session: Session) -> None:
    """Log, once for each route, that a GET or HEAD request has set a key of the session.

    The CSRF token does not count, because pages with forms make it; nor do removals, as of a message that was shown.
    """
    route, changes = request.route, session.changes()
    if route is None or route.has_warned or not (changes.updates or changes.values.keys() - {FIELD}):
        return
    route.has_warned = True
    logger.warning(
        "%s changed the session on %s: a link on any page can do that; write @post above it", route.name, request.method
    )


def _encode(request: Request, response: Response, stream: Stream | None) -> Answer:
    """Return the answer; keep its status and length on the request for functions of ``on_close``."""
    answer = encode(response, stream, request.method == "HEAD", request.config.text_type)
    if request._closers is not None:
        request.status = None if request.broken_off else answer[0]
        request.length = answer[2]
    return answer


# -- after an exception ----------------------------------------------------------------------------------------------


def fail(request: Request, failure: Exception) -> Answer | Flow[Answer]:
    """Return the answer to an exception, or a flow that returns it.

    A plain ``HTTPError`` or ``Redirect`` is answered at once, in a third of the time that the flow takes.
    """
    if request._hooks is None and request._loaded_session is None:
        try:
            answer = plain_answer(request, failure)
            if answer is not None:
                return answer
        except Exception:  # noqa: S110 - the flow meets it again and answers it
            pass
    return _fail(request, failure)


def _fail(request: Request, failure: Exception) -> Answer | Flow[Answer]:
    """Return the answer to an exception, or a flow that returns it. With hooks or a session, or an error handler."""
    if isinstance(failure, ClientDisconnect):
        request._hooks, request.broken_off = None, True
    hooks, response = request._hooks, None
    if hooks is None or hooks.ends_now:  # hooks that would see the exception itself are generators
        try:
            response = plain_response(request, failure)
            if response is not None:
                request._pending_response = None
        except Exception:  # noqa: S110 - the flow meets it again and answers it
            pass
    try:
        answer = _run_after_hooks(request, response, failure, None)
    except Exception as error:
        return _last_answer(request, error)
    return answer if isinstance(answer, tuple) else _failed_flow(request, answer)


def _failed_flow(request: Request, answering: Flow[Answer]) -> Flow[Answer]:
    try:
        return (yield from answering)
    except Exception as error:
        return _last_answer(request, error)


def _last_answer(request: Request, error: Exception) -> Answer:
    """Return the answer to an exception on the way of another one's answer, which asks nothing of the application."""
    request._loaded_session = None
    if isinstance(error, HTTPError):  # a session backend's 503, which is in the log, or from an error page's own stream
        return _encode(request, error_answer(request, error), None)
    return _encode(request, internal_error(request, error), None)
