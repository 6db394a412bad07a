"""The base classes of middleware.

Every hook is optional, and may be ``def`` or ``async def``.

To open a resource in a hook, write ``with request.resource(Database) as database``.

Middleware can also be a generator function, which needs no class. See ``flow/hooks.py``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

from micropie._core.errors import SetupError
from micropie._core.execution.steps import Flow
from micropie._core.http import Request, Response
from micropie._core.routing.discovery import mark_with

Target = TypeVar("Target")

# Names of hooks that ``HttpMiddleware`` never calls, because they belong to Django, to Starlette or
# to ``FlowMiddleware``.
_ELSEWHERE = ("process_request", "process_response", "dispatch", "before", "after")


class _Decorator:
    """Lets a middleware be used as a decorator of a handler or of an ``App`` class, and be called
    with an ``App``.
    """

    guards = False
    statuses: Sequence[int] = ()

    def __call__(self, target: Target) -> Target:
        """Run this middleware only around ``target``, inside all ``middlewares``. Return
        ``target``, so that ``@Timeout(5)`` works as a decorator.
        """
        mark_with(target, [self])
        return target


class HttpMiddleware(_Decorator):
    """Runs before the handler of each request and after each response:
    ``app.middlewares.append(Mine())``.

    ``@Mine()`` above a handler or an ``App`` class runs only around that handler or class, and
    ``Mine()(app)`` only around that ``App``.

    The hook methods are looked up once, when the middleware first runs. Your class may set these
    attributes:

    - ``guards`` (False): set it to True if ``before_request`` decides which requests are accepted.
      The hook is then also called for WebSocket handshakes, for isolated mounts, and for the
      WebSockets of mounted applications.
    - ``needs_session`` (True): whether ``before_request`` may read the session. The session is
      loaded from a backend just before the first hook that may read it.
    - ``statuses`` (()): the error statuses with which the middleware refuses requests, for the
      OpenAPI document: ``statuses = (429,)``.
    """

    needs_session = True

    def __init_subclass__(cls, **arguments: object) -> None:
        """Raise ``SetupError`` for a class with a hook that is named as in other frameworks, such
        as ``process_request``, but with neither of the two hooks below. The hook would never be
        called.
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
        """Run before the handler, and also for paths that have no handler.

        Return None to continue. To respond at once, return a dict with any of ``status`` (200),
        ``body`` ("") and ``headers`` ((name, value) pairs or a dict). Then neither the handler nor
        any other ``before_request`` is called.
        """

    def after_request(
        self,
        request: Request,
        status: int,
        response_body: Any,
        extra_headers: list[tuple[str, str]],
    ) -> object:
        """Run after every response, including error responses and those of ``before_request``.

        The ``after_request`` hooks run in the reverse order of ``before_request``.

        ``response_body`` is the handler's result before it is encoded. ``extra_headers`` may be
        changed in place. Return a dict to replace any of ``status``, ``body`` and ``headers``, or
        None to change nothing.
        """


class FlowMiddleware(_Decorator):
    """The base class of the middleware that comes with micropie and with extensions. It is faster
    than ``HttpMiddleware``.

    Each method is either a plain function that does not wait, or a generator function. A generator
    function waits with ``result = yield from call(kind_of(function), function, ...)``, under WSGI
    as well as ASGI. After a ``def`` part, the methods are called in its thread.

    ``guards``, ``needs_session`` (False here) and ``statuses``: see ``HttpMiddleware``. If
    ``guards`` is set, ``before`` is called before the origin of a handshake is checked, because
    ``before`` may set the client, the scheme and the host.
    """

    needs_session = False

    def before(self, request: Request) -> object:
        """Run before the handler.

        Return None to continue. Any other value becomes the response, like the result of a handler.
        If this method is a generator function, the value that it returns has the same meaning.
        """

    def after(
        self, request: Request, response: Response
    ) -> Response | Flow[Response | None] | None:
        """Run after every response. Change ``response`` in place, or return another
        ``Response``.
        """


Hook: TypeAlias = (
    HttpMiddleware | FlowMiddleware | Callable[..., Iterator[object] | AsyncIterator[object]]
)
"""An item of ``middlewares``: an instance of a middleware class, or a generator function."""


class WebSocketMiddleware:
    """Runs before and after the handler of each WebSocket:
    ``app.ws_middlewares.append(Mine())``.
    """

    def before_websocket(self, request: Request) -> object:
        """Run before the handler.

        Return None to continue, or a dict with ``code`` (int) and ``reason`` (str) to refuse the
        handshake.
        """

    def after_websocket(self, request: Request) -> object:
        """Run when the handler has ended, even if it raised an exception."""
