"""The base classes of middleware.

Every hook may be ``def`` or ``async def``, and every hook is optional.

A hook opens a resource by ``with request.resource(Database) as database``.

Middleware can also be a generator function, which needs no class: ``flow/hooks.py``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

from micropie._core.errors import SetupError
from micropie._core.execution.steps import Flow
from micropie._core.http import Request, Response
from micropie._core.routing.discovery import mark_with

Target = TypeVar("Target")

# What hooks are called in Django, in Starlette, and in ``FlowMiddleware``.
_ELSEWHERE = ("process_request", "process_response", "dispatch", "before", "after")


class _Decorator:
    """A middleware that stands above a handler, an ``App`` class or an ``App``, as well as in
    ``middlewares``.
    """

    guards = False
    statuses: Sequence[int] = ()

    def __call__(self, target: Target) -> Target:
        """Run around what is below alone, inside all ``middlewares``, and return it:
        ``@Timeout(5)``.
        """
        mark_with(target, [self])
        return target


class HttpMiddleware(_Decorator):
    """Sees each request before its handler and each answer after it:
    ``app.middlewares.append(Mine())``.

    ``@Mine()`` above a handler, an ``App`` class or an ``App`` runs around that alone.

    Its methods are looked up once, when it first runs.

    ``guards``: ``before_request`` decides who may enter. It is called for the handshakes of
    WebSockets, too, for isolated mounts, and for the WebSockets of mounted applications. Set it to
    True in your class for that. ``needs_session``: whether ``before_request`` may look at the
    session. Hooks that need none, and come before all that do, run before a session backend is
    asked. ``statuses``: the errors by which it refuses requests, for the OpenAPI document:
    ``statuses = (429,)``.
    """

    needs_session = True

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Raise ``SetupError`` for a class whose hooks have other frameworks' names only: it would
        guard nothing.
        """
        super().__init_subclass__(**arguments)
        if (
            cls.before_request is not HttpMiddleware.before_request
            or cls.after_request is not HttpMiddleware.after_request
        ):
            return
        for name in _ELSEWHERE:
            if name in vars(cls):
                raise SetupError(
                    f"{cls.__name__}.{name} is not a hook: write before_request(self, request), or "
                    "after_request"
                )

    def before_request(self, request: Request) -> object:
        """Run before the handler, and also for paths without a handler.

        Return None to continue, or a dict with any of ``status`` (200), ``body`` ("") and
        ``headers`` ((name, value) pairs or a dict). The dict is the answer: no other
        ``before_request`` and no handler is called.
        """

    def after_request(
        self,
        request: Request,
        status: int,
        response_body: Any,
        extra_headers: list[tuple[str, str]],
    ) -> object:
        """Run with every answer, including errors and early answers, in the reverse order of
        ``before_request``.

        ``response_body`` is the handler's result before it is encoded. ``extra_headers`` may be
        changed in place. Return a dict to replace any of ``status``, ``body`` and ``headers``, or
        None to change nothing.
        """


class FlowMiddleware(_Decorator):
    """The base of the middleware that comes with micropie, and of extensions.

    It costs less than ``HttpMiddleware``.

    Each method is a plain function that does not wait, or a generator function. A generator may
    wait by ``result = yield from call(kind_of(function), function, ...)``, under both protocols.

    ``guards``, ``needs_session`` and ``statuses``: see ``HttpMiddleware``. ``before`` of a hook
    that guards is called for handshakes before their origin is checked, as it may set the client,
    the scheme and the host.
    """

    needs_session = False

    def before(self, request: Request) -> object:
        """Run before the handler.

        Return None to continue; any other value is answered as a handler's result.

        The same holds for what a generator function returns.
        """

    def after(
        self, request: Request, response: Response
    ) -> Response | Flow[Response | None] | None:
        """Run with every answer. Change ``response`` in place, or return another ``Response``."""


Hook: TypeAlias = (
    HttpMiddleware | FlowMiddleware | Callable[..., Iterator[object] | AsyncIterator[object]]
)
"""What ``middlewares`` holds: an object, no class, or a generator function."""


class WebSocketMiddleware:
    """Sees each WebSocket connection before and after its handler:
    ``app.ws_middlewares.append(Mine())``.
    """

    def before_websocket(self, request: Request) -> object:
        """Run before the handler.

        Return None to continue, or a dict with ``code`` and ``reason`` to refuse.
        """

    def after_websocket(self, request: Request) -> object:
        """Run when the handler has ended."""
