"""What type checkers must refuse in a flow. mypy reads this file and nothing runs it: an error that no longer occurs is
an unused ``type: ignore``, which ``warn_unused_ignores`` reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from micropie.execution.steps import (
    AWAIT,
    BLOCK,
    CHUNK,
    HANDLER,
    IO,
    MOUNT,
    RECEIVE_STEP,
    Flow,
    Limited,
    call,
    itself,
    kind_of,
    no_function,
)
from micropie.http.request import Request
from micropie.routing.routes import Route
from micropie.routing.site import Handover, Site, delegate_route
from micropie.streams.source import Stream


async def asynchronous(number: int) -> int:
    return number


def blocking(number: int) -> int:
    return number


def right_steps(stream: Stream, route: Route, request: Request, arguments: Sequence[object]) -> Flow[int]:
    yield AWAIT, asynchronous, (1,)
    yield BLOCK, blocking, (1,)
    yield IO, blocking, (1,)
    yield CHUNK, no_function, (stream,)
    yield RECEIVE_STEP
    yield MOUNT, no_function, delegate_route(request)
    yield route.step_kind, route.call, arguments
    yield Limited(route.limited_step_kind, 1.0), route.call, arguments
    yield Limited(AWAIT, 1.0), itself, (asynchronous(1),)
    yield from call(kind_of(blocking), blocking, 1)
    return 1


def a_wrong_kind() -> Flow[None]:
    yield "blok", blocking, (1,)  # type: ignore[misc]


def a_function_that_is_not_awaitable() -> Flow[None]:
    yield AWAIT, blocking, (1,)  # type: ignore[misc]


def no_function_at_all() -> Flow[None]:
    yield BLOCK, 5, ()  # type: ignore[misc]


def arguments_that_are_no_sequence() -> Flow[None]:
    yield BLOCK, blocking, 1  # type: ignore[misc]


def a_mount_without_its_path(route: Route, request: Request) -> Flow[None]:
    yield MOUNT, no_function, (route, request)  # type: ignore[misc]


def the_kind_of_a_route_for_a_function_without_one(function: Callable[[int], int]) -> Flow[None]:
    yield HANDLER, function, (1,)  # type: ignore[misc]


def a_limit_of_what_has_none() -> Limited:
    return Limited(CHUNK, 1.0)  # type: ignore[arg-type]


def another_result() -> Flow[int]:
    yield RECEIVE_STEP
    return "text"  # type: ignore[return-value]


def a_handover_is_no_route(site: Site, request: Request) -> Route:
    found = site.find(request)
    assert not isinstance(found, Handover)
    return found[1]  # type: ignore[return-value]
