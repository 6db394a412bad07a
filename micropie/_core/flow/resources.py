"""Open and close the resources that a handler and its access checks depend on, and filter the
handler's result.

A resource is opened once for a request (``discovery/providers.py``). It is closed when the handler
has returned, before the hooks see the response. If the handler has returned a stream, the resource
is closed at the end of the stream. Resources that only access checks depend on are closed earlier:
before a stream begins, or before the handler of a WebSocket runs. A result is filtered by the
handler's return annotation while the resources are open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from micropie._core.binding import ResultFilter
from micropie._core.errors import HTTPError, Redirect, raise_any
from micropie._core.execution.steps import (
    AWAIT,
    CALL,
    Call,
    Flow,
    awaited,
)
from micropie._core.http import (
    EncodedAnswer,
    Exchange,
    FileReference,
    Request,
    Response,
    as_response,
    states_status,
)
from micropie._core.http.escaping import is_html
from micropie._core.routing import Route
from micropie._core.routing.discovery import open_resources
from micropie._core.streams import stream_of


def with_resources(
    request: Request, route: Route, arguments: Sequence[object]
) -> Flow[Sequence[object]]:
    """Open the resources that the handler's parameters depend on.

    Return the handler's arguments together with the resources. Raises any exception of a provider.
    """
    resources = request._exchange.own_resources()
    yield from open_resources(request, resources, route.providers)
    return route.plan.with_provided(
        arguments, {one.key: resources.values[one] for one in route.providers}
    )


# Results that are complete responses. No filter changes them.
_WHOLE = (Response, EncodedAnswer, HTTPError, Redirect)


def filtered(
    route: Route, result_filter: ResultFilter | None, result: object, exchange: Exchange | None
) -> Flow[object]:
    """Return a handler's result with only the fields that its annotation allows. The annotation may
    declare a different type for each status.

    Complete responses and streams are returned unchanged. A result that no other code can change
    before it is sent may be returned encoded. ``exchange``: None for a part of a result.

    Like the handler itself, the filter for a ``def`` handler runs in a thread, because reading an
    attribute of the result may query a database.
    """
    result = yield from awaited(result)
    if result_filter is not None and (
        result_filter.has_only(result_filter.exact, result)
        or isinstance(result, result_filter.others)
    ):
        return result
    if isinstance(result, _WHOLE) or stream_of(result):
        return result
    if isinstance(result, tuple) and states_status(result):
        status, body, *headers = result
        own = route.filters_by_status.get(status, route.any_filter)
        return (
            status,
            None if body is None else (yield from filtered(route, own, body, None)),
            *headers,
        )
    if result_filter is None:
        return result
    is_sent = (
        exchange is not None
        and not (exchange.answer.has_response or exchange.resources)
        and type(result) in route.config.bodies
    )
    if isinstance(route.step_kind, Call) and not route.is_pooled:
        return (yield CALL, result_filter.make, (result, is_sent))
    return result_filter.make(result, is_sent)


def as_lines(request: Request, route: Route, result: object) -> object:
    """Return a handler's result. If the route's annotation declares JSON Lines, turn a stream of
    items into a stream of lines.

    Each item is filtered and encoded when it is sent. If an item can't be encoded, the response is
    aborted.
    """
    status, body, *headers = (
        result if isinstance(result, tuple) and states_status(result) else (None, result)
    )
    stream = None if isinstance(body, _WHOLE) else stream_of(body)
    if stream is None or route.write_item is None:
        return result
    stream.encode = route.write_item
    response = request.response
    response.content_type = response.content_type or JSON_LINES
    return stream if status is None else (status, stream, *headers)


# This media type isn't registered. But jsonlines.org suggests it, and OpenAPI 3.2 lists it. The
# alternative, application/x-ndjson, has a prefix that RFC 6648 deprecates.
JSON_LINES = "application/jsonl"


def close_unless_streamed(
    exchange: Exchange, result: object, providers: Iterable[object]
) -> Flow[object]:
    """Close the resources of a request, and return ``result``. Raises any exception of a provider.

    If the result is a stream, the resources of ``providers`` stay open until its end. If it is a
    file, all stay open until the file has been opened, because it may be in a temporary directory
    that one of them removes.
    """
    result = yield from awaited(result)
    response = as_response(result)
    is_file = response.body.__class__ is FileReference
    if not is_file:
        yield from close_resources(exchange, None, providers if stream_of(response.body) else ())
    yield from exchange.leave_scopes()
    if is_file:
        return result
    # ``as_response`` has rendered HTML. Return the rendered HTML, because rendering it again later
    # could need a closed resource.
    if is_html(response.body):
        return response.body if is_html(result) else response
    return result


def close_resources(
    exchange: Exchange, failure: Exception | None, kept: Iterable[object] = ()
) -> Flow[None]:
    """Close the resources of a request, except those of the providers in ``kept``. If a provider
    raised an exception of its own, raise that exception. Otherwise, raise ``failure`` unless it is
    None.

    If closing fails, for example because a commit failed, the functions that the handler passed to
    ``after_response`` are not called.
    """
    try:
        if exchange.resources:
            is_done = failure is None
            failure = yield from exchange.close_resources(failure, kept)
            if is_done and failure is not None:
                exchange.discard_tasks()
        raise_any(failure)
    finally:
        del failure


def unwound(exchange: Exchange, cancellation: BaseException) -> Flow[Exception | None]:
    """Raise a cancellation at the ``yield`` of each open generator, the innermost first. Stop when
    the task is no longer being cancelled: the cancellation came from a cancel scope around the
    ``yield`` at which it was raised last.

    Return the exception that replaces the cancellation. Return None if the whole request is
    cancelled, which no generator can prevent. A generator that isn't async has no cancel scope, so
    it is only closed, or later if it has a resource that a call in its thread may use.
    """
    used = (exchange.is_in_use and exchange.resources) or ()
    inner_first = [one for one in exchange.open_generators() if one.is_async or one not in used]
    if not any(one.is_async for one in inner_first):
        return None
    failure: Exception | None = None
    try:
        for running in inner_first:
            failure, goes_on = None, True
            if running.is_async:
                raised, goes_on = yield AWAIT, running.cancel, (cancellation,)
                failure = raised if isinstance(raised, Exception) else None
                del raised
            else:
                yield from exchange.clean_up(running.close())
            if exchange.resources:
                exchange.resources.forget(running)
            if not goes_on:
                return failure
            if failure is not None:
                exchange.log_cleanup_failure(failure)
        return None
    finally:
        # avoid a reference cycle: since Python 3.12, the exceptions' tracebacks refer to this frame
        del cancellation, failure


def end_resources(exchange: Exchange, failure: Exception | None = None) -> Flow[None]:
    """Close the resources that a stream has used, after the stream itself was closed.

    ``failure``: the exception that aborted the stream, if any.

    The response has started, so an exception is only logged. If the client has disconnected, or the
    shutdown has interrupted a source of events, the ``yield`` of a provider raises
    ``GeneratorExit``, as it does when a request is cancelled.
    """
    answer = exchange.answer
    is_cut = answer.is_broken_off or getattr(answer.stream, "is_interrupted", False)
    if failure is None and is_cut and not exchange.is_in_use:
        yield from exchange.clean_up(exchange.cleanup_steps())
        return
    raised = yield from exchange.close_resources(failure)
    try:
        if raised is not None and raised is not failure:
            exchange.discard_tasks()
            exchange.log_cleanup_failure(raised)
    finally:
        del failure, raised
