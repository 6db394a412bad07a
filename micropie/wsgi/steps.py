"""Perform the steps of a flow in the server's thread. Async functions run on the background
loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError
from functools import partial
from typing import Any

from micropie._core import execution
from micropie._core.execution import await_in_background, in_thread
from micropie._core.execution.cancellation import cancelled_after
from micropie._core.execution.lane import CANCELLED, AsyncLane, Interrupted
from micropie._core.execution.placement import AnyFunction, Threads
from micropie._core.execution.steps import (
    ANSWER,
    AWAIT,
    CHUNK,
    CLOSE,
    ON_LOOP,
    RECEIVE,
    AnyStep,
    Flow,
    Resume,
    resume_async,
)
from micropie._core.flow import unwound
from micropie._core.http import Exchange
from micropie._core.on_demand import Value
from micropie.wsgi.streaming import close_stream, reader_of

# Threads for calls with a time limit, because the server's own thread can't be abandoned. Forty are
# enough for a threaded server.
_LIMITED_THREADS = Threads(40)


def perform(
    flow: Flow[Value],
    exchange: Exchange,
    step: AnyStep | None = None,
    *,
    contains_exit: bool = False,
) -> Value:
    """Perform a flow's steps until it returns a value or yields its ``Answer``. Return that value
    or ``Answer``.

    ``step``: the step that the flow has yielded, if it has begun already.

    ``contains_exit``: whether ``SystemExit`` is a failure of the flow, although there is no
    ``step``. Otherwise it ends the process, for example after a command.

    An exception of a step is thrown into the flow after the ``except`` block. Inside the block, it
    would become the ``__context__`` of exceptions that the flow raises later.
    """
    send: Resume = flow.send
    result = None
    try:
        kind, function, arguments = step or send(None)
        while kind is not ANSWER:
            resume = send
            try:
                # Perform the most frequent kinds here, which saves a function call.
                if kind is AWAIT:
                    backend = exchange.config.settings.portal_backend
                    lane = exchange.lane
                    if lane is not None:
                        lane = _free_lane(lane, function, arguments)
                    elif exchange.is_special or (exchange.hooks and exchange.hooks.has_async):
                        lane = exchange.lane = AsyncLane(exchange)
                    result = await_in_background(backend, function, arguments, lane)
                elif kind is RECEIVE:
                    result = exchange.receive_piece(*arguments)
                else:
                    result = perform_step(kind, function, arguments, exchange)
            except Exception as error:  # also StopIteration, which would look like the flow's end
                resume, result = flow.throw, error
                if error.__class__ is Interrupted:
                    result = unwound_after(error, exchange)
            except BaseException as error:
                resume = flow.throw
                result = ((step or contains_exit) and execution.failure_of(error)) or error
            kind, function, arguments = resume(result)
        value: Value = arguments
    except StopIteration as end:
        value = end.value
    finally:
        # avoid a reference cycle with this frame
        result = None
    return value


async def perform_in_task(flow: Flow[Value], call: Callable[..., Awaitable[Any]]) -> Value:
    """Run a flow in the current task, and return its result. ``call(*step)`` performs a step of any
    kind except AWAIT.
    """
    resume: Resume = flow.send
    result: object = None
    try:
        while True:
            kind, function, arguments = step = resume(result)
            resume, result = flow.send, None
            try:
                result = await (function(*arguments) if kind is AWAIT else call(*step))
            except BaseException as error:
                resume, result = flow.throw, error
    except StopIteration as end:
        value: Value = end.value
        return value
    finally:
        result = None  # avoid a reference cycle with this frame


def _free_lane(
    lane: AsyncLane, function: AnyFunction, arguments: Sequence[Any]
) -> AsyncLane | None:
    """Return a request's ``lane`` for its next async part, or None if a stream occupies it, or if
    the event loop has ended.

    Raises ``Interrupted`` if its task was cancelled by a scope around the ``yield`` of a generator
    during a ``def`` part, and this part resumes a generator, unless the ``def`` part has failed.
    """
    if lane.is_busy or lane.is_over:
        return None
    cancellation = lane.interruption
    if cancellation is not None and function is resume_async:
        lane.interruption = None
        if not arguments[2]:
            raise Interrupted(cancellation)
    return lane


def unwound_after(error: Interrupted, exchange: Exchange) -> Exception:
    """Return the exception to throw into the flow after an async part was cancelled."""
    cancellation, lane = error.__cause__, exchange.lane
    try:
        failure = None
        if lane is not None and not lane.is_over:
            assert cancellation is not None  # noqa: S101
            failure = perform(unwound(exchange, cancellation), exchange)
            lane.interruption = None  # the task may have got the same cancellation again
        if failure is None:
            failure = CancelledError(CANCELLED)
            failure.__cause__ = cancellation
        return failure
    finally:
        del error, cancellation, failure  # avoid reference cycles with this frame


def perform_step(
    kind: Any, function: AnyFunction, arguments: Sequence[Any], exchange: Exchange
) -> Any:
    """Perform one step of any kind except AWAIT and RECEIVE, and return its result."""
    backend = exchange.config.settings.portal_backend
    if kind is CHUNK:
        return reader_of(arguments[0], exchange).take()
    if kind is ON_LOOP:
        return function(*arguments)
    if kind is CLOSE:
        return close_stream(arguments[0], backend)
    threads, seconds = kind.threads, kind.seconds
    if seconds is not None:
        in_a_thread = partial(
            in_thread,
            _LIMITED_THREADS,
            function,
            abandon_after=0.0,
            on_left=exchange.note_left_call,
        )
        return await_in_background(backend, cancelled_after, (seconds, in_a_thread, arguments, 0.0))
    return function(*arguments) if threads is None else threads.call(function, arguments)
