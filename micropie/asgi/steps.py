"""The steps of a flow, performed on the event loop and in worker threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from anyio import CancelScope, move_on_after

from micropie.asgi.streaming import close_stream, next_chunk
from micropie.execution.background import run_tasks
from micropie.execution.loop import CLEAN_UP_WITHIN, perform_limited
from micropie.execution.remote import CancelToken
from micropie.execution.steps import AWAIT, BLOCK, CHUNK, CLOSE, HANDLER, IO, MOUNT, POOL, RECEIVE, Flow, Limited, Step
from micropie.execution.threads import IO_THREADS, in_handler_thread, in_thread, interrupting
from micropie.flow.pooled import call_in_pool
from micropie.http.body import Body
from micropie.http.response import Response
from micropie.mounts.asgi_in_asgi import answer_of_asgi
from micropie.mounts.prefixes import WSGI, MountedPath
from micropie.mounts.wsgi_in_asgi import answer_of_wsgi
from micropie.routing.config import AppConfig
from micropie.routing.site import MountRoute

if TYPE_CHECKING:
    from micropie.asgi.request import ASGIRequest


Value = TypeVar("Value")


class StepContext(Protocol):
    """What steps need to be performed: a request, or what stands for one at start-up."""

    config: AppConfig

    def receive_nowait(self) -> tuple[bytes, bool] | None:
        """The next piece of the body and whether more may follow, if it has arrived."""

    async def receive_waiting(self) -> tuple[bytes, bool]:
        """The same, when the first gave None."""


async def perform(flow: Flow[Value], context: StepContext) -> Value:
    """Perform a flow's steps until it returns.

    What a step raises is thrown into the flow outside of ``except``, or it would become the ``__context__`` of
    whatever the flow raises later.
    """
    resume: Callable[[Any], Step] = flow.send
    result: Any = None
    try:
        while True:
            try:
                kind, function, arguments = resume(result)
            except StopIteration as end:
                value: Value = end.value
                return value
            resume = flow.send
            try:
                if kind is AWAIT:  # the most frequent, and what may take hours: a WebSocket's handler
                    result = await function(*arguments)
                elif kind is RECEIVE:
                    result = context.receive_nowait() or await context.receive_waiting()
                else:
                    result = await perform_step(kind, function, arguments, context)
            except BaseException as error:
                resume, result = flow.throw, error
    finally:
        result = None  # an exception's traceback refers to this frame: without this it would be a cycle


async def perform_step(
    kind: str | Limited, function: Callable[..., Any], arguments: Sequence[Any], context: StepContext
) -> Any:
    """Perform one step, any but RECEIVE."""
    if kind is AWAIT:
        return await function(*arguments)
    if kind is HANDLER:
        return await in_handler_thread(context.config.threads, function, *arguments)
    if kind is POOL:
        return await _perform_in_pool(function, arguments, cast("ASGIRequest", context))
    if kind is BLOCK:
        return await in_thread(context.config.threads, function, *arguments)
    if kind is IO:
        return await in_thread(IO_THREADS, function, *arguments)
    if kind is CHUNK:
        return await next_chunk(arguments[0], cast("ASGIRequest", context))
    if kind is CLOSE:
        return await close_stream(arguments[0], context.config)
    if kind is MOUNT:
        return await answer_of(*arguments)
    return await _perform_limited(cast(Limited, kind), function, arguments, context)


async def _perform_limited(
    kind: Limited, function: Callable[..., Any], arguments: Sequence[Any], context: StepContext
) -> Any:
    if kind.kind is MOUNT:
        kind, function = Limited(AWAIT, kind.seconds), answer_of
    abandonable = partial(in_handler_thread, context.config.threads, abandon_on_cancel=True)
    return await perform_limited(kind, function, arguments, abandonable)


async def _perform_in_pool(name: Any, arguments: Sequence[Any], request: ASGIRequest) -> Any:
    """Call a handler in the pool; a cancellation does not wait for it but ends it."""
    token = CancelToken()
    with interrupting(token.cancel):
        return await in_handler_thread(
            request.config.pool_threads, call_in_pool, request, name, arguments, token, abandon_on_cancel=True
        )


async def clean_up(step: Step, context: StepContext) -> None:
    """Perform a step of a request that is being cancelled: a thread is waited for all the same."""
    if step[0] is not BLOCK:  # and no scope around it: a generator may have one open
        await perform_step(*step, context)
        return
    with move_on_after(CLEAN_UP_WITHIN, shield=True):
        await perform_step(*step, context)


# Bytes of a body that may have become a file whose closing takes long: 50 ms for each GiB, in which the kernel gives
# up its pages.
LARGE = 16 * 1024 * 1024


async def close_request(request: ASGIRequest) -> None:
    """Release what a request holds, whatever happens; off the loop if it holds a large file.

    What it does after its answer runs in the lifespan's task group, so that neither the server nor the connection's
    next request waits for it, and shut-down handlers do. A server without lifespan waits.
    """
    body = request._received
    if isinstance(body, Body) and body.size >= LARGE:
        with CancelScope(shield=True):
            await in_thread(IO_THREADS, request.close)
    else:
        request.close()
    if request._tasks and not _started(request):
        await run_tasks(request)


def _started(request: ASGIRequest) -> bool:
    """Start what runs after the answer in the lifespan's task group; False if there is none (any more)."""
    watchers = request.watchers
    if watchers is None:
        return False
    try:
        request._context.run(watchers.start_soon, run_tasks, request)
    except RuntimeError:
        return False
    return True


async def answer_of(route: MountRoute, request: ASGIRequest, mounted_path: MountedPath) -> Response:
    """The answer of the application that is mounted at ``route``."""
    if route.mount.kind == WSGI:
        return await answer_of_wsgi(route.mount, route.threads, mounted_path, request)
    return await answer_of_asgi(route.mount, mounted_path, request)
