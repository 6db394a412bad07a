"""The life of a request and of a WebSocket, as synchronous generators. Wherever a generator may
have to wait, it yields a step (``execution/steps``), which the driver performs.

Open ``http.py`` to change the six stages of a request. The other files:

- ``websocket.py``: the stages of a WebSocket
- ``hooks.py``: how middleware runs around the handler; docs/reference/hooks.md describes the order
- ``middleware.py``: the base classes of middleware
- ``errors.py``: which response an exception gets
- ``resources.py``: how a handler's resources are opened and closed
- ``pooled.py``: handlers in processes
- ``lifecycle.py``: startup and shutdown

When a route is compiled, ``Route.is_special`` records whether the route needs providers or a filter
for its result. So these features cost other routes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.flow.errors import log_failure as log_request_failure
from micropie._core.flow.http import call_handler, respond
from micropie._core.flow.lifecycle import (
    LIFESPAN_ENDED,
    UNDER_ASGI,
    UNDER_WSGI,
    Lifecycle,
    Lifespan,
    LifespanContext,
    lifespan_opener,
    log_lifecycle_failure,
)
from micropie._core.flow.middleware import FlowMiddleware, Hook, HttpMiddleware, WebSocketMiddleware
from micropie._core.flow.resources import close_resources, end_resources, unwound
from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie._core.flow.websocket import (
        CloseInfo,
        cleanup,
        conclude,
        prepare,
        run_mount_guards,
    )

__getattr__, __dir__ = names_on_demand(
    __name__, {"websocket": "CloseInfo cleanup conclude prepare run_mount_guards"}
)
