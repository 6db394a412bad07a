"""The steps of a flow, performed in the server's thread; what is async goes to the process's event loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from micropie.execution.loop import perform_limited
from micropie.execution.placement import HandlerName, Threads
from micropie.execution.portal import await_in_portal
from micropie.execution.steps import AWAIT, BLOCK, CHUNK, CLOSE, HANDLER, IO, MOUNT, POOL, Flow, Limited, Step
from micropie.execution.threads import in_thread
from micropie.flow.pooled import call_in_pool
from micropie.http.response import Response
from micropie.mounts.asgi_in_wsgi import answer_of_asgi
from micropie.mounts.prefixes import WSGI, MountedPath
from micropie.mounts.wsgi_in_wsgi import answer_of_wsgi
from micropie.routing.config import AppConfig
from micropie.routing.site import MountRoute
from micropie.wsgi.streaming import close_stream, next_chunk

if TYPE_CHECKING:
    from micropie.wsgi.request import WSGIRequest

Value = TypeVar("Value")

# For what has a time limit: the server's own thread could not be left. 40 is what servers have that answer by threads.
_in_own_thread = partial(in_thread, Threads(40), abandon_on_cancel=True)


class StepContext(Protocol):
    """What steps need to be performed: a request, or what stands for one at start-up."""

    config: AppConfig

    def receive_piece(self) -> tuple[bytes, bool]:
        """The next piece of the body and whether more may follow."""


def perform(flow: Flow[Value], context: StepContext) -> Value:
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
                result = function(*arguments) if kind is IO else perform_step(kind, function, arguments, context)
            except BaseException as error:
                resume, result = flow.throw, error
    finally:
        result = None  # an exception's traceback refers to this frame: without this it would be a cycle


def perform_step(
    kind: str | Limited, function: Callable[..., Any], arguments: Sequence[Any], context: StepContext
) -> Any:
    """Perform one step."""
    if kind is AWAIT:
        return await_in_portal(context.config.settings.portal_backend, function, arguments)
    if kind is IO or kind is BLOCK or kind is HANDLER:
        return function(*arguments)
    if kind is POOL:
        return call_in_pool(cast("WSGIRequest", context), cast(HandlerName, function), arguments)
    backend = context.config.settings.portal_backend
    if kind is CHUNK:
        return next_chunk(arguments[0], backend)
    if kind is CLOSE:
        return close_stream(arguments[0], backend)
    if kind is MOUNT:
        return answer_of(*arguments)
    if isinstance(kind, Limited):
        if kind.kind is MOUNT:
            route, request, mounted_path = arguments
            return answer_of(route, request, mounted_path, kind.seconds)
        return await_in_portal(backend, perform_limited, (kind, function, arguments, _in_own_thread))
    return context.receive_piece()


def answer_of(
    route: MountRoute, request: WSGIRequest, mounted_path: MountedPath, seconds: float | None = None
) -> Response:
    """The answer of the application that is mounted at ``route``, within ``seconds`` if that can be."""
    if route.mount.kind == WSGI:
        return answer_of_wsgi(route.mount, mounted_path, request)
    settings = route.config.settings
    limits = [limit for limit in (seconds, settings.mount_timeout) if limit is not None]
    return answer_of_asgi(route.mount, mounted_path, request, settings.portal_backend, min(limits, default=None))
