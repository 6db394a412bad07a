"""The life of a request and of a WebSocket: synchronous generators that yield what may have to
wait.

``http.py`` has the six stages of a request and ``websocket.py`` those of a WebSocket. ``hooks.py``
runs middleware around the handler: each kind has a class, which is chosen once. ``resources.py``
opens what a handler's parameters ask for, and closes it. ``errors.py`` turns an exception into a
response. ``lifecycle.py`` starts and stops an application.

Whether a route has providers, or a filter of its result, is found out when it is compiled
(``Route.is_special``), so other routes pay nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.flow.errors import log_failure as log_request_failure
from micropie._core.flow.http import call_handler, respond
from micropie._core.flow.lifecycle import (
    UNDER_ASGI,
    UNDER_WSGI,
    Lifecycle,
    Lifespan,
    LifespanContext,
    Startable,
    lifespan_opener,
    log_lifecycle_failure,
)
from micropie._core.flow.middleware import FlowMiddleware, Hook, HttpMiddleware, WebSocketMiddleware
from micropie._core.flow.resources import close_resources, end_resources
from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie._core.flow.websocket import CloseInfo, ask_guards, cleanup, converse, found_socket

# fmt: off
__all__ = [
    "UNDER_ASGI", "UNDER_WSGI", "CloseInfo", "FlowMiddleware", "Hook", "HttpMiddleware",
    "Lifecycle", "Lifespan", "LifespanContext", "Startable", "WebSocketMiddleware", "ask_guards",
    "call_handler", "cleanup", "close_resources", "converse", "end_resources", "found_socket",
    "lifespan_opener", "log_lifecycle_failure", "log_request_failure", "respond",
]
# fmt: on

__getattr__, __dir__ = names_on_demand(
    __name__, {"websocket": "CloseInfo ask_guards cleanup converse found_socket"}
)
