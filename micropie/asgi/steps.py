"""Perform the steps of a flow on the event loop and in worker threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, cast

import anyio

from micropie._core import execution
from micropie._core.execution import (
    CLEAN_UP_WITHIN,
    TASKS,
    Action,
    LoopLocal,
    LoopTasks,
    TaskWaiter,
    in_thread,
    slots_of,
)
from micropie._core.execution.call_steps import in_this_thread
from micropie._core.execution.cancellation import cancelled_after
from micropie._core.execution.lane import Held, forget_lane, lane_of, until_ended
from micropie._core.execution.placement import IO_THREADS, Rank
from micropie._core.execution.steps import (
    ANSWER,
    AWAIT,
    CALL,
    CHUNK,
    CLOSE,
    ON_LOOP,
    RECEIVE,
    RELEASE,
    AnyStep,
    Call,
    Ends,
    Flow,
    Resume,
    Step,
    itself,
    no_function,
    run_tasks,
)
from micropie._core.flow import LifespanContext, end_resources, unwound
from micropie._core.http import BodyReader, Exchange
from micropie._core.http.protocols import Receive, Scope, Send
from micropie._core.on_demand import Value
from micropie._core.routing import config_of
from micropie.asgi.streaming import StreamedExchange, StreamSender, close_stream
from micropie.asgi.thread_run import ThreadRun

# The steps for which a request gives its slot back.
_WAITS = frozenset({AWAIT, RECEIVE, CHUNK, CLOSE, ANSWER})

_LEFT_AT_ONCE = Call(leave_after=0.0, releases=True)

# The tasks that close resources when a call that has used them has ended. The lifespan waits for
# them, but not for long, because the call may never end.
LEFT = LoopLocal(LoopTasks)


async def perform(flow: Flow[Value], exchange: Exchange, step: AnyStep | None = None) -> Value:
    """Perform a flow's steps until it returns a value or yields its ``Answer``. Return that value
    or ``Answer``.

    ``step``: the step that the flow has yielded, if it has begun already.

    Successive calls in the application's threads keep the slot of the first call, so only the first
    call has to wait until a thread is free.

    An exception of a step is thrown into the flow after the ``except`` block. Inside the block, it
    would become the ``__context__`` of exceptions that the flow raises later.
    """
    send: Resume = flow.send
    held = Held()
    try:
        kind, function, arguments = step or send(None)
        while kind is not ANSWER:
            resume = send
            try:
                # Perform the most frequent kinds here, which saves creating a coroutine.
                if kind is AWAIT:
                    result = await function(*arguments)
                elif kind is RECEIVE:
                    result = await exchange.receive_piece()
                elif kind is CHUNK:
                    sender = StreamSender(arguments[0], cast("StreamedExchange", exchange))
                    result = await sender.advance(arguments[0].first_chunk())
                else:
                    run, result = await perform_step(
                        kind, function, arguments, exchange, held, flow
                    )
                    resume = send if run is None else itself
            except Exception as error:  # also StopIteration, which would look like the flow's end
                resume, result = flow.throw, error
            except BaseException as error:
                failure = await failure_of_step(exchange, error, step is not None)
                resume, result = flow.throw, failure
                del failure  # avoid a reference cycle with this frame
            kind, function, arguments = resume(result)
            if held and kind in _WAITS:
                held.pop().give()
        value: Value = arguments
    except StopIteration as end:
        value = end.value
    finally:
        if held or held.tokens is not None:
            # a generator that is still open ends later, in the same lane, as do a WebSocket's hooks
            has_any = exchange.generators or exchange.resources
            is_over = not (exchange.hooks_begun or (has_any and exchange.open_generators()))
            exchange.tokens = None if is_over else held.tokens or exchange.tokens
            held.end(is_over=is_over)
        # avoid a reference cycle with this frame
        result = None
    return value


async def failure_of_step(
    exchange: Exchange, error: BaseException, is_outermost: bool = True
) -> BaseException:
    """Return the exception to throw into the flow after a step has raised ``error``, which is not
    an ``Exception``. This is ``error`` itself, unless an ``Exception`` replaces it.

    ``is_outermost``: False if code of the application surrounds the step. Open generators don't
    count as such code.
    """
    if isinstance(exchange, LifespanContext) and isinstance(error, SystemExit):
        return error
    failure = execution.failure_of(error)
    if failure is not None:
        return failure
    if isinstance(error, BaseExceptionGroup) and not isinstance(exchange, LifespanContext):
        error, failure = _cancellation_alone(error)
        if failure is not None:
            exchange.log_failure(f"{exchange.label}: it failed while it was cancelled", failure)
    if not is_outermost or not execution.is_being_cancelled():
        return error
    flow = unwound(exchange, error)
    step: Any = None
    result: object = None
    try:
        while True:
            step, result = flow.send(result), None
            if step[0] is AWAIT:
                result = await step[1](*step[2])
            else:
                with suppress(anyio.get_cancelled_exc_class()):
                    await perform_cleanup(exchange, [step])
    except StopIteration as end:
        return end.value or error
    finally:
        # avoid a reference cycle: since Python 3.12, the exceptions' tracebacks refer to this frame
        del error, failure, step, result


def _cancellation_alone(
    group: BaseExceptionGroup[BaseException],
) -> tuple[BaseException, Exception | None]:
    """For a group that ``failure_of`` doesn't replace, return one of its cancellations, and the
    exception to log in place of everything else. Return the group and None if something else in it
    must reach the server.

    Under trio, exceptions that leave the application beside a cancellation end the server.
    """
    cancellations, rest = group.split(anyio.get_cancelled_exc_class())
    failure = None if rest is None else execution.failure_of(rest)
    if cancellations is None or (rest is not None and failure is None):
        return group, None
    cancellation: BaseException = cancellations
    while isinstance(cancellation, BaseExceptionGroup):
        cancellation = cancellation.exceptions[0]
    return cancellation, failure


async def perform_step(  # noqa: C901 - each branch is a kind of call
    kind: Any,
    function: Callable[..., Any],
    arguments: Sequence[Any],
    exchange: Exchange,
    held: Held | None = None,
    flow: Flow[object] | None = None,
) -> tuple[ThreadRun | None, object]:
    """Perform one step of any kind except RECEIVE, CHUNK and ANSWER. Return None and its result.

    ``held``: if the previous call has kept its slot for the next call, this list contains the
    ``Slots`` of that slot. Otherwise, it is empty.

    ``flow``: if given, and the request may have more ``def`` parts, the thread that has performed a
    call goes on with this flow. In that case, return the ``ThreadRun`` and the first step of the
    flow that the thread can't perform.
    """
    if kind.__class__ is not Call:
        if kind is AWAIT:
            return None, await function(*arguments)
        if kind is ON_LOOP:
            return None, function(*arguments)
        await close_stream(arguments[0], cast("StreamedExchange", exchange))
        return None, None
    threads, is_queued, leave_after, seconds, releases = kind
    slots = slots_of(threads or exchange.config.threads)
    if held and held[0] is not slots:
        held.pop().give()
    if function is in_this_thread:
        return None, await slots.perform(arguments[0], leave_after)
    rank = Rank.QUEUED if is_queued else Rank.WAITING
    if threads is not None:
        held = None
    elif releases:
        rank = Rank.RELEASING
    elif exchange.has_begun:
        rank = exchange.rank
    lane = run = stop = None
    if seconds is not None:  # not in the lane, which the rest of the request needs afterwards
        given = function, arguments, 0.0, rank, held, None, exchange.note_left_call
        # without a grace, because ``from_thread.check_cancelled`` looks at the scopes only
        result = await cancelled_after(seconds, slots.call, given, 0.0)
    else:
        if threads is None and (
            flow is None
            or exchange.hooks
            or exchange.is_special
            or exchange.config.error_handlers
            or (exchange.route is not None and exchange.route.is_special)
        ):  # otherwise, the handler is the only `def` part
            lane = lane_of(exchange)
            if held is not None and held.tokens is None:
                held.tokens = exchange.tokens
            if flow is not None:
                run = ThreadRun(flow, exchange, function, arguments)
                function, arguments, stop = run.perform, (), run.stop
        result = await slots.call(
            function, arguments, leave_after, rank, held, lane, exchange.note_left_call, stop
        )
    if held and not exchange.has_begun:
        exchange.note_begin()
    return run, result


async def perform_cleanup(exchange: Exchange, steps: Iterable[Step]) -> None:
    """Perform steps that close everything that an aborted request still has open, such as those of
    ``cleanup_steps``.

    Steps that run in threads are awaited even if the request is being cancelled.

    If one step fails or is cancelled, the others are still performed. A failure is logged, and a
    cancellation is raised at the end.
    """
    cancellations: list[BaseException] = []
    for kind, function, arguments in steps:
        try:
            if kind is RELEASE:
                with anyio.move_on_after(CLEAN_UP_WITHIN, shield=True):
                    await perform_step(_LEFT_AT_ONCE, function, arguments, exchange)
            else:  # without a cancel scope, because a generator may have one open
                await perform_step(kind, function, arguments, exchange)
        except BaseException as error:
            failure = error if isinstance(error, Exception) else execution.failure_of(error)
            if failure is None:
                cancellations = [error]
            else:
                exchange.log_cleanup_failure(failure)
            del failure  # avoid a reference cycle with this frame
    if not exchange.open_generators():
        exchange.tokens = None
        forget_lane()
    if cancellations:
        raise cancellations.pop()


async def _end_after_call(exchange: Exchange, is_waited_for: bool) -> None:
    """Close the resources of a request when the call that still uses them has ended.

    ``is_waited_for``: whether the server waits for this task at shutdown. The call may never end,
    so then wait for it only as long as after a cancellation.
    """
    ending, exchange.ending = exchange.ending, None
    assert ending is not None  # noqa: S101
    waiter, forget = TaskWaiter(), cast("Action", no_function)
    try:
        exchange.when_unused(waiter.wake)
        if is_waited_for:
            forget = config_of(exchange).shutdown.add(waiter.wake)
        await waiter.wait()
        if exchange.is_in_use:
            with anyio.move_on_after(CALL.leave_after):
                await until_ended(exchange.when_unused)
    finally:
        forget()
        await perform(ending, exchange)
        exchange.resources = None  # avoid a reference cycle


async def call_mounted(target: Any, scope: Scope, receive: Receive, send: Send) -> None:
    """Call a mounted application, which responds itself. If it raises ``SystemExit``, raise an
    ``Exception`` in its place, because only one connection has failed.
    """
    try:
        await target(scope, receive, send)
    except BaseException as error:
        raise execution.contained(error)  # noqa: B904 - it has its cause


# The key in ``scope["state"]`` under which the lifespan stores its ``LoopTasks``, which run the
# functions passed to ``after_response``.
BACKGROUND = "micropie.background"

# Size in bytes. A larger body may be in a file that takes long to close: the kernel needs 50 ms to
# free the memory pages of 1 GiB.
LARGE = 4 * 1024 * 1024


async def close_request(exchange: Exchange) -> None:
    """Release everything that the current request holds. If the request holds a large file, do so
    in a thread.

    Functions passed to ``after_response`` run in a separate task. The server and the connection's
    next request don't wait for this task. The lifespan waits for it before shutdown handlers run.
    Under a server without lifespan, the request itself waits for the functions.
    """
    try:
        if exchange.resources:
            await _close_resources(exchange)
    finally:
        body = exchange.body.data
        try:
            if isinstance(body, BodyReader) and body.size >= LARGE:
                with anyio.CancelScope(shield=True):
                    await in_thread(IO_THREADS, exchange.close)
        finally:
            exchange.close()  # does nothing the second time
            if exchange.ends is not None:  # ``after_response`` was called
                await _run_tasks(exchange, exchange.ends)


async def _close_resources(exchange: Exchange) -> None:
    """Close the resources of a stream, and those that an abandoned call has used."""
    try:
        await perform(end_resources(exchange), exchange)
    except BaseException:  # the server cancels the request
        await perform_cleanup(exchange, exchange.cleanup_steps())
        raise
    exchange.tokens = None  # avoid a reference cycle
    if exchange.ending is not None:
        if any(one.is_of_task for one in exchange.resources or ()):
            await _end_after_call(exchange, True)
        else:
            LEFT.get().start_soon(_end_after_call, exchange, False)
            forget_lane()


def lifespan_tasks(scope: Scope) -> LoopTasks | None:
    """Return what starts the tasks that the lifespan waits for, or None under a server without
    lifespan.
    """
    lifespan: LoopTasks | None = (scope.get("state") or {}).get(BACKGROUND)
    # Servers copy the state, so it may belong to a lifespan that has already ended.
    return None if lifespan is None or lifespan.has_ended else lifespan


async def _run_tasks(exchange: Exchange, ends: Ends) -> None:
    lifespan = lifespan_tasks(exchange.scope)
    seconds = exchange.config.settings.background_timeout
    if lifespan is not None:
        lifespan.start_soon(run_tasks, exchange, ends, seconds, context=ends.context)
        return
    # Start a task here as well: no scope can shield this one from asyncio's ``Task.cancel``.
    ended = anyio.Event()
    TASKS.get().start_soon(run_tasks, exchange, ends, seconds, ended.set, context=ends.context)
    with anyio.CancelScope(shield=True):
        await ended.wait()
