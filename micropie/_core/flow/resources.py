"""Resources that a handler and the checks before it ask for, and the filter of the handler's
result.

A resource is opened once for a request (``discovery/providers.py``) and closed when the handler has
returned, before the hooks see its response, or at the end of the stream that it returned. Resources
that only checks have asked for are closed before a stream or the handler of a WebSocket begins. A
result is filtered by its annotation while they are open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from micropie._core.binding import ResultFilter
from micropie._core.errors import HTTPError, Redirect, raise_any
from micropie._core.execution.steps import CALL, Call, Flow, awaited
from micropie._core.http import (
    EncodedAnswer,
    Exchange,
    Request,
    Response,
    as_response,
    states_status,
)
from micropie._core.http.escaping import is_html
from micropie._core.routing import Handover, Route
from micropie._core.routing.discovery import open_resources
from micropie._core.streams import is_stream, stream_of


def with_resources(
    request: Request, route: Route, arguments: Sequence[object]
) -> Flow[Sequence[object]]:
    """Open what a handler's parameters ask for.

    Return its arguments, complete. Raises what a provider raises.
    """
    resources = request._exchange.own_resources()
    yield from open_resources(request, resources, route.providers)
    return route.plan.with_provided(
        arguments, {one.key: resources.values[one] for one in route.providers}
    )


# Results that are a whole answer, which no filter changes.
_WHOLE = (Response, EncodedAnswer, HTTPError, Redirect, Handover)


def filtered(route: Route, result_filter: ResultFilter | None, result: object) -> Flow[object]:
    """Return a handler's result with the fields that its annotation names, or those of the type
    that is stated for its status.

    Whole answers and streams stay as they are.

    A ``def`` handler's result may ask a database for more, so that is done in a thread as well.
    """
    result = yield from awaited(result)
    if result_filter is not None:
        is_exact = result_filter.has_only(result_filter.exact, result)
        if is_exact or isinstance(result, result_filter.others):
            return result
    if isinstance(result, _WHOLE) or is_stream(result):
        return result
    if isinstance(result, tuple) and states_status(result):
        status, body, *headers = result
        own = route.stated_filters.get(status, result_filter)
        return (
            status,
            None if body is None else (yield from filtered(route, own, body)),
            *headers,
        )
    if result_filter is None:
        return result
    if isinstance(route.step_kind, Call) and not route.is_pooled:
        return (yield CALL, result_filter.make, (result,))
    return result_filter.make(result)


def as_lines(request: Request, route: Route, result: object) -> object:
    """Return a handler's result; a stream of items is one of JSON Lines, by the route's annotation.

    Each item is filtered and encoded when it is sent. One that can't be breaks the response off.
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


# The type has no registration. jsonlines.org suggests it, and OpenAPI 3.2 has it among the
# sequential types, beside application/x-ndjson, whose prefix RFC 6648 deprecates.
JSON_LINES = "application/jsonl"


def close_unless_streamed(
    exchange: Exchange, result: object, providers: Iterable[object]
) -> Flow[object]:
    """Close the resources of a request, and return ``result``. Raises what a provider raises.

    A result that is a stream needs those of these providers until its end.
    """
    result = yield from awaited(result)
    response = as_response(result)
    yield from close_resources(exchange, None, providers if is_stream(response.body) else ())
    if is_html(response.body):  # made of values that may need what is closed now
        return response.body if is_html(result) else response
    return result


def close_resources(
    exchange: Exchange, failure: Exception | None, kept: Iterable[object] = ()
) -> Flow[None]:
    """Close the resources of a request but those of the providers ``kept``. Raises the exception of
    a provider, or else ``failure``.

    What a handler wants done after the response is not, if its resources can't be closed: a commit
    that fails has stored nothing.
    """
    try:
        if exchange.resources:
            is_done = failure is None
            failure = yield from exchange.resources.close(failure, kept)
            if is_done and failure is not None:
                exchange.discard_tasks()
        raise_any(failure)
    finally:
        del failure


def end_resources(exchange: Exchange, failure: Exception | None = None) -> Flow[None]:
    """Close the resources that a stream, now closed, has used.

    ``failure``: the exception that has broken it off.

    The client can't be told of a failure any longer, so it is logged. If the client has left, a
    ``yield`` raises ``GeneratorExit``, as it does where a request is cancelled.
    """
    if failure is None and exchange.answer.is_broken_off:
        yield from exchange.clean_up(exchange.cleanup_steps())
        return
    raised = (yield from exchange.resources.close(failure)) if exchange.resources else None
    try:
        if raised is not None and raised is not failure:
            exchange.discard_tasks()
            exchange.log_cleanup_failure(raised)
    finally:
        del failure, raised
