"""Resources of a request: providers (``routing/providers.py``) open them before a handler, and close them after it.

They are opened one after the other, each after those that it needs, and closed in reverse order: when the handler has
returned, before the hooks see its response, or at the end of the stream that it returned. The exception of the handler
is raised at a provider's ``yield``, as in ``contextlib.contextmanager``. It is answered even if a provider catches it,
unless a provider raises another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from inspect import isawaitable
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from micropie.errors import ConnectionClosed, Redirect, ResponseError
from micropie.execution import AWAIT, BLOCK, INLINE, Flow, entered_on_loop, itself
from micropie.flow.generators import RunningGenerator
from micropie.http import Exchange, Request, as_response
from micropie.routing import Provider, Route, name_of
from micropie.streams import is_stream


def open_resources(request: Request, route: Route, arguments: Sequence[Any]) -> Flow[Sequence[Any]]:
    """Open what a handler's parameters ask for. Return its arguments, complete. Raises what a provider raises."""
    in_path = dict(zip(route.wildcards or route.plan.names_in_path, request.path_params, strict=False))
    # All are bound before the first is opened: a wrong value in a query costs no connection.
    bound = [(provider, provider.plan.bind(request, (), in_path)) for provider in route.providers]
    values: dict[object, object] = {}
    for provider, own in bound:
        values[provider.key] = yield from _open(request._exchange, provider, provider.plan.with_provided(own, values))
    return route.plan.with_provided(arguments, values)


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
    if not isinstance(made, GeneratorType | AsyncGeneratorType):
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


def close_unless_streamed(exchange: Exchange, result: object) -> Flow[object]:
    """Close what a handler has used, unless its result is a stream, and return that. Raises what a provider raises."""
    if isawaitable(result):  # of a decorated ``async def``
        result = yield AWAIT, itself, (result,)
    if not is_stream(as_response(result).body):
        failure = yield from close_resources(exchange, None)
        if failure is not None:
            try:
                raise failure
            finally:
                del failure
    return result


# Exceptions that are no failures: an answer, and the client's end of a WebSocket.
_NO_FAILURES = (Redirect, ConnectionClosed)


def close_resources(exchange: Exchange, failure: Exception | None) -> Flow[Exception | None]:
    """Close all, the last one first. Return the exception to answer: that of a provider, or else ``failure``."""
    other = failure.split(ConnectionClosed)[1] if isinstance(failure, ExceptionGroup) else failure
    thrown = None if isinstance(other, _NO_FAILURES) or other is None else failure
    raised = traceback = None
    try:
        while exchange.resources:
            *exchange.resources, generator = exchange.resources
            traceback = thrown.__traceback__ if thrown is not None else None
            try:
                yield from generator.finish(None, thrown)
                continue
            except Exception as error:
                raised = error
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
