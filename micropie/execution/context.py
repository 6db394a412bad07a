"""The current request, for helpers, threads, generators and templates. The drivers set and reset it.

Its type is known in ``http/request.py``, above this package.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from micropie.execution.shutdown import ShutdownSignal, stream_shutdown

current: ContextVar[Any] = ContextVar("micropie.request")


def current_shutdown() -> ShutdownSignal | None:
    """Return the signal that ends this code: of its event stream, or else of the application. None outside requests."""
    request = current.get(None)
    config = None if request is None else getattr(request._exchange, "config", None)
    return stream_shutdown.get(None) or (None if config is None else config.shutdown)
