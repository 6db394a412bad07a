"""Resources of a request: providers (``routing/providers.py``) open them, and close them when nobody needs them.

They are opened one after the other, each after those that it needs, and closed in reverse order: those of a handler
when it has returned, before the hooks see its response, or at the end of the stream that it returned; those of a hook
when it has ended; those of an error handler or of a function after the response when that has returned. What is open
already is shared. The exception of the function is raised at a provider's ``yield``, as in
``contextlib.contextmanager``. It is answered even if a provider catches it, unless a provider raises another one. A
result is filtered by its annotation while they are open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from micropie.binding import ResultFilter
from micropie.errors import ConnectionClosed, HTTPError, Redirect, ResponseError, raise_any
from micropie.execution import (
    AWAIT,
    CALL,
    INLINE,
    Call,
    Flow,
    Kind,
    RunningGenerator,
    TaskFlows,
    awaited,
    call,
    entered_on_loop,
)
from micropie.http import EncodedAnswer, Exchange, Request, Response, as_response, is_html, states_status
from micropie.routing import Asking, Handover, Provider, Route, handlers_route, name_of
from micropie.streams import is_stream


def open_resources(request: Request, route: Route, arguments: Sequence[Any]) -> Flow[Sequence[Any]]:
    """Open what a handler's parameters ask for. Return its arguments, complete. Raises what a provider raises."""
    values = yield from _opened(request, route.providers)
    return route.plan.with_provided(arguments, {one.key: values[one] for one in route.providers})


def open_asked(request: Request, asking: Asking) -> Flow[dict[str, object]]:
    """Open what the parameters of another function ask for, and return that by their names."""
    values = yield from _opened(request, asking.providers)
    return {name: values[one] for name, one in asking.asked.items()}


def call_asking(
    request: Request, asking: Asking | None, kind: Kind, function: Callable[..., object], *arguments: object
) -> Flow[Any]:
    """Call a function with the resources that it asks for, and return its result, which may be a stream of these."""
    if asking is None:
        return (yield from call(kind, function, *arguments))
    exchange, failure = request._exchange, None
    try:
        given = yield from open_asked(request, asking)
        result = yield from call(kind, partial(function, **given), *arguments)
        return (yield from close_unless_streamed(exchange, result, asking.providers))
    except Exception as error:
        failure = error
    try:
        raise_any((yield from close_resources(exchange, failure)))
    finally:
        del failure


def _opened(request: Request, providers: Sequence[Provider]) -> Flow[Mapping[Any, object]]:
    """Open what the request has not yet, and return all that it has."""
    exchange = request._exchange
    values = exchange.provided
    missing = [one for one in providers if one not in values] if values else providers
    if missing:
        exchange.provided = values = {**values}
        route = handlers_route(exchange)
        names = (route.wildcards or route.plan.names_in_path) if route is not None else ()
        in_path = dict(zip(names, request.path_params, strict=False))
        # All are bound before the first is opened: a wrong value in a query costs no connection.
        bound = [(one, one.plan.bind(request, (), in_path)) for one in missing]
        exchange.at_end()
        for provider, own in bound:
            arguments = provider.plan.with_provided(own, {one.key: values[one] for one in provider.needs})
            values[provider] = yield from _open(exchange, provider, arguments)
    return values


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
        made = yield CALL, function, arguments
    if not hasattr(type(made), "__aenter__"):  # some can be awaited as well
        made = yield from awaited(made)
    if hasattr(type(made), "__aenter__"):
        manager = made
        made = entered_on_loop(lambda: manager)
    elif hasattr(type(made), "__enter__"):
        made = _entered(made)
    if isinstance(made, AsyncGeneratorType):
        made = exchange.shielded(made)
    elif not isinstance(made, GeneratorType):
        return made
    generator = RunningGenerator(made, provider.run_kind, provider)
    exchange.resources = [*exchange.resources, generator]
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
    result = yield from awaited(result)
    if result_filter.passes(result) or isinstance(result, _WHOLE) or is_stream(result):
        return result
    if isinstance(result, tuple) and states_status(result):
        status, body, *headers = result
        return status, None if body is None else (yield from filtered(route, result_filter, body)), *headers
    if isinstance(route.step_kind, Call) and not route.is_pooled:
        return (yield CALL, result_filter.make, (result,))
    return result_filter.make(result)


def close_unless_streamed(exchange: Exchange, result: object, providers: Sequence[Provider]) -> Flow[object]:
    """Close what nobody needs any longer, and return ``result``. Raises what a provider raises.

    A result that is a stream needs the resources of these providers until its end.
    """
    result = yield from awaited(result)
    response = as_response(result)
    if is_stream(response.body):
        exchange.needed = [*exchange.needed, (None, providers)]
    raise_any((yield from close_resources(exchange, None)))
    if is_html(response.body):  # made of values that may need what is closed now
        return response.body if is_html(result) else response
    return result


# Exceptions that are no failures: an answer, and the client's end of a WebSocket.
_NO_FAILURES = (Redirect, ConnectionClosed)


def close_resources(exchange: Exchange, failure: Exception | None) -> Flow[Exception | None]:
    """Close all that nobody needs, the last one first. Return the exception to answer: that of a provider, or else
    ``failure``.
    """
    other = failure.split(ConnectionClosed)[1] if isinstance(failure, ExceptionGroup) else failure
    thrown = None if isinstance(other, _NO_FAILURES) or other is None else failure
    raised = traceback = None
    try:
        while (generator := _next_to_close(exchange)) is not None:
            raised, traceback = None, thrown.__traceback__ if thrown is not None else None
            try:
                yield from generator.finish(None, thrown)
            except Exception as error:
                raised = error
            # Now: one that a cancellation has kept from beginning its end is closed later.
            exchange.resources = [one for one in exchange.resources if one is not generator]
            exchange.provided = {
                one: value
                for one, value in exchange.provided.items()
                if one is not generator.owner and generator.owner not in one.needs
            }
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


def _next_to_close(exchange: Exchange) -> Any:
    """Return the last resource that is open and not needed. An async one waits for those inside it.

    It may have a scope open, which can't be left before a scope that was entered later.
    """
    if not exchange.needed:
        return exchange.resources[-1] if exchange.resources else None
    needed = {provider for _, providers in exchange.needed for provider in providers}
    is_scope_open = False
    for generator in reversed(exchange.resources):
        owner = generator.owner
        if owner not in needed and not (generator.is_async and is_scope_open):
            return generator
        needed |= {owner, *owner.needs}
        is_scope_open = is_scope_open or generator.is_async
    return None


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
    if failure is None and exchange.answer.is_broken_off:
        yield from clean_up(exchange)
        return
    exchange.needed = ()
    yield from close_and_log(exchange, failure)


def close_and_log(exchange: Exchange, failure: Exception | None) -> Flow[None]:
    """Close what nobody needs after a function that has failed with ``failure``. Log the failures of providers."""
    raised = yield from close_resources(exchange, failure)
    try:
        if raised is not None and raised is not failure:
            exchange.log_cleanup_failure(raised)
    finally:
        del failure, raised


TASK_FLOWS = TaskFlows(open_asked, close_and_log)  # of functions after the response
