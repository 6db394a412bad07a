"""Resources of a request: providers (``routing/providers.py``) open them before a handler, and close them after it.

They are opened one after the other, each after those that it needs, and closed in reverse order: when the handler has
returned, before the hooks see its response, or at the end of the stream that it returned. The exception of the handler
is raised at a provider's ``yield``, as in ``contextlib.contextmanager``. It is answered even if a provider catches it,
unless a provider raises another one. A result is filtered by its annotation while they are open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from inspect import isawaitable
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from micropie.binding import ResultFilter
from micropie.errors import ConnectionClosed, HTTPError, Redirect, ResponseError, raise_any
from micropie.execution import AWAIT, BLOCK, HANDLER, INLINE, Flow, entered_on_loop, itself
from micropie.flow.generators import RunningGenerator
from micropie.http import EncodedAnswer, Exchange, Request, Response, as_response, is_html, states_status
from micropie.routing import Checking, Handover, Provider, Route, handlers_route, name_of
from micropie.streams import is_stream


def open_resources(request: Request, route: Route, arguments: Sequence[Any]) -> Flow[Sequence[Any]]:
    """Open what a handler's parameters ask for. Return its arguments, complete. Raises what a provider raises."""
    shared = request._exchange.shared
    values = {**shared[1]} if shared is not None and shared[0] is route.config.providers else {}
    yield from _open_missing(request, route.providers, values)
    return route.plan.with_provided(arguments, values)


def open_for_check(request: Request, checking: Checking) -> Flow[dict[str, object]]:
    """Open what a check's parameters ask for, and return that by their names. The handler gets the same objects."""
    exchange = request._exchange
    if exchange.shared is None or exchange.shared[0] is not checking.available:
        exchange.shared = checking.available, {}
        exchange.closers = exchange.closers or []  # the drivers look at no other attribute
    values = exchange.shared[1]
    yield from _open_missing(request, checking.providers, values)
    return {one.name: values[one.key] for one in checking.asked}


def _open_missing(request: Request, providers: Sequence[Provider], values: dict[object, object]) -> Flow[None]:
    """Open what ``values`` has not, and add it there, by type."""
    route = handlers_route(request._exchange)
    names = (route.wildcards or route.plan.names_in_path) if route is not None else ()
    in_path = dict(zip(names, request.path_params, strict=False))
    # All are bound before the first is opened: a wrong value in a query costs no connection.
    missing = [provider for provider in providers if provider.key not in values]
    bound = [(provider, provider.plan.bind(request, (), in_path)) for provider in missing]
    for provider, own in bound:
        values[provider.key] = yield from _open(request._exchange, provider, provider.plan.with_provided(own, values))


def _open(exchange: Exchange, provider: Provider, arguments: Sequence[Any]) -> Flow[object]:
    """Call a provider and return its resource. A resource that has to be closed later is kept with the exchange."""
    function: Callable[..., Any] = provider.plan.call
    made: Any
    if provider.is_class:
        made = entered_on_loop(partial(function, *arguments))
    elif provider.call_kind is INLINE:
        made = function(*arguments)
    elif provider.call_kind is AWAIT:
        made = yield AWAIT, function, arguments
    else:
        made = yield BLOCK, function, arguments
    is_async = hasattr(type(made), "__aenter__")
    if not is_async and isawaitable(made):  # of a decorated ``async def``
        made = yield AWAIT, itself, (made,)
        is_async = hasattr(type(made), "__aenter__")
    if is_async:
        manager = made
        made = entered_on_loop(lambda: manager)
    elif hasattr(type(made), "__enter__"):
        made = _entered(made)
    if isinstance(made, AsyncGeneratorType):
        made = exchange.shielded(made)
    elif not isinstance(made, GeneratorType):
        return made
    generator = RunningGenerator(made, provider.run_kind)
    exchange.resources = [*exchange.resources, generator]
    exchange.closers = exchange.closers or []  # the drivers look at no other attribute
    value = yield from generator.go_on(None)
    if generator.has_ended:
        raise ResponseError(f"{provider.name}, which provides {name_of(provider.key)}, has ended without a yield")
    return value


def _entered(manager: AbstractContextManager[object]) -> Iterator[object]:
    """Yield the value of a context manager, and leave it after that."""
    with manager as value:
        yield value


# Results that are a whole answer, which no filter changes.
_WHOLE = (Response, EncodedAnswer, HTTPError, Redirect, Handover)


def filtered(route: Route, result_filter: ResultFilter, result: Any) -> Flow[Any]:
    """Return a handler's result with the fields that its annotation names. Whole answers and streams stay as they are.

    A ``def`` handler's result may ask a database for more, so that is done in a thread as well.
    """
    if isawaitable(result):  # of a decorated ``async def``
        result = yield AWAIT, itself, (result,)
    if result_filter.passes(result) or isinstance(result, _WHOLE) or is_stream(result):
        return result
    if isinstance(result, tuple) and states_status(result):
        status, body, *headers = result
        return status, None if body is None else (yield from filtered(route, result_filter, body)), *headers
    return (yield BLOCK, result_filter.make, (result,)) if route.step_kind is HANDLER else result_filter.make(result)


def close_unless_streamed(exchange: Exchange, result: object) -> Flow[object]:
    """Close what a handler has used, unless its result is a stream, and return that. Raises what a provider raises."""
    if isawaitable(result):  # of a decorated ``async def``
        result = yield AWAIT, itself, (result,)
    response = as_response(result)
    if not is_stream(response.body):
        raise_any((yield from close_resources(exchange, None)))
    if is_html(response.body):  # made of values that may need what is closed now
        return response if states_status(result) else response.body
    return result


# Exceptions that are no failures: an answer, and the client's end of a WebSocket.
_NO_FAILURES = (Redirect, ConnectionClosed)


def close_resources(exchange: Exchange, failure: Exception | None) -> Flow[Exception | None]:
    """Close all, the last one first. Return the exception to answer: that of a provider, or else ``failure``."""
    other = failure.split(ConnectionClosed)[1] if isinstance(failure, ExceptionGroup) else failure
    thrown = None if isinstance(other, _NO_FAILURES) or other is None else failure
    exchange.shared = None
    raised = traceback = None
    try:
        while exchange.resources:
            *others, generator = exchange.resources
            raised, traceback = None, thrown.__traceback__ if thrown is not None else None
            try:
                yield from generator.finish(None, thrown)
            except Exception as error:
                raised = error
            exchange.resources = others  # now: one that a cancellation has kept from beginning its end is closed later
            if raised is None:
                continue
            if raised is thrown:
                raised.__traceback__ = traceback  # without the way through the provider, which tells nothing
            else:
                failure = thrown = raised
        return failure
    finally:
        # The traceback refers to this frame: without this it would be a cycle.
        del failure, other, thrown, raised, traceback


def clean_up(exchange: Exchange) -> Flow[None]:
    """Close the stream and the resources of a request that broke off. Failures are logged."""
    for step in exchange.cleanup_steps():
        try:
            yield step
        except Exception as error:
            exchange.log_cleanup_failure(error)


def end_resources(exchange: Exchange, failure: Exception | None = None) -> Flow[None]:
    """Close the resources that a stream, now closed, has used. ``failure``: the exception that has broken it off.

    The client can't be told of a failure any longer, so it is logged. If the client has left, a ``yield`` raises
    ``GeneratorExit``, as it does where a request is cancelled.
    """
    if failure is None and exchange.broken_off:
        yield from clean_up(exchange)
        return
    raised = yield from close_resources(exchange, failure)
    try:
        if raised is not None and raised is not failure:
            exchange.log_cleanup_failure(raised)
    finally:
        del failure, raised
