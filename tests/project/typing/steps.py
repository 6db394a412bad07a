"""What type checkers must refuse in a flow. mypy reads this file and nothing runs it: an error that
no longer occurs is an unused ``type: ignore``, which ``warn_unused_ignores`` reports.
"""

from __future__ import annotations

from collections.abc import Sequence

from micropie._core.execution.placement import ServiceThreads, Threads
from micropie._core.execution.steps.steps import (
    AWAIT,
    CALL,
    CHUNK,
    HANDLER,
    IO,
    RECEIVE_STEP,
    Call,
    Flow,
    call,
    call_within,
    kind_of,
    no_function,
)
from micropie._core.http.request import Request
from micropie._core.routing.routes import Route
from micropie._core.routing.site import Site
from micropie._core.streams.source import Stream


async def asynchronous(number: int) -> int:
    return number


def blocking(number: int) -> int:
    return number


def right_steps(stream: Stream, route: Route, arguments: Sequence[object]) -> Flow[int]:
    yield AWAIT, asynchronous, (1,)
    yield CALL, blocking, (1,)
    yield HANDLER, blocking, (1,)
    yield IO, blocking, (1,)
    yield Call(Threads(4, queue=10), is_queued=True, leave_after=0.0, seconds=1.0), blocking, (1,)
    yield CHUNK, no_function, (stream,)
    yield RECEIVE_STEP
    yield route.step_kind, route.call, arguments
    yield from call_within(1.0, route.limited_step_kind, route.call, *arguments)
    yield from call(kind_of(blocking, Call(ServiceThreads())), blocking, 1)
    return 1


def a_wrong_kind() -> Flow[None]:
    yield "blok", blocking, (1,)  # type: ignore[misc]


def a_function_that_is_not_awaitable() -> Flow[None]:
    yield AWAIT, blocking, (1,)  # type: ignore[misc]


def no_function_at_all() -> Flow[None]:
    yield CALL, 5, ()  # type: ignore[misc]


def arguments_that_are_no_sequence() -> Flow[None]:
    yield CALL, blocking, 1  # type: ignore[misc]


def a_chunk_of_two_streams(stream: Stream) -> Flow[None]:
    yield CHUNK, no_function, (stream, stream)  # type: ignore[misc]


def a_limit_of_what_has_none() -> Flow[None]:
    yield from call_within(1.0, CHUNK, no_function)  # type: ignore[arg-type]


def another_result() -> Flow[int]:
    yield RECEIVE_STEP
    return "text"  # type: ignore[return-value]


def the_arguments_are_no_route(site: Site, request: Request) -> Route:
    return site.find(request)[1]  # type: ignore[return-value]
