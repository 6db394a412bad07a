"""The steps of a flow, performed on the event loop and in worker threads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar, cast

import anyio

from micropie import mounts, pool
from micropie.asgi.streaming import DelayedCalls, StreamedExchange, sender_of
from micropie.errors import HTTPError
from micropie.execution import (
    ANSWER,
    AWAIT,
    BLOCK,
    CHUNK,
    CLEAN_UP_WITHIN,
    CLOSE,
    HANDLER,
    IO,
    IO_THREADS,
    POOL,
    RECEIVE,
    AnyStep,
    Flow,
    Limited,
    LoopLocal,
    LoopTasks,
    RouteKind,
    ServiceThreads,
    StepKind,
    Threads,
    TookTooLong,
    has_room,
    in_thread,
    run_tasks,
)
from micropie.flow import TASK_FLOWS, LifespanContext, end_resources
from micropie.http import Body, Exchange
from micropie.mounts import WSGI
from micropie.pool import CancelToken
from micropie.routing import config_of

# Seconds that a request which the server cancels waits for its ``def`` code, which may use what is closed then. Longer
# than that, it would keep the server from ending.
ABANDON_AFTER = 5.0

# Steps are performed for a request, or for a lifespan.
StepContext: TypeAlias = "Exchange | LifespanContext"

Value = TypeVar("Value")


async def perform(flow: Flow[Value], context: StepContext, step: AnyStep | None = None) -> Value:
    """Perform a flow's steps until it returns, or yields its answer. ``step`` is the first one, if it has begun.

    An exception of a step is thrown into the flow outside of ``except``: inside, it would become the ``__context__``
    of whatever the flow raises later.
    """
    send: Callable[[Any], AnyStep] = flow.send
    result = None
    try:
        kind, function, arguments = step or send(None)
        while kind is not ANSWER:
            resume = send
            try:
                # No coroutine around the most frequent kinds.
                if kind is AWAIT:
                    result = await function(*arguments)
                elif kind is RECEIVE:
                    result = await context.receive_piece()
                elif kind is CHUNK:
                    result = await sender_of(arguments[0], cast("StreamedExchange", context)).next()
                else:
                    result = await perform_step(kind, function, arguments, context, ABANDON_AFTER)
            except BaseException as error:  # a StopIteration of the step, too
                resume, result = flow.throw, error
            kind, function, arguments = resume(result)
        return cast("Value", arguments)
    except StopIteration as end:
        value: Value = end.value
        return value
    finally:
        result = None  # an exception's traceback refers to this frame: without this it would be a cycle


async def perform_step(
    kind: RouteKind | StepKind | Limited,
    function: Callable[..., Any],
    arguments: Sequence[Any],
    context: StepContext,
    abandon_after: float,
) -> Any:
    """Perform one step of any kind but RECEIVE and CHUNK, and return its result.

    ``abandon_after``: the seconds that a cancelled request waits for its ``def`` code. Raises ``TookTooLong`` for a
    ``Limited`` step.
    """
    if kind is AWAIT:
        return await function(*arguments)
    if kind is HANDLER:
        return await in_handler_thread(config_of(context).threads, abandon_after, function, *arguments)
    if kind is POOL:
        return await _in_pool(context, function, arguments)
    if kind is BLOCK:
        return await in_thread(config_of(context).threads, function, *arguments, abandon_after=abandon_after)
    if kind is IO:
        return await in_thread(IO_THREADS, function, *arguments)
    if isinstance(kind, ServiceThreads):
        return await in_thread(kind, function, *arguments)
    if kind is CLOSE:
        return await sender_of(arguments[0], cast("StreamedExchange", context)).close()
    if isinstance(kind, Limited):
        with anyio.move_on_after(kind.seconds):
            return await perform_step(kind.kind, function, arguments, context, 0.0)
        raise TookTooLong
    route, request, mounted_path = arguments  # kind is MOUNT
    if route.mount.kind == WSGI:
        return await mounts.wsgi_under_asgi(route.mount, route.threads, mounted_path, request._exchange)
    return await mounts.call_asgi(route.mount, mounted_path, request._exchange)


async def _in_pool(context: StepContext, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Call a handler in a process. A cancellation does not wait for the handler but ends it."""
    config, token = config_of(context), CancelToken()
    call = config.pool, config.settings.pool_timeout, context, function, arguments, token
    try:
        return await in_handler_thread(config.pool_threads, 0.0, pool.call_in_pool, *call)
    except anyio.get_cancelled_exc_class():
        token.cancel()
        raise


# Seconds: the time that a queue of the default length takes if each handler needs 40 ms.
_RETRY_AFTER = "1"


def too_many_waiting() -> HTTPError:
    """Return the 503 for a handler that would have to wait where too many do."""
    return HTTPError(503, "Too many requests are waiting. Please try again later.", [("Retry-After", _RETRY_AFTER)])


async def in_handler_thread(
    threads: Threads, abandon_after: float, function: Callable[..., Value], *arguments: object
) -> Value:
    """Call a handler as ``in_thread`` does. Raise a 503 if ``threads.queue`` handlers are waiting for a thread."""
    if not has_room(threads):
        raise too_many_waiting()
    return await in_thread(threads, function, *arguments, abandon_after=abandon_after)


_NOTHING: Final = object()
_LIFTED_SHIELDS = LoopLocal(lambda: DelayedCalls(CLEAN_UP_WITHIN))


async def shielded_at_its_end(generator: AsyncGenerator[Value]) -> AsyncGenerator[Value]:
    """Yield the value of a provider's generator. Its clean-up is not cancelled from outside, for some seconds.

    The scope is entered before the generator begins, because that may leave scopes of its own in its clean-up. After
    the seconds only the shield is lifted: a commit that nobody cancels may take longer.
    """
    with anyio.CancelScope() as scope:
        value, failure = await anext(generator, _NOTHING), None
        if value is _NOTHING:
            return
        try:
            yield cast("Value", value)
        except BaseException as error:
            failure = error
        scope.shield = True
        prevent_lifting = _LIFTED_SHIELDS.get().add(partial(setattr, scope, "shield", False))
        try:
            with suppress(StopAsyncIteration):
                await (anext(generator) if failure is None else generator.athrow(failure))
            await generator.aclose()  # one that yields twice
        finally:
            prevent_lifting()
            del failure


async def perform_cleanup(exchange: Exchange) -> None:
    """Close what a request that broke off has open; a thread is waited for also if the request is being cancelled.

    What fails, or is cancelled, does not keep the rest open. A failure is logged, a cancellation is raised at the end.
    """
    cancellations: list[BaseException] = []
    for kind, function, arguments in exchange.cleanup_steps():
        try:
            if kind is BLOCK:
                with anyio.move_on_after(CLEAN_UP_WITHIN, shield=True):
                    await perform_step(kind, function, arguments, exchange, 0.0)
            else:  # without a scope around it: a generator may have one open
                await perform_step(kind, function, arguments, exchange, 0.0)
        except Exception as error:
            exchange.log_cleanup_failure(error)
        except BaseException as error:
            cancellations = [error]
    if cancellations:
        raise cancellations.pop()


# The key in ``scope["state"]`` of the lifespan's ``LoopTasks`` for the functions of ``after_response``.
BACKGROUND: Final = "micropie.background"

# Bytes of a body that may be in a file whose closing takes long: the kernel frees 1 GiB of pages in 50 ms.
LARGE = 16 * 1024 * 1024


async def close_request(exchange: Exchange) -> None:
    """Release what the current request holds, whatever happens; in a thread if it holds a large file.

    Functions of ``after_response`` run in a task for which the lifespan waits, so that neither the server nor the
    connection's next request waits for them, and shut-down handlers do. Under a server without lifespan, the request
    waits for them.
    """
    if exchange.resources:  # of a stream; the server is done with the request, and does not cancel this
        await perform(end_resources(exchange), exchange)
    body = exchange.received
    if isinstance(body, Body) and body.size >= LARGE:
        with anyio.CancelScope(shield=True):
            await in_thread(IO_THREADS, exchange.close)
    else:
        exchange.close()
    if exchange.tasks:
        tasks: LoopTasks | None = (exchange.scope.get("state") or {}).get(BACKGROUND)
        seconds = config_of(exchange).settings.background_timeout
        if tasks is None or tasks.has_ended:  # servers copy the state, so it may outlive the lifespan
            await run_tasks(exchange, seconds, TASK_FLOWS)
        else:
            tasks.start_soon(run_tasks, exchange, seconds, TASK_FLOWS, context=exchange.context)
