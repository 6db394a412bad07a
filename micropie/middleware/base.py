"""The base classes of middleware. Every hook may be ``def`` or ``async def``; what isn't needed stays out.

The third way to write one is a generator function (``wrapping.py``), which needs no class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from micropie.execution.steps import Flow
    from micropie.http.request import Request
    from micropie.http.response import Response


class HttpMiddleware:
    """Looks at requests before their handler and at answers after it: ``app.middlewares.append(Mine())``."""

    def before_request(self, request: Request) -> Any:
        """Called before the handler, also for paths that no handler has.

        None goes on. A dict with any of ``status_code`` (200), ``body`` ("") and ``headers`` ((name, value)
        pairs or a dict) is the answer: no other ``before_request`` and no handler is called.
        """

    def after_request(
        self, request: Request, status_code: int, response_body: Any, extra_headers: list[tuple[str, str]]
    ) -> Any:
        """Called with every answer, errors and early ones included, in the reverse order of ``before_request``.

        ``response_body`` is what the handler returned, not yet encoded; ``extra_headers`` may be changed in
        place. A dict replaces what it names (``status_code``, ``body``, ``headers``), None changes nothing.
        """


class FlowMiddleware:
    """What comes with micropie is written like this: with the core's own means, so that it costs next to nothing.

    Each method is a plain function, or a generator that yields steps (``steps.py``) where it may have to wait.

    ``sees_handshakes``: ``before``, then a plain function, is called for WebSockets as well, before their origin is
    checked. For what is about the connection (who the client is, which host) and not about what is asked of it.
    """

    sees_handshakes = False

    def before(self, request: Request) -> Any | Flow[Any]:
        """Called as ``before_request`` is. None goes on; anything else is the answer, as a handler would return it."""

    def after(self, request: Request, response: Response) -> Response | Flow[Response | None] | None:
        """Called as ``after_request`` is. Changes ``response`` in place, or returns another."""


class WebSocketMiddleware:
    """Looks at WebSocket connections before their handler and after it: ``app.ws_middlewares.append(Mine())``."""

    def before_websocket(self, request: Request) -> Any:
        """Called before the handler. A dict with ``code`` and ``reason`` refuses the connection, None goes on."""

    def after_websocket(self, request: Request) -> Any:
        """Called when the handler has ended."""
