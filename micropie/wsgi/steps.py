"""The steps of a flow, performed in the server's thread; async functions run on the process's event loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import anyio

from micropie import mounts, pool
from micropie.errors import websockets_need_asgi
from micropie.execution import (
    ANSWER,
    AWAIT,
    BLOCK,
    CHUNK,
    CLOSE,
    HANDLER,
    IO,
    MOUNT,
    POOL,
    RECEIVE,
    AnyStep,
    Flow,
    HandlerName,
    Limited,
    RouteKind,
    ServiceThreads,
    StepKind,
    Threads,
    TookTooLong,
    await_in_background,
    in_thread,
)
from micropie.flow import LifespanContext
from micropie.http import Exchange, Request, Response
from micropie.mounts import WSGI, MountedPath
from micropie.routing import MountRoute, config_of
from micropie.wsgi.streaming import close_stream, reader_of

# Steps are performed for a request, or for a lifespan.
StepContext: TypeAlias = "Exchange | LifespanContext"

Value = TypeVar("Value")

# Threads for calls with a time limit: the server's own thread can't be abandoned. 40, as servers with threads have.
_LIMITED_THREADS = Threads(40)


def perform(flow: Flow[Value], context: StepContext, step: AnyStep | None = None) -> Value:
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
                if kind is RECEIVE:
                    result = context.receive_piece(*arguments)
                else:
                    result = perform_step(kind, function, arguments, context)
            except BaseException as error:  # a StopIteration of the step, too
                resume, result = flow.throw, error
            kind, function, arguments = resume(result)
        return cast("Value", arguments)
    except StopIteration as end:
        value: Value = end.value
        return value
    finally:
        result = None  # an exception's traceback refers to this frame: without this it would be a cycle


def perform_step(
    kind: RouteKind | StepKind | Limited, function: Callable[..., Any], arguments: Sequence[Any], context: StepContext
) -> Any:
    """Perform one step of any kind but RECEIVE, and return its result. Raises ``TookTooLong`` for a ``Limited`` one."""
    if kind is AWAIT:
        return await_in_background(context.config.settings.portal_backend, function, arguments)
    if kind is IO or kind is BLOCK or kind is HANDLER:
        return function(*arguments)
    if kind is POOL:
        config = config_of(context)
        exchange = cast("Exchange", context)
        return pool.call_in_pool(
            config.pool, config.settings.pool_timeout, exchange, cast("HandlerName", function), arguments
        )
    if isinstance(kind, ServiceThreads):
        return kind.call(function, arguments)
    backend = context.config.settings.portal_backend
    if kind is CHUNK:
        return reader_of(arguments[0], backend).next()
    if kind is CLOSE:
        return close_stream(arguments[0], backend)
    if kind is MOUNT:
        return _answer_of_mount(*arguments)
    assert isinstance(kind, Limited)  # noqa: S101
    if kind.kind is MOUNT:
        route, request, mounted_path = arguments
        return _answer_of_mount(route, request, mounted_path, kind.seconds)
    return await_in_background(backend, _perform_limited, (kind, function, arguments))


def _answer_of_mount(
    route: MountRoute, request: Request, mounted_path: MountedPath, seconds: float | None = None
) -> Response:
    """Return the response of a mounted application, an ASGI application's within ``seconds`` and ``mount_timeout``."""
    exchange = request._exchange
    if route.mount.kind == WSGI:
        return mounts.wsgi_under_wsgi(route.mount, mounted_path, exchange)
    if exchange.method == "GET" and "websocket" in (exchange.environ or {}).get("HTTP_UPGRADE", "").lower():
        raise websockets_need_asgi()  # the application would take the handshake for a plain GET
    if exchange.has_short_body and exchange.body_so_far() is None:
        exchange.put_back = exchange.receive_piece()  # here it needs no other thread
    settings = route.config.settings
    seconds = min((limit for limit in (seconds, settings.mount_timeout) if limit is not None), default=None)
    response: Response = await_in_background(
        settings.portal_backend, mounts.call_asgi, (route.mount, mounted_path, exchange, seconds)
    )
    return response


async def _perform_limited(kind: Limited, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Perform a step with a time limit, on the background loop or in a thread that can be abandoned."""
    with anyio.move_on_after(kind.seconds):
        if kind.kind is AWAIT:
            return await function(*arguments)
        return await in_thread(_LIMITED_THREADS, function, *arguments, abandon_after=0.0)
    raise TookTooLong
