"""The life of a request, written once for every protocol and every server.

The module is plain synchronous Python. A flow is a generator: it yields a step
(``execution/steps``) where it may have to wait, and gets the step's result as the value of that
``yield``. A driver (``asgi/``, ``wsgi/``) creates a ``Request``, performs the steps of ``respond``
and sends the ``Answer``, which is the last step. ``respond`` has six stages:

    1. Route: find the route for the path, or a mounted application that sends its response itself
       (``Handover``).
    2. Hooks and session: the session is opened and ``before_request`` hooks run. If a hook returns
       a response, stages 3 and 4 are skipped.
    3. Body: a form or JSON is received.
    4. Bind and run: the arguments are bound, in a thread if they come from a large body, and the
       handler runs.
    5. Result to response: ``after_request`` hooks run, the first chunk of a stream is fetched
       (but not the first event of an event stream), and the session is saved. The result becomes
       an ``Answer``, the tuple that is sent (``http/response.py``).
    6. Errors: an exception of a stage becomes a response, which then passes through stage 5.

A flow that never yields costs a driver no more than a function call. So no flow needs a second
version for requests that don't have to wait. Under ASGI, a flow may go on in the worker thread that
has run a ``def`` part (``ThreadRun``), so only its steps may rely on the event loop.

Each exception is caught in one place and turned into a response after the ``except`` block, so that
later exceptions get no false ``__context__``. Then the variable that holds the exception is
deleted, to avoid a reference cycle: the exception's traceback refers to the frame, and the frame to
the exception. Only a response that needs no step may be created inside the ``except`` block. The
flow catches ``Exception``, and those exits and cancellations that ``execution.contained`` turns
into an ``Exception``. Two exceptions are not caught: the interpreter's exit, and a cancellation of
the request. No flow yields while these propagate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from inspect import isawaitable
from types import AsyncGeneratorType, GeneratorType, NoneType
from typing import Any, cast

from micropie._core import execution, files, streams
from micropie._core.errors import (
    ERRORS,
    ClientDisconnect,
    HTTPError,
    RaisedAnswer,
    Redirect,
    Unsatisfied,
    alone_in,
    logger,
)
from micropie._core.execution import TookTooLong
from micropie._core.execution.placement import AnyFunction, Rank
from micropie._core.execution.steps import (
    ANSWER,
    AWAIT,
    CALL,
    INLINE,
    IO,
    ON_LOOP,
    Flow,
    Kind,
    call,
    call_within,
    itself,
    no_function,
)
from micropie._core.flow.errors import drop_traceback, plain_response, respond_to
from micropie._core.flow.hooks import planned_hooks, replaced_stream, run_after, run_before
from micropie._core.flow.resources import (
    JSON_LINES,
    as_lines,
    close_resources,
    close_unless_streamed,
    filtered,
    with_resources,
)
from micropie._core.http import (
    BODIES,
    JSON,
    NO_OTHER_HEADERS,
    Answer,
    EncodedAnswer,
    Exchange,
    FileReference,
    Request,
    Response,
    encode,
    encoded_error,
    error_answer,
    joined,
    receive_body,
    redirect_response,
)
from micropie._core.http.csrf import deleting_cookie
from micropie._core.http.headers import KnownHead, known_private, make_private
from micropie._core.http.protocols import Pairs
from micropie._core.on_demand import module
from micropie._core.routing import (
    NO_VALUES,
    SEARCHED,
    Handover,
    Route,
    RouteMatch,
    Site,
    config_of,
    delegate_route,
    handlers_route,
)
from micropie._core.sessions import Session
from micropie._core.streams import AnyStream, LoopStream, Stream, ThreadStream, stream_of

# imported on first use: few sites have handlers in processes
pooled: Any = module("micropie._core.flow.pooled")

_SUCCESSES = range(200, 300)
_GROUP_OR_DISCONNECT = (ExceptionGroup, ClientDisconnect)
_NEVER_AWAITED = frozenset({Response, FileReference, tuple})

_STREAMS: Mapping[type, Callable[[Any], AnyStream]] = {
    GeneratorType: ThreadStream,
    AsyncGeneratorType: LoopStream,
}


def respond(site: Site, request: Request) -> Flow[Any]:
    """Take a request through the six stages. The last step contains the ``Answer``. In place of a
    stream, it has a ``Handover`` if a mounted application sends the response itself.
    """
    exchange = request._exchange
    answer: Answer
    arguments: Sequence[Any]
    failure: BaseException | None = None
    try:
        # 1. Route. If the path has no arguments, a single look-up finds its route here. Otherwise,
        # the site searches for the route.
        method = exchange.method
        route = site.exact[method].get(exchange.literal_path)
        result = None
        if route is not None:
            arguments, values = (), NO_VALUES
            must_bind: object = route.plain_args
            exchange.route = route
            exchange.outside.update(route.for_tools)
        else:
            route, arguments, values = _find(site, request)
            must_bind = route.plain_args != len(arguments)
        exchange.config = config = route.config
        # 2. Hooks and session.
        if config.middlewares or config.sessions.opens_ahead:
            result = yield from _before_handler(request, route)
        if result is None:
            # 3. Body.
            if method not in route.without_body:
                yield from receive_body(exchange, route.reads_body)
            # 4. Bind and run. Binding a large body may take long, so it is done in a thread.
            if not must_bind:
                pass
            elif exchange.body.is_large:
                arguments = yield IO, route.bind, (request, arguments, values)
            else:
                arguments = route.bind(request, arguments, values)
            if route.is_special or exchange.is_special:
                result = yield from call_handler(request, route, arguments)
            elif route.step_kind is INLINE:
                result = route.call(*arguments)
            else:
                result = yield route.step_kind, route.call, arguments
        # 5. Result to response. A short cut for most results: the result is a body, and nothing
        # changes the response, so skip ``_finish``.
        if (
            not exchange.answer.has_response
            and (row := config.bodies.get(type(result))) is not None
        ):
            encode_body, content_type = row
            body = encode_body(result)
            answer = 200, content_type, len(body), NO_OTHER_HEADERS, body, None
            if exchange.answer.has_more:
                answer = yield from _completed(request, answer)
        elif isinstance(result, RaisedAnswer):
            # A returned error is treated like a raised one. The error isn't raised, because its
            # traceback would refer to this frame.
            failure = result
        else:
            answer = yield from _answer(request, result)
    except BaseException as error:
        failure = error
    # 6. Errors.
    if failure is not None:
        try:
            answer = yield from _failed(request, failure)
        finally:
            arguments = ()  # a refusal's argument is its error
            del failure
    yield ANSWER, no_function, answer


# -- stage 1 ---------------------------------------------------------------------------------------


def _find(site: Site, request: Request) -> RouteMatch:
    """Find the route of a request, and set what the exchange has to know of it.

    Return the route, the segments of the path after the handler's name, and the values of the
    wildcards.
    """
    exchange = request._exchange
    exchange.config = site.config  # the error response needs it if ``find`` fails
    found = site.find(request)
    route = found[0]
    if exchange.method in SEARCHED:  # ``find`` may have changed the case
        exchange.answer.note_method()
    if route.is_found:
        exchange.route = route
        exchange.outside.update(route.for_tools)
    elif route.config.advisor is not None:
        exchange.list_routes = site.entries
    return found


# -- stage 2 ---------------------------------------------------------------------------------------


def _before_handler(request: Request, route: Route) -> Flow[object]:
    """Run the hooks and open the session. Before a mounted application that sends the response
    itself, run only the hooks whose ``guards`` is True.

    Return the response of a hook, or None if the route has to be called.
    """
    exchange, config = request._exchange, route.config
    is_handed_over = route.__class__ is Handover
    hooks = planned_hooks(config)
    if is_handed_over:
        hooks = hooks.guards
    if config.middlewares:
        exchange.run_with(hooks)
    result = yield from run_before(hooks.before, request)
    if result is not None:
        return (
            (yield from close_unless_streamed(exchange, result, exchange.resources.values))
            if exchange.resources
            else result
        )
    if is_handed_over:
        yield from close_resources(exchange, None)
        if exchange.generators:
            yield from exchange.clean_up(exchange.cleanup_steps())
        session = exchange.answer.take_session()
        if session is not None and session.changed:
            cookie = yield from config.sessions.close(session, exchange)
            cast("Handover", route).cookie = cookie
        return None
    if config.sessions.opens_ahead:
        if hooks.needs_session or route.needs_session:
            yield from exchange.open_session()
        else:
            exchange.answer.need_no_session()
    if request._subapp is not None:  # call the application that a hook has chosen
        chosen, *arguments = delegate_route(request)
        return (yield from call(chosen.step_kind, chosen.call, *arguments))
    return None


# -- stage 4 ---------------------------------------------------------------------------------------


def call_handler(request: Request, route: Route, arguments: Sequence[object]) -> Flow[object]:
    """Run the handler with its resources and its time limit, in a process if the handler is pooled.

    Return the handler's result, with only the fields that the handler's annotation allows.
    """
    exchange = request._exchange
    if route.providers:
        arguments = yield from with_resources(request, route, arguments)
    if route.is_pooled:
        result = yield from _call_pooled(request, route, arguments)
    elif exchange.time_limit is not None:
        kind = route.limited_step_kind
        result = yield from _call_limited(
            request, route, exchange.time_limit, kind, route.call, arguments
        )
    elif route.step_kind is not INLINE:
        result = yield route.step_kind, route.call, arguments
    elif exchange.has_begun and route.limited_step_kind is ON_LOOP:  # the flow may be in a thread
        result = yield ON_LOOP, route.call, arguments
    else:
        result = route.call(*arguments)
    if route.is_filtered and (result is not None or exchange.answer.has_content):
        result = yield from filtered(route, route.result_filter, result, exchange)
        if route.write_item is not None:
            result = as_lines(request, route, result)
    return (
        (yield from close_unless_streamed(exchange, result, route.providers))
        if exchange.resources
        else result
    )


def _call_pooled(request: Request, route: Route, arguments: Sequence[object]) -> Flow[object]:
    """Run the handler in a process, and return its result."""
    pool, exchange = route.config.pool, request._exchange
    token = pool.token()
    if route.reads_body:
        yield from exchange.whole_body()
    steps = pooled.steps_in_pool(
        pool, route.config.settings.pool_timeout, exchange, route.call, arguments, token
    )
    kind: Kind = CALL
    function: Any = pool.in_this_thread
    given: Sequence[Any] = (steps,)
    if route.config.blocking is not INLINE or route.ends_with_client:
        kind, function = AWAIT, pool.run_steps
        given = steps, token, Rank.QUEUED, exchange.note_left_call
    try:
        if route.ends_with_client:
            function, given = request.while_connected, (partial(function, *given),)
        if exchange.time_limit is None:
            return (yield kind, function, given)
        return (
            yield from _call_limited(request, route, exchange.time_limit, kind, function, given)
        )
    except BaseException:  # if the call has not ended, nobody waits for it any more
        token.cancel()
        raise


def _call_limited(
    request: Request,
    route: Route,
    seconds: float,
    kind: Kind,
    function: AnyFunction,
    arguments: Sequence[object],
) -> Flow[object]:
    """Run the handler with a time limit, and return its result.

    Raises a 503 after ``seconds``.
    """
    try:
        return (yield from call_within(seconds, kind, function, *arguments))
    except TookTooLong as error:
        label = request._exchange.label
        logger.error(
            "%s: %s did not finish within %g s: the client gets 503",
            label,
            route.name,
            seconds,
            exc_info=error.__cause__,  # its clean-up has failed
        )
    raise HTTPError(503, "The response took too long. Please try again later.")


# -- stage 5 ---------------------------------------------------------------------------------------


def _answer(request: Request, result: object) -> Flow[Answer]:
    """Return the ``Answer`` for a handler's result, with the status, headers and cookies that were
    set on ``self.response``.
    """
    exchange = request._exchange
    if type(result) in BODIES:  # most results: nothing to await, no file to open
        return _finish(request, _response_of(exchange, result), None, None)
    if type(result) in _STREAMS:
        stream = _STREAMS[type(result)](result)
        return _finish(request, _response_of(exchange, result), stream, None)
    return _answer_of_any(request, result)


def _answer_of_any(request: Request, result: Any) -> Flow[Answer]:
    """Return the ``Answer`` for a result that may be awaitable, a file or a ``Handover``."""
    exchange = request._exchange
    made = exchange.answer
    is_alone = not made.has_more
    if type(result) not in _NEVER_AWAITED:
        is_joined = exchange.hooks or made.session is not None or made.response is not None
        if type(result) is EncodedAnswer and not is_joined:
            return result
        if type(result) is Handover:
            return 200, None, None, (), b"", cast("Any", result)
        if not isinstance(result, Response) and isawaitable(result):
            # A decorator has hidden that the handler is an ``async def``, so the result is a
            # coroutine.
            result = yield AWAIT, itself, (result,)
    response = _response_of(exchange, result)
    if response.body.__class__ is FileReference:
        try:
            file, part = yield from files.open_file(request, response)
            if exchange.resources:
                yield from close_resources(exchange, None)
        except Exception as failure:
            made.take_back(result)  # the error response must not get the file's headers
            is_missing = type(failure) is HTTPError and failure.status == 404
            if is_missing and exchange.config.advisor is not None:
                exchange.config.advisor.review_missing_file(response.body)
            raise
        if (
            is_alone
            and part is None
            and exchange.ends is None
            and not response.pairs
            and response.content_type is None
            and response.status == 200
        ):
            return file
        files.describe(request, response, file, part)
    return (yield from _finish(request, response, stream_of(response.body), None))


def _response_of(exchange: Exchange, result: object) -> Response:
    """Return the response for a handler's result. If the result contains an ``HTTPError`` or a
    ``Redirect``, raise that.
    """
    config = exchange.config
    if config.advisor is None:
        response = exchange.answer.set_result(result)
    else:
        config.advisor.review_result(exchange, result)
        response = exchange.answer.set_result(result)
        config.advisor.review_response(exchange, response)
    if (
        response.body is None
        and NoneType in config.bodies
        and response.status in _SUCCESSES
        and not isinstance(result, Response)
    ):
        # A body of None is sent as the JSON null.
        response.content_type = response.content_type or JSON
    return response


def _finish(
    request: Request, response: Response | None, stream: AnyStream | None, failure: Exception | None
) -> Flow[Answer]:
    """Return the ``Answer`` for a response or, if ``failure`` is given, for that exception.
    ``respond`` has a short cut for a response that nothing can change.

    If this function raises an exception, it closes the stream first.

    ``after_request`` hooks may change the response and the session. A stream may do so as well,
    until it has produced its first chunk.
    """
    exchange = request._exchange
    made = exchange.answer
    if exchange.ends is not None:
        exchange.ends.discard_changes()
    try:
        # Register the stream first, so that it is closed if a hook fails or is cancelled.
        if exchange.hooks is not None:
            if stream is not None:
                made.begin(stream)
            body = response and response.body
            response = yield from run_after(exchange.hooks.after, request, response, failure)
            if response.body is not body:
                stream = yield from replaced_stream(request, response)
        elif failure is not None:
            response = yield from respond_to(request, failure)
            stream = None if made.stream is None else cast("AnyStream", made.stream)
        assert response is not None  # noqa: S101
        if stream is not None:
            if isinstance(stream, ThreadStream) and exchange.config.blocking is not INLINE:
                threads = exchange.config.threads
                stream = streams.MadeAhead(stream, threads, exchange.rank)
            made.continue_stream(stream)
            response = yield from _begun(exchange, response, stream)
        # Encode the answer before the session is saved, because the session must not be saved if
        # the answer can't be sent.
        answer = encode(response, stream, exchange.method == "HEAD", exchange.config.text_type)
        if made.depends_on or made.session is not None:
            answer = yield from _completed(request, answer)
        elif exchange.ends is not None:
            made.end(answer)
    except BaseException as error:
        failure = execution.contained(error)
    else:
        return answer
    try:
        if stream is not None:
            yield from stream.close()
        else:  # the error response must not get the headers set so far
            made.replace(None)
        raise failure
    finally:
        del failure


def _begun(exchange: Exchange, response: Response, stream: Stream) -> Flow[Response]:
    """Fetch a stream's first chunk. Return the response with the headers that its generator set."""
    made = exchange.answer
    if stream.file is not None and exchange.sends_files:
        stream.leave_to_server()
    else:
        yield from stream.fetch_first(response)
    # The stream's generator has changed ``self.response``. What a hook has set replaces this.
    if made.response is not None:
        if made.response.content_type is not None and response.content_type is JSON_LINES:
            response.content_type = None  # only a default
        response = joined(response, made.response)
        made.replace(None)
    if exchange.ends is not None:
        for change in exchange.ends.before_head:
            change(response)
    # A later chunk may read the session, but then it is too late for the headers that forbid
    # caching. So count the session as read now.
    if (
        stream.file is None
        and exchange.header("cookie")
        and handlers_route(exchange) is not None
        and exchange.config.sessions.find_id(exchange)
    ):
        exchange.opened_session()
    return response


def _completed(request: Request, answer: Answer) -> Flow[Answer]:
    """Return the answer with the headers that depend on the client. Save the session, and record
    the final status.
    """
    exchange = request._exchange
    made = exchange.answer
    status, content_type, length, pairs, body, stream = answer
    session = made.session
    saves = session is not None and session.changed and exchange.config.sessions.saves_with(status)
    # If the response depends on the request's headers, for example on Cookie, shared caches must
    # not send it to other clients.
    if made.depends_on:
        make = known_private if pairs.__class__ is KnownHead else make_private
        is_own = saves or made.csrf_salt is not None or made.shared_as in pairs
        pairs, was_public = make(pairs, made.depends_on, is_own)
        if was_public and made.shared_as is None:
            sentence = (
                "%s: the response contains one client's cookie or token, so its Cache-Control: "
                "public was changed to private"
            )
            logger.warning(sentence, exchange.label)
    if exchange.ends is not None:
        made.end(answer)
    if session is not None:
        if saves:
            pairs = yield from _save_session(request, session, pairs)
        if stream is not None or (exchange.ends is not None and exchange.ends.tasks):
            session.seal()
            made.keep_session(session)
    return status, content_type, length, pairs, body, stream


def _save_session(request: Request, session: Session, pairs: Pairs) -> Flow[Pairs]:
    """Save the session, and return the headers with the session's cookie."""
    exchange = request._exchange
    if exchange.config.advisor is not None and request.method in ("GET", "HEAD"):
        exchange.config.advisor.review_session(request, session)
    exchange.answer.take_session()
    saved = yield from exchange.config.sessions.close(session, exchange)
    if saved is not None:
        pairs = [*pairs, ("set-cookie", saved)]
    if session.renewed and (deleted := deleting_cookie(request)) is not None:
        # put it first, because the page may have set this cookie again, with a new secret
        pairs = [("set-cookie", deleted), *pairs]
    return pairs


# -- stage 6 ---------------------------------------------------------------------------------------


def _failed(request: Request, failure: BaseException) -> Flow[Answer]:
    """Close the handler's resources and return the ``Answer`` for an exception.

    Raises the exception if it is not a failure of this request. With ``passes_failure_on``, also
    raises an exception for which the application has no error handler, because the server has to
    get it.
    """
    exchange = request._exchange
    made = exchange.answer
    try:
        config = exchange.config
        if (
            isinstance(failure, ERRORS)
            and not made.has_more
            and not exchange.ends
            and not exchange.passes_failure_on
            and not config.changes_errors
        ):
            # A short cut for most errors. Nothing else changes the response, so skip ``_finish``.
            failure.__traceback__ = None  # as ``drop_traceback`` does, without a call
            if isinstance(failure, Redirect):
                response = redirect_response(failure, request)
            elif failure.is_usual and isinstance(failure.message, str):
                return encoded_error(request, failure)
            else:
                response = error_answer(request, failure)
            return encode(response, None, False, config.text_type)
        if not isinstance(failure, Exception):
            failure = execution.contained(failure)
        if exchange.resources:
            closing = exchange.close_resources(
                None if isinstance(failure, Unsatisfied) else failure
            )
            failure = (yield from closing) or failure
        if isinstance(failure, _GROUP_OR_DISCONNECT):
            failure = alone_in(failure)
            if isinstance(failure, ClientDisconnect):
                exchange.hooks = None
                made.break_off()
        is_raised = (
            exchange.passes_failure_on and config_of(exchange).error_handler_for(failure)[0] is None
        )
        is_answer = False
        if isinstance(failure, RaisedAnswer):
            is_answer = True
            failure = failure.as_native()
        if made.is_without_session and not made.is_broken_off:
            # While the session backend is unavailable, the application's error page gets an empty
            # session.
            with suppress(HTTPError):
                yield from exchange.open_session()
        if made.stream is not None:
            made.begin(None)
        answer = yield from _finish(request, None, None, failure)
    except Exception as error:  # respond without running code of the application
        made.take_session()
        # ``plain_response`` logs the new exception, unless it is an HTTPError. An HTTPError here
        # was raised by the stream of an error page, or it is the 503 for a session backend. That
        # 503 was logged already.
        answer = encode(plain_response(request, error), None, exchange.method == "HEAD")
        if exchange.ends is not None:
            made.end(answer)
    else:
        if is_raised:
            raise failure
        if is_answer:
            drop_traceback(failure)
    finally:
        del failure
    return answer
